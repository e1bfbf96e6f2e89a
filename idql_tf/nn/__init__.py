"""Building blocks of the networks: seed-stacked layers and stateless draws."""
