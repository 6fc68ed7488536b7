"""Verdicts, a certified census and a basin map, timed: `python tests/benchmarks/bench_critical.py`.

Asked for: a basin map of 1,000 x 1,000 starts within 20 s and 2 GB on two cores, 10,000 verdicts
with d = 10 within 2 s, a certified census of Himmelblau within 5 s. First calls compile.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

from gdlab.numerics import configure

configure()

import numpy as np  # noqa: E402

from gdlab import objectives, schedules  # noqa: E402
from gdlab.critical.basins import basins  # noqa: E402
from gdlab.critical.census import take_census  # noqa: E402
from gdlab.critical.verdict import judge  # noqa: E402


def timed(what: str, call: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of the first call and of a second one."""
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        call()
        seconds.append(round(time.perf_counter() - begin, 3))
    return {"what": what, "first_s": seconds[0], "again_s": seconds[1]}


def main() -> None:
    rng = np.random.default_rng(0)
    roots = np.array([-2.9035340277711771, 0.1567312567803401, 2.746802770990837])
    ends = rng.choice(roots, (10_000, 10)) + 1e-9 * rng.standard_normal((10_000, 10))
    ten, himmelblau = objectives.styblinski_tang(10), objectives.himmelblau()
    rows = [
        timed("10,000 verdicts, d = 10", lambda: judge(ten, ends, "converged", 1e-6)),
        timed("certified census of Himmelblau", lambda: take_census(himmelblau)),
        timed(
            "basins, 1,000 x 1,000 starts",
            lambda: basins(himmelblau, schedule=schedules.constant(0.01)),
        ),
    ]
    for row in rows:
        print(json.dumps(row))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"peak_GiB": round(peak, 2)}))


if __name__ == "__main__":
    main()
