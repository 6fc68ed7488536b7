"""Tables of runs become answers: how runs ended, who won, statistics. Knows no jax, no mlflow."""
