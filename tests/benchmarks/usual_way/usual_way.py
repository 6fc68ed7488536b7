"""What a researcher writes today: Hydra's -m, a jitted optax step, MLflow calls.

Run: python usual_way.py -m 'seed=range(20)' [hydra/launcher=joblib]
"""

import hydra
import jax
import jax.numpy as jnp
import mlflow
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)


def f(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@hydra.main(version_base="1.3", config_path=".", config_name="usual_way")
def main(cfg):
    mlflow.set_tracking_uri(cfg.uri)
    mlflow.set_experiment("usual")
    optimizer = optax.sgd(cfg.eta)

    @jax.jit
    def step(x, state):
        value, g = jax.value_and_grad(f)(x)
        updates, state = optimizer.update(g, state)
        return optax.apply_updates(x, updates), state, value, jnp.linalg.norm(g)

    x = jnp.array(np.random.default_rng(cfg.seed).uniform(-2, 2, 2))
    state = optimizer.init(x)
    every = cfg.steps // cfg.points
    with mlflow.start_run():
        mlflow.log_params(dict(cfg))
        for t in range(cfg.steps):
            x, state, value, norm = step(x, state)
            if t % every == 0:
                mlflow.log_metrics({"loss": float(value), "grad_norm": float(norm)}, step=t)
    return float(value)


if __name__ == "__main__":
    main()
