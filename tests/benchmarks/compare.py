"""The benchmarks of this checkout beside those of another commit.

Each commit keeps its measurements in results/benchmarks/*.md (`--write` of bench_sweep.py and
bench_kernel.py); this reads both versions' tables and prints what changed, as old / new.

Run: python tests/benchmarks/compare.py [REVISION]     exit code 1 where a ratio is below 0.97
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMES = ("ns a step and lane", "CPU seconds")  # the column of each table that is compared
LEAST = 0.97


def rows(text: str) -> dict[tuple[str, ...], float]:
    """The times of a table in Markdown, by what was measured: the words left of the time."""
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    at = next((cells[0].index(name) for name in TIMES if name in cells[0]), None)
    if at is None:
        return {}  # measured in another way than today
    return {tuple(row[:at]): float(row[at]) for row in cells[2:]}


def main(revision: str = "HEAD~1") -> int:
    """Prints the ratios; returns the exit code."""
    slower = 0
    for path in sorted((ROOT / "results" / "benchmarks").glob("*.md")):
        name = path.relative_to(ROOT)
        shown = subprocess.run(
            ["git", "show", f"{revision}:{name}"], cwd=ROOT, capture_output=True, text=True
        )
        if shown.returncode:
            print(f"{name}: not in {revision}")
            continue
        old, new = rows(shown.stdout), rows(path.read_text())
        for key in (key for key in new if key in old):
            ratio = old[key] / new[key]
            slower += ratio < LEAST
            print(f"{ratio:6.2f}  {' '.join(key)}: {old[key]:g} -> {new[key]:g}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
