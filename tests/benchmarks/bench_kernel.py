"""The fused kernel: CPU ns a step and lane on one core, beside the loop that does nothing else.

Run: taskset -c 0 python tests/benchmarks/bench_kernel.py exact|fast [bare], or --write: all of them
into results/benchmarks/kernel.md. The bare loop runs with XLA's own options.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from gdlab import numerics

MODE = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] != "--write" else "exact"
BARE = sys.argv[2:] == ["bare"]
if BARE:
    numerics.BACKEND = ()
numerics.configure(MODE, x64=True)

import jax  # noqa: E402
import numpy as np  # noqa: E402

from gdlab import registry  # noqa: E402
from gdlab.runner import loops, plan, pool, sweep  # noqa: E402

LONG, SHORT = 10_000, 1_000  # between the records of SHORT lie few steps


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


def best(call) -> float:
    """The least CPU seconds of at least five times, and of as many as fit in two."""
    jax.block_until_ready(call())
    seconds: list[float] = []
    while len(seconds) < 5 or sum(seconds) < 2:
        began = time.process_time()
        jax.block_until_ready(call())
        seconds.append(time.process_time() - began)
    return min(seconds)


def kernel(objective, eta: float, steps: int) -> tuple[float, int]:
    """ns a step and lane of `loops.segment` on one full block, 100 records."""
    lanes_n = pool.width(objective.dim)
    rng = np.random.default_rng(0)
    x0 = rng.uniform(-0.5, 0.5, (lanes_n, objective.dim))
    marks = sweep.record_marks(steps)
    job = sweep.Job(
        objective, registry.build("method", "gradient", {}),
        registry.build("schedule", "constant", {"eta": eta}), x0, steps, 0.0, marks,
    )  # fmt: skip
    (group,) = sweep.plan([job])
    lanes, _ = plan.stack([0], [job], np.array([lanes_n]))
    points = np.zeros(pool.rows_for(len(marks) - 1) + 1, np.int64)
    points[: len(marks)] = marks
    shared = {k: objective.data[k] for k in objective.shared}
    sizes = np.ones((16_384, 1))
    state = loops.start(group.program, lanes, x0.T)
    put = jax.device_put((shared, lanes, state, sizes, points))
    segment = loops.compiled(group.program, *put, len(marks) - 1)
    return best(
        lambda: segment(group.program, *put, len(marks) - 1)
    ) / steps / lanes_n * 1e9, lanes_n


def main() -> None:
    if BARE:
        rng = np.random.default_rng(0)
        x, eta = rng.uniform(-0.5, 0.5, (2, 1024)), np.full(1024, 1e-3)
        run = jax.jit(bare)
        for steps in (LONG, SHORT):
            gaps = np.diff(sweep.record_marks(steps))
            ns = best(lambda gaps=gaps: run(x, eta, gaps)) / steps / 1024 * 1e9
            print(f"| {MODE} | bare loop, rosenbrock d=2 | {steps:,} | 1024 | {ns:.2f} |")
        return
    cases = [
        ("rosenbrock d=2", "rosenbrock", {"dim": 2}, 1e-4, LONG),
        ("rosenbrock d=2", "rosenbrock", {"dim": 2}, 1e-4, SHORT),
        ("rosenbrock d=10", "rosenbrock", {"dim": 10}, 1e-4, LONG),
        ("rosenbrock d=100", "rosenbrock", {"dim": 100}, 1e-4, LONG),
        ("logistic (569 x 30)", "logistic", {}, 1e-2, LONG),
    ]
    for name, objective, params, eta0, steps in cases:
        ns, lanes = kernel(registry.build("objective", objective, params), eta0, steps)
        print(f"| {MODE} | {name} | {steps:,} | {lanes} | {ns:.2f} |")


def write() -> None:
    """Both numerics, a process each, into results/benchmarks/kernel.md."""
    lines = [
        "# The kernel: constant step size, up to 100 records at logarithmic distances, one core",
        "",
        "| numerics | objective | steps | lanes | ns a step and lane |",
        "|---|---|---|---|---|",
    ]
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    for what in (["exact", "bare"], ["exact"], ["fast", "bare"], ["fast"]):
        command = [sys.executable, __file__, *what]
        lines += subprocess.run(
            command, check=True, capture_output=True, text=True, env=env
        ).stdout.splitlines()
    lines += [
        "",
        "The bare loop has no stop test and no step count, records two numbers where the kernel "
        "records seven and the point, and runs with XLA's own options.",
        f"2-core AMD EPYC; jax {jax.__version__}. Made by "
        "`taskset -c 0 python tests/benchmarks/bench_kernel.py --write`.",
        "",
    ]
    path = Path(__file__).parents[2] / "results" / "benchmarks" / "kernel.md"
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    write() if "--write" in sys.argv else main()
