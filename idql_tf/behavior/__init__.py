"""Which actions are plausible? A diffusion model of the data's actions."""
