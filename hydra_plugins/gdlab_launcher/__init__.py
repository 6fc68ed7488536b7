"""`hydra/launcher=gdlab` and `hydra/sweeper=gdlab`: thousands of jobs as one call."""
