"""The fused kernel: ns a step and lane on one core, beside the loop that does nothing else.

Run: taskset -c 0 python tests/benchmarks/bench_kernel.py [exact|fast]
"""

from __future__ import annotations

import sys
import time

from gdlab.numerics import configure

configure(sys.argv[1] if len(sys.argv) > 1 else "exact")

import jax  # noqa: E402
import numpy as np  # noqa: E402

from gdlab import descent, pool, registry, sweep  # noqa: E402

STEPS = 10_000


def bare(x, eta, gaps):
    """Rosenbrock, lanes last, no stop test, no freezing: 100 records of loss and gradient norm."""
    import jax.numpy as jnp

    def f(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    step = jax.vmap(lambda x, e: x - e * jax.grad(f)(x), in_axes=(-1, -1), out_axes=-1)

    def measure(x):
        value, g = jax.value_and_grad(f)(x)
        return value, jnp.sqrt(jnp.sum(g * g))

    def segment(x, n):
        x = jax.lax.fori_loop(0, n, lambda _, x: step(x, eta), x)
        return x, jax.vmap(measure, in_axes=-1, out_axes=-1)(x)

    return jax.lax.scan(segment, x, gaps)


def best(call, times=5) -> float:
    jax.block_until_ready(call())
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def kernel(objective, eta: float) -> tuple[float, int]:
    """ns a step and lane of `descent.segment` on one full block, 100 records."""
    lanes_n = pool.width(objective.dim)
    rng = np.random.default_rng(0)
    x0 = rng.uniform(-0.5, 0.5, (lanes_n, objective.dim))
    marks = sweep.record_marks(STEPS)
    job = sweep.Job(
        objective, registry.build("method", "gradient", {}),
        registry.build("schedule", "constant", {"eta": eta}), x0, STEPS, 0.0, marks,
    )  # fmt: skip
    (group,) = sweep.plan([job])
    lanes, _ = sweep._stack([0], [job], np.array([lanes_n]))
    gaps = np.zeros(128, np.int64)
    gaps[: len(marks) - 1] = np.diff(marks)
    shared = {k: objective.data[k] for k in objective.shared}
    sizes = np.ones((16_384, 1))
    state = descent.start(group.program, lanes, x0.T)
    put = jax.device_put((shared, lanes, state, sizes, gaps))
    return best(
        lambda: descent.segment(group.program, *put, len(marks) - 1)
    ) / STEPS / lanes_n * 1e9, lanes_n


def main() -> None:
    rng = np.random.default_rng(0)
    marks = sweep.record_marks(STEPS)
    x, eta = rng.uniform(-0.5, 0.5, (2, 1024)), np.full(1024, 1e-3)
    run = jax.jit(bare)
    base = best(lambda: run(x, eta, np.diff(marks))) / STEPS / 1024 * 1e9
    print(f"{'bare loop, rosenbrock d=2, B=1024':40} {base:8.2f} ns a step and lane")
    cases = [
        (f"rosenbrock d={d}", registry.build("objective", "rosenbrock", {"dim": d}), 1e-4)
        for d in (2, 10, 100)
    ]
    if "logistic" in registry.factories("objective"):
        cases.append(("logistic (569 x 30)", registry.build("objective", "logistic", {}), 1e-2))
    for name, objective, eta0 in cases:
        ns, lanes = kernel(objective, eta0)
        print(
            f"{name + f', B={lanes}':40} {ns:8.2f} ns a step and lane   {ns / objective.dim:6.2f} a coordinate   {ns / base:6.2f} x bare"
        )


if __name__ == "__main__":
    main()
