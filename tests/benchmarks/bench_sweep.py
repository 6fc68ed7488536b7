"""Whole sweeps, process start to exit, against the usual way; prints one table.

Run: python tests/benchmarks/bench_sweep.py [--jobs 1000] [--usual 20] [--large] [--write]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from gdlab.numerics import cores

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results" / "benchmarks"


def timed(command: list[str], folder: str, **env: str) -> tuple[float, float]:
    """Wall seconds and peak memory (GB) of a command that must succeed."""
    import os

    began = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(output.decode())
    return time.perf_counter() - began, usage.ru_maxrss / 2**20


def usual(jobs: int, *extra: str) -> float:
    """Seconds of the usual way, on a store that exists."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("usual_way.py", "usual_way.yaml"):
            shutil.copy(HERE / "usual_way" / name, folder)
        command = [sys.executable, "usual_way.py", "-m"]
        timed([*command, "seed=0", "steps=100"], folder)
        return timed([*command, f"seed=range({jobs})", *extra], folder)[0]


def gdlab(jobs: int, *extra: str, again: bool = False) -> tuple[float, float, float]:
    """Seconds and GB of a fused sweep on a fresh store, and seconds of typing it again."""
    with tempfile.TemporaryDirectory() as folder:
        grid = ["init=uniform", "init.low=-2", "init.high=2", f"seed=range({jobs})"]
        program = str(Path(sys.executable).parent / "gdlab")
        command = [program, "-q", "-m", "objective=rosenbrock", "schedule.eta=0.001", "steps=1000"]
        command += [*grid, *extra]
        seconds, memory = timed(command, folder)
        resumed = timed(command, folder)[0] if again else float("nan")
        return seconds, memory, resumed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--usual", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="10,000 jobs too")
    parser.add_argument("--joblib", action="store_true")
    parser.add_argument("--write", action="store_true", help="keep the table in results/benchmarks")
    args = parser.parse_args()

    rows = []
    slow = usual(args.usual)
    rows.append(("usual way (Hydra -m, optax, MLflow)", args.usual, slow, slow / args.usual, None))
    if args.joblib:
        seconds = usual(args.usual, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        rows.append(
            ("usual way, joblib on 2 cores", args.usual, seconds, seconds / args.usual, None)
        )
    for jobs in (args.jobs, 10_000) if args.large else (args.jobs,):
        seconds, memory, resumed = gdlab(jobs, again=True)
        rows.append(("gdlab -m", jobs, seconds, seconds / jobs, memory))
        rows.append(("gdlab -m, typed again", jobs, resumed, resumed / jobs, None))
    base = rows[0][3]
    lines = [
        "| way | jobs | seconds | ms a job | peak GB | times faster a job |",
        "|---|---|---|---|---|---|",
    ]
    for name, jobs, seconds, each, memory in rows:
        shown = "" if memory is None else f"{memory:.2f}"
        cells = [name, f"{jobs:,}", f"{seconds:.2f}", f"{1000 * each:.2f}", shown]
        lines.append(f"| {' | '.join([*cells, f'{base / each:.0f}'])} |")
    cpu = next(
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
            f"{cpu}, {cores()} cores; {made}.",
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
