"""Whole sweeps, process start to exit, against the usual way; prints one table.

Run: python tests/benchmarks/bench_sweep.py [--jobs 1000] [--usual 20] [--large] [--write]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from gdlab.numerics import cores

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results" / "benchmarks"


class Cost(NamedTuple):
    """What a command took: wall seconds, CPU seconds (user + system), and its peak memory in GB."""

    wall: float
    cpu: float
    memory: float


def timed(command: list[str], folder: str) -> Cost:
    """What a command costs that must succeed."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(output.decode())
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - began, cpu, usage.ru_maxrss / 2**20)


def usual(jobs: int, *extra: str) -> Cost:
    """The usual way, on a store that exists."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("usual_way.py", "usual_way.yaml"):
            shutil.copy(HERE / "usual_way" / name, folder)
        command = [sys.executable, "usual_way.py", "-m"]
        timed([*command, "seed=0", "steps=100"], folder)
        return timed([*command, f"seed=range({jobs})", *extra], folder)


def gdlab(jobs: int) -> tuple[Cost, Cost]:
    """A fused sweep on a fresh store, and the same typed again."""
    with tempfile.TemporaryDirectory() as folder:
        grid = ["init=uniform", "init.low=-2", "init.high=2", f"seed=range({jobs})"]
        program = str(Path(sys.executable).parent / "gdlab")
        command = [program, "-q", "-m", "objective=rosenbrock", "schedule.eta=0.001", "steps=1000"]
        command += grid
        return timed(command, folder), timed(command, folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--usual", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="10,000 jobs too")
    parser.add_argument("--joblib", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the table in results/benchmarks")
    args = parser.parse_args()

    rows = [("usual way (Hydra -m, optax, MLflow)", args.usual, usual(args.usual))]
    if args.joblib:
        cost = usual(args.usual, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        rows.append(("usual way, joblib on 2 cores", args.usual, cost))
    for jobs in (args.jobs, 10_000) if args.large else (args.jobs,):
        first, again = gdlab(jobs)
        rows += [("gdlab -m", jobs, first), ("gdlab -m, typed again", jobs, again)]
    base = rows[0][2].cpu / args.usual
    lines = [
        "| way | jobs | CPU seconds | ms a job | seconds | peak GB | times less CPU a job |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, jobs, cost in rows:
        each = cost.cpu / jobs
        cells = [name, f"{jobs:,}", f"{cost.cpu:.2f}", f"{1000 * each:.2f}", f"{cost.wall:.2f}"]
        times = base / each
        cells += [f"{cost.memory:.2f}", f"{times:.0f}" if times >= 10 else f"{times:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    processor = next(
        (
            x.split(":")[1].strip()
            for x in Path("/proc/cpuinfo").read_text().splitlines()
            if x.startswith("model name")
        ),
        "unknown",
    )
    made = ", ".join(f"{n} {version(n)}" for n in ("gdlab", "jax", "optax", "mlflow", "hydra-core"))
    text = "\n".join(
        [
            "# Sweeps: 1,000 steps on Rosenbrock, 100 points, fresh SQLite store, "
            "process start to exit",
            "",
            *lines,
            "",
            f"{processor}, {cores()} cores; {made}.",
            "Made by `python tests/benchmarks/bench_sweep.py --usual 10 --large --joblib --write`.",
            "",
        ]
    )
    print(text)
    if args.write:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "sweeps.md").write_text(text)


if __name__ == "__main__":
    main()
