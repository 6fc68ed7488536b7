"""Starts: where they lie, what decides them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.types import Facts, Objective

CONF = Path(__file__).parents[1] / "conf" / "init"
PLANE = registry.build("objective", "branin", {})  # domain [-5, 10] x [0, 15]
LINE = registry.build("objective", "half_square", {})
BARE = Objective(lambda x: x[0], dim=2, name="bare", facts=Facts())


def draw(name, objective=PLANE, seed=0, **params):
    return registry.build("init", name, params)(objective, np.random.default_rng(seed))


RANDOM = [
    ("uniform", {}),
    ("uniform", {"low": [-1.0, 2.0], "high": 3.0}),
    ("normal", {"mean": [1.0, 2.0], "scale": 0.5}),
    ("sobol", {}),
]


@pytest.mark.parametrize(("name", "params"), RANDOM)
def test_seed_alone_decides_and_more_samples_keep_the_first(name, params):
    few, many = (draw(name, samples=n, **params) for n in (5, 300))
    assert few.shape == (5, 2)
    assert few.dtype == np.float64
    assert np.array_equal(few, many[:5])
    assert np.array_equal(many, draw(name, samples=300, **params))
    assert not np.array_equal(many, draw(name, samples=300, seed=1, **params))


@pytest.mark.parametrize(
    ("name", "params", "low", "high"),
    [
        ("uniform", {}, [-5, 0], [10, 15]),
        ("uniform", {"low": [-1.0, 2.0], "high": 3.0}, [-1, 2], [3, 3]),
        ("uniform", {"low": 1.0}, [1, 1], [10, 15]),
        ("sobol", {"high": [0.0, 1.0]}, [-5, 0], [0, 1]),
    ],
)
def test_boxes_are_filled(name, params, low, high):
    x = (draw(name, samples=4096, **params) - low) / (np.array(high) - low)
    assert x.min() >= 0
    assert x.max() <= 1
    # Each quarter of the box holds a quarter of the points, within 5 standard deviations.
    quarters = np.bincount((x[:, 0] > 0.5) * 2 + (x[:, 1] > 0.5), minlength=4)
    assert np.abs(quarters - 1024).max() < (5 * 28 if name == "uniform" else 2)


def test_normal_has_its_mean_and_scale():
    x = draw("normal", mean=[1.0, -2.0], scale=[0.5, 3.0], samples=40_000)
    assert np.allclose(x.mean(axis=0), [1, -2], atol=0.08)
    assert np.allclose(x.std(axis=0), [0.5, 3], rtol=0.02)


def test_grid_meets_the_border_and_counts_points_per_axis():
    x = draw("grid", points_per_axis=4)
    assert x.shape == (16, 2)
    assert np.array_equal(np.unique(x[:, 0]), [-5, 0, 5, 10])
    assert np.array_equal(x[:4, 1], [0, 5, 10, 15])
    assert np.array_equal(draw("grid", points_per_axis=1), [[2.5, 7.5]])
    assert np.array_equal(
        draw("grid", LINE, low=0.0, high=1.0, points_per_axis=3)[:, 0], [0, 0.5, 1]
    )


def test_point_is_repeated():
    assert np.array_equal(draw("point", x=[1.5, -2.0], samples=3), [[1.5, -2.0]] * 3)
    assert np.array_equal(draw("point", LINE, x=1.5), [[1.5]])


def test_every_objective_has_a_domain_to_start_in():
    for path in sorted((CONF.parent / "objective").glob("*.yaml")):
        params = yaml.safe_load(path.read_text())
        o = registry.build("objective", params.pop("name"), params)
        x = draw("uniform", o, samples=7)
        assert x.shape == (7, o.dim)
        assert np.all((o.facts.domain[:, 0] <= x) & (x <= o.facts.domain[:, 1]))


BAD = [
    (
        "point",
        {"x": [1.0, 2.0, 3.0]},
        PLANE,
        "init.x=[1.0, 2.0, 3.0]: branin has dim 2, got 3 numbers",
    ),
    ("point", {"x": 1.0}, PLANE, "branin has dim 2, got 1 number"),
    ("point", {"x": [1.0, float("nan")]}, PLANE, "finite"),
    ("point", {}, PLANE, "init.x is missing"),
    ("point", {"x": ["a", 1.0]}, PLANE, "init.x"),
    ("uniform", {}, BARE, "bare has no domain; give init.low and init.high"),
    ("uniform", {"low": 2.0, "high": 1.0}, PLANE, "init.low=2.0: must not exceed init.high=1.0"),
    ("uniform", {"low": 20.0}, PLANE, "init.low=20.0: must not exceed init.high=[10.0, 15.0]"),
    ("uniform", {"low": [0.0, 2.0], "high": [1.0, 1.0]}, PLANE, "init.low=[0.0, 2.0]"),
    ("uniform", {"low": [0.0] * 3}, PLANE, "init.low=[0.0, 0.0, 0.0]: branin has dim 2"),
    ("uniform", {"samples": 0}, PLANE, "init.samples=0"),
    ("uniform", {"samples": 10**9}, PLANE, "init.samples=1000000000"),
    ("normal", {"scale": -1.0}, PLANE, "init.scale=-1.0"),
    ("normal", {"mean": [0.0]}, PLANE, "init.mean=[0.0]: branin has dim 2, got 1 number"),
    ("grid", {"points_per_axis": 0}, PLANE, "init.points_per_axis=0"),
    ("grid", {"points_per_axis": 10**5}, PLANE, "init.points_per_axis=100000"),
    ("sobol", {"low": float("inf")}, PLANE, "init.low=inf"),
]


@pytest.mark.parametrize(("name", "params", "objective", "says"), BAD)
def test_bad_numbers_are_refused_by_name(name, params, objective, says):
    with pytest.raises(UsageError) as error:
        draw(name, objective, **params)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_choices_describe_themselves_and_draw(path):
    assert path.read_text().startswith("# ")
    params = yaml.safe_load(path.read_text())
    name = params.pop("name")
    if name == "point":
        assert params.pop("x") == "???"  # a point must be given
        params["x"] = [0.0, 0.0]
    assert draw(name, **params).shape[1] == 2


def test_every_initialization_is_a_choice():
    own = {n for n, f in registry.factories("init").items() if f.__module__.startswith("gdlab.")}
    assert own == {path.stem for path in CONF.glob("*.yaml")}
