"""What a user holds in hand copies, pickles and travels to other processes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optax_cases
import pytest

import gdlab
from gdlab import registry

# What a factory does not do without.
NEEDED: dict[str, dict[str, Any]] = {
    "point": {"x": [1.0, 1.0]},
    "file": {"path": "starts.csv"},
} | optax_cases.NEEDED


def held() -> dict[str, Any]:
    bowl = gdlab.objectives.himmelblau()
    made = {
        f"{kind} {name}": factory(**NEEDED.get(name, {}))
        for kind in ("objective", "schedule", "method", "init")
        for name, factory in registry.factories(kind).items()
        if factory.__module__.startswith("gdlab.")
    }
    record = gdlab.descend(bowl, [1.0, 1.0], steps=20, record="all")
    return made | {
        "record": record,
        "verdict": record.verdict,
        "records": gdlab.descend(bowl, [[1.0, 1.0], [2.0, 1.0]], steps=20),
        "facts": bowl.facts,
        "points": bowl.facts.critical_points,
        "census": gdlab.census(bowl),
        "claim": gdlab.Claim("half", 0.5, 0.5),
        "UsageError": gdlab.UsageError("x=1: takes 2"),
        "MissingFact": gdlab.MissingFact("silver needs L"),
    }


WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}


@pytest.mark.parametrize("way", WAYS)
def test_public_types_copy_and_pickle(way: str) -> None:
    for name, thing in held().items():
        again = WAYS[way](thing)
        assert type(again) is type(thing), name
        assert str(again).partition(" at 0x")[0] == str(thing).partition(" at 0x")[0], name
        if name == "record":
            np.testing.assert_array_equal(again.loss, thing.loss)
            assert again.verdict.kind == thing.verdict.kind
        if name == "records":
            assert [one.status for one in again] == [one.status for one in thing]


def test_equal_networks_are_one_function() -> None:
    """Jobs fuse where they share f, also after a journey."""
    one, other = (gdlab.objectives.tanh_network(width=3) for _ in range(2))
    assert one.f == pickle.loads(pickle.dumps(other.f)) != gdlab.objectives.tanh_network(width=4).f


JOURNEY = """
import multiprocessing, joblib, gdlab
if __name__ == "__main__":
    calls = [(gdlab.objectives.tanh_network(width=w), [0.1] * (3 * w + 1)) for w in (1, 2)]
    here = [gdlab.descend(*call, steps=9).loss.tolist() for call in calls]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert [r.loss.tolist() for r in pool.starmap(gdlab.descend, calls)] == [
            gdlab.descend(*call).loss.tolist() for call in calls
        ]
    there = joblib.Parallel(n_jobs=2)(joblib.delayed(gdlab.descend)(*c, steps=9) for c in calls)
    assert [r.loss.tolist() for r in there] == here
"""


@pytest.mark.slow
def test_descents_in_other_processes(tmp_path: Path) -> None:
    (tmp_path / "journey.py").write_text(JOURNEY)
    call = [sys.executable, str(tmp_path / "journey.py")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
