"""36 structures by hand: each objective under each optimizer and schedule is one `jit(vmap(scan))`.

Four objectives, three optax optimizers, three schedules, three starts, 200 steps; nothing is kept.
"""

from __future__ import annotations

import itertools

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

STEPS = 200


def beale(x):
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def booth(x):
    return (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


OPTIMIZERS = {
    "gradient": optax.sgd,
    "heavy_ball": lambda eta: optax.sgd(eta, momentum=0.9),
    "adam": optax.adam,
}
SCHEDULES = {
    "constant": 1e-3,
    "cosine": optax.cosine_decay_schedule(1e-3, STEPS),
    "exponential": optax.exponential_decay(1e-3, 100, 0.5),
}


def descents(f, optimizer, x0):
    """Losses and gradient norms along the way, and end points."""

    def one(x):
        def step(carry, _):
            x, state = carry
            value, g = jax.value_and_grad(f)(x)
            updates, state = optimizer.update(g, state, x)
            return (optax.apply_updates(x, updates), state), (value, jnp.linalg.norm(g))

        (x, _), seen = jax.lax.scan(step, (x, optimizer.init(x)), None, STEPS)
        return x, seen

    return jax.jit(jax.vmap(one))(x0)


def main() -> None:
    x0 = jax.random.uniform(jax.random.key(0), (3, 2), minval=-2, maxval=2)
    for f, make, eta in itertools.product(
        (beale, himmelblau, booth, rosenbrock), OPTIMIZERS.values(), SCHEDULES.values()
    ):
        jax.block_until_ready(descents(f, make(eta), x0))


if __name__ == "__main__":
    main()
