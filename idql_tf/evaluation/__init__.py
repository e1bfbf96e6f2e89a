"""Episodes of a policy in its environment, their statistics and the report."""
