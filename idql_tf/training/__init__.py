"""The seed-stacked learner, its loop, checkpoints and logs."""
