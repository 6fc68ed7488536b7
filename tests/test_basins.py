"""Basins against closed forms: shares, boundaries, dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gdlab import api, objectives, registry, schedules
from gdlab.critical.assign import assign
from gdlab.critical.basin_map import box_dimension
from gdlab.critical.basins import basins, shares_along
from gdlab.critical.cycles import period_of, periods
from gdlab.types import Objective


def test_two_wells_share_the_plane() -> None:
    seen = basins(objectives.strict_saddle(), resolution=50)
    assert [v.kind for v in seen.points] == ["minimum", "minimum"]
    expected = np.broadcast_to(seen.axes[1][1] > 0, (50, 50))
    np.testing.assert_array_equal(seen.label == 1, expected)
    assert seen.table["share"].tolist() == [0.5, 0.5]
    assert seen.boundary.sum() == 100  # two rows of starts on either side of x2 = 0
    assert "0.5000" in seen.summary()


def test_each_start_goes_where_it_goes_alone() -> None:
    from gdlab import api

    objective = objectives.himmelblau()
    rule = {"schedule": schedules.constant(0.01), "steps": 1000}
    seen = basins(objective, resolution=12, **rule)
    (_, x), (_, y) = seen.axes
    for i, j in ((0, 0), (3, 9), (11, 2), (6, 6)):
        alone = api.descend(objective, np.array([x[i], y[j]]), **rule)
        assert alone.verdict.reached == seen.points[seen.label[i, j]].reached
        assert alone.steps == seen.steps[i, j]
    assert {v.certified for v in seen.points} == {True}


def test_a_slice_keeps_the_other_coordinates() -> None:
    at = [0.5, 0.0, 0.0, -0.5]
    seen = basins(objectives.double_well(4), axes=(1, 2), at=at, resolution=8)
    assert len(seen.points) == 4
    for v in seen.points:
        np.testing.assert_allclose([v.x[0], v.x[3]], [1.0, -1.0], atol=1e-6)
    line = basins(objectives.double_well(1), resolution=40)
    np.testing.assert_array_equal(line.label == 1, line.axes[0][1] > 0)


def sink(x: Any) -> Any:
    return x[0] ** 2 - x[1] ** 2


def test_starts_that_reach_nothing() -> None:
    seen = basins(
        Objective(sink, 2), [(-1, 1), (-1, 1)], resolution=10,
        schedule=schedules.constant(0.6), steps=3000,
    )  # fmt: skip
    assert set(np.unique(seen.label)) <= {-1, -2}
    assert (seen.label == -1).any()
    plateau = basins(objectives.three_minima(), [(-0.15, 0.15)], resolution=20, steps=10)
    assert set(np.unique(plateau.label)) == {-3}


def bowl(x: Any) -> Any:
    return 0.5 * (x[0] ** 2 + 0.25 * x[1] ** 2)


CYCLES = [
    # objective, domain, step size, starts a side, kinds with their shares; None: of any share
    (objectives.himmelblau(), None, 0.01, 12, {}),
    (objectives.himmelblau(), None, 0.018, 12, {"cycle of period 2": None}),
    (objectives.himmelblau(), None, 0.03, 12,
     {"cycle of period 2": None, "cycle of period 4": None}),
    (objectives.double_well(1), None, 1.2, 40, {"cycle of period 2": 0.8}),
    (objectives.double_well(4), None, 1.2, 10, {"cycle of period 2": None}),
    # At 2 / L each start has a cycle of its own: they are one place.
    (Objective(bowl, 2), [(-1, 1)] * 2, 2.0, 50, {"cycles of period 2": 1.0}),
    (Objective(lambda x: bowl(x / 1e-8), 2), [(-1e-8, 1e-8)] * 2, 2e-16, 50,
     {"cycles of period 2": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize(("objective", "domain", "eta", "resolution", "expected"), CYCLES)
def test_descents_that_repeat_themselves_are_cycles(
    objective: Objective,
    domain: Any,
    eta: float,
    resolution: int,
    expected: dict[str, float | None],
) -> None:
    rule = {"schedule": schedules.constant(eta), "steps": 1000}
    seen = basins(objective, domain, resolution=resolution, **rule)
    table = seen.table[seen.table["kind"].str.startswith("cycle")]
    assert set(table["kind"]) == set(expected)
    for kind, share in expected.items():
        seen_share = table.loc[table["kind"] == kind, "share"].sum()
        assert abs(seen_share - share) < 1e-12 if share is not None else seen_share > 0
        assert f"{kind}" in seen.summary()
    kinds = [v.kind for v in seen.points]
    assert kinds == sorted(kinds, key=lambda kind: kind == "cycle")
    fixed = objective.facts.domain if domain is None else np.array(domain, float)
    middle = fixed.mean(axis=1)
    for k, v in enumerate(seen.points):
        if v.kind != "cycle":
            continue
        start = middle.copy()  # a start that goes there says the same of itself
        for (axis, values), i in zip(seen.axes, np.argwhere(seen.label == k)[0], strict=True):
            start[axis] = values[i]
        alone = api.descend(objective, start, **rule).verdict
        assert (alone.kind, alone.period, v.stable) == ("cycle", v.period, True)


def test_cycles_are_told_from_what_only_lingers() -> None:
    t = np.arange(49.0)
    tails = {
        "period 3": (np.cos(2 * np.pi * t / 3), 3),
        "period 16": (np.cos(2 * np.pi * t / 16), 16),
        "period 17": (np.cos(2 * np.pi * t / 17), 0),
        "contraction": ((-0.9) ** t, 0),
        "at rest": (np.ones(49), 0),
        "rounding": (1 + 2e-16 * (-1) ** t, 0),
        "wandering": (np.cos(t), 0),
        "gone": (np.where(t > 40, np.inf, 1.0), 0),
        "not followed": (np.full(49, np.nan), 0),
    }
    together = periods(np.stack([x for x, _ in tails.values()])[..., None])
    for row, (x, period) in zip(together, tails.values(), strict=True):
        assert set(row) == {period}
        assert (period_of(x[:, None]) or 0) == period
    tiny = 1e-100 * (-1.0) ** t[:, None]
    assert period_of(tiny) is None
    assert period_of(tiny, length=1e-100) == 2


def test_ends_beside_a_point_are_that_points() -> None:
    objective = objectives.himmelblau()
    known = objective.facts.critical_points.x
    x = np.concatenate([known[:4], known[:4] + 1e-8, [[0.0, 0.0], [1e9, 0.0]]])
    status = np.array(["converged"] * 8 + ["budget", "diverged"])
    label, points = assign(objective, x, status)
    assert label[:4].tolist() == label[4:8].tolist()
    assert label[8:].tolist() == [-2, -1]
    assert sorted(points[k].reached for k in label[:4]) == [0, 1, 2, 3]


def test_a_line_of_minima_is_one_place() -> None:
    ends = basins(objectives.crossed_valleys(), schedule=schedules.constant(0.1), resolution=20)
    where = ends.table.set_index("kind")["count"]
    assert (ends.label >= 0).sum() == where.get("degenerate").sum()
    assert len(ends.points) <= 2  # the lines, and where they cross


def test_steps_beyond_the_limit_are_no_arrival() -> None:
    ends = basins(objectives.half_square(), schedule=schedules.constant(2.5), resolution=8)
    assert (ends.label == -1).all()
    record = api.descend(objectives.half_square(), np.ones(1), schedule=schedules.constant(2.5))
    assert (record.status, record.verdict.kind) == ("diverged", "diverged")


def test_box_dimension_of_a_line_and_of_a_carpet() -> None:
    u = (np.arange(512) + 0.5) / 512
    line = (u[:, None] + 0.37 * u[None, :] > 0.61).astype(int)
    D, error, _ = box_dimension(line)
    assert abs(D - 1) < 0.06
    assert error < 0.05
    i = np.arange(729)
    carpet = np.ones((729, 729), int)
    for k in range(6):
        digit = (i // 3**k) % 3 == 1
        carpet &= ~(digit[:, None] & digit[None, :])
    D, error, counts = box_dimension(carpet)
    assert abs(D - np.log(8) / np.log(3)) < 0.12
    assert len(counts) >= 3
    assert np.isnan(box_dimension(np.zeros((64, 64), int))[0])


def test_shares_along_the_step_size() -> None:
    table = shares_along(objectives.strict_saddle(), [0.1, 0.5, 2.5], resolution=10)
    total = table.groupby("value")["share"].sum()
    np.testing.assert_allclose(total, 1.0)
    last = table[table["value"] == 2.5]
    assert not (last["kind"] == "minimum").any()
    assert ((table["low"] <= table["share"]) & (table["share"] <= table["high"])).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axes": (0, 0)}, "axes"),
        ({"axes": (0, 5)}, "axes"),
        ({"resolution": 1}, "resolution"),
        ({"at": [0.0]}, "at="),
        ({"domain": [(0, 1)]}, "domain"),
        ({"domain": [(0, 1), (0, 1, 2)]}, "domain"),
        ({"domain": [("a", 1), (0, 1)]}, "domain"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(registry.UsageError, match=words):
        basins(objectives.himmelblau(), **options)
