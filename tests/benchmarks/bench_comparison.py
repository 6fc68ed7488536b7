"""Comparisons of many rules on many problems, in CPU seconds of whole processes.

Each row is typed twice with a compilation cache of its own, empty and filled, and a fresh store
each time. With `--other CHECKOUT` the same is measured with another checkout's `.venv`, in turn, so
that both see the same machine.

Run: python tests/benchmarks/bench_comparison.py [--full] [--other CHECKOUT] [--write]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from gdlab.numerics import cores

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLANE = (
    "beale", "booth", "matyas", "himmelblau", "rosenbrock", "three_hump_camel",
    "goldstein_price", "mccormick", "quadratic", "styblinski_tang",
)  # fmt: skip
METHODS = "method=gradient,heavy_ball,nesterov,adam"
ALL_METHODS = f"{METHODS},sign,coordinate,newton"
SCHEDULES = "schedule=constant,cosine,barzilai_borwein"
EIGHT = (
    "schedule=constant,cosine,exponential,inverse_time,barzilai_borwein,adgd,polyak,backtracking"
)


def problems(names: Sequence[str]) -> str:
    return f"objective={','.join(names)}"


def everything() -> str:
    return problems(sorted(p.stem for p in (ROOT / "conf" / "objective").glob("*.yaml")))


ROWS = {
    "600 jobs: 10 objectives x 4 methods x 3 schedules x 5 seeds, 1,000 steps": [
        problems(PLANE), METHODS, SCHEDULES, "seed=range(5)", "steps=1000",
    ],
    "180 jobs: 5 objectives x 4 methods x 3 schedules x 3 seeds, 200 steps": [
        problems(PLANE[:5]), METHODS, SCHEDULES, "seed=range(3)", "steps=200",
    ],
    "108 jobs: 4 objectives x 3 methods x 3 schedules x 3 seeds, 200 steps": [
        problems(("beale", "himmelblau", "booth", "rosenbrock")),
        "method=gradient,heavy_ball,adam",
        "schedule=constant,cosine,exponential",
        "seed=range(3)",
        "steps=200",
    ],
    "1,000 jobs of one structure, 1,000 steps": [
        "objective=rosenbrock", "schedule.eta=0.001", "seed=range(1000)", "steps=1000",
    ],
}  # fmt: skip
FULL = {
    "all objectives x 7 methods x 8 schedules x 3 seeds, 1,000 steps": [
        everything(), ALL_METHODS, EIGHT, "seed=range(3)", "steps=1000", "max_jobs=100000",
    ],
}  # fmt: skip


def cpu_seconds(command: list[str], cache: str, failures: bool = False) -> float:
    """User and system time of a command in an empty folder; it must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "XDG_CACHE_HOME": cache},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in ((0, 1) if failures else (0,)):
        raise SystemExit(output.decode())
    return usage.ru_utime + usage.ru_stime


def twice(python: str, args: list[str], failures: bool = False) -> list[float]:
    """With an empty compilation cache, and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        # MLflow's empty tables lie in the cache folder too: 3 s, paid once a machine.
        cpu_seconds([python, "-m", "gdlab", "-q", "steps=1"], cache)
        shutil.rmtree(Path(cache) / "gdlab" / "xla")
        command = [python, "-m", "gdlab", "-q", "-m", *args]
        return [cpu_seconds(command, cache, failures) for _ in range(2)]


def by_hand() -> list[float]:
    """The 36 structures of the third row, with optax and without gdlab; no cache is kept."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, str(HERE / "usual_way" / "hand_written.py")]
        return [cpu_seconds(command, cache)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="every objective too: minutes")
    parser.add_argument("--other", type=Path, help="a checkout to measure beside this one")
    parser.add_argument("--write", action="store_true", help="keep the table in results/benchmarks")
    args = parser.parse_args()
    pythons = {"gdlab -m": sys.executable}
    if args.other:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=args.other, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        pythons[f"gdlab -m at {name}"] = str(args.other / ".venv" / "bin" / "python")
    lines = ["| work | way | cache | seconds |", "|---|---|---|---|"]
    for work, overrides in (ROWS | FULL if args.full else ROWS).items():
        for way, python in pythons.items():
            # Some rules lack a fact of some objectives: those jobs are refused.
            for cache, seconds in zip(
                ("empty", "filled"), twice(python, overrides, work in FULL), strict=True
            ):
                lines.append(f"| {work} | {way} | {cache} | {seconds:.1f} |")
                print(lines[-1], flush=True)
        if work.startswith("108"):
            lines.append(f"| {work} | jit(vmap(scan)) by hand | none | {by_hand()[0]:.1f} |")
            print(lines[-1], flush=True)
    made = ", ".join(f"{n} {version(n)}" for n in ("gdlab", "jax", "optax", "mlflow", "hydra-core"))
    text = "\n".join(
        [
            "# Comparisons: CPU seconds from process start to exit, fresh SQLite store",
            "",
            *lines,
            "",
            f"{cores()} cores; {made}.",
            "Made by `python tests/benchmarks/bench_comparison.py --write`.",
            "",
        ]
    )
    if args.write:
        (ROOT / "results" / "benchmarks" / "comparison.md").write_text(text)


if __name__ == "__main__":
    main()
