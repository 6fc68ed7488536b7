"""Starts: where they lie, what decides them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.launch import build, compose
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
    ("sphere", {"center": [1.0, 2.0], "radius": 3.0}),
    ("near", {"direction": "random"}),
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


def test_a_latin_hypercube_meets_each_layer_of_each_axis_once():
    x = (draw("latin_hypercube", samples=64) - [-5, 0]) / 15
    layers = np.floor(64 * x).astype(int)
    assert np.array_equal(np.sort(layers, axis=0), np.tile(np.arange(64)[:, None], (1, 2)))
    assert not np.array_equal(x, draw("latin_hypercube", samples=64, seed=1))


def test_a_sphere_has_its_radius_and_no_favourite_direction():
    x = draw("sphere", center=[1.0, -2.0], radius=3.0, samples=40_000) - [1.0, -2.0]
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 3, rtol=1e-14)
    assert np.abs(x.mean(axis=0)).max() < 5 * 3 / np.sqrt(2 * 40_000)


def test_near_a_saddle_along_the_direction_that_leads_down():
    saddle = registry.build("objective", "saddle", {})  # x1^2 - x2^2
    np.testing.assert_array_equal(
        draw("near", saddle, distance=0.25, samples=2), [[0, 0.25], [0, -0.25]]
    )
    np.testing.assert_array_equal(draw("near", saddle, direction=-1, distance=0.5), [[0.5, 0]])
    x = draw("near", saddle, direction="random", distance=0.5, samples=9)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 0.5, rtol=1e-14)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "npy"])
def test_starts_of_a_file_are_known_by_what_it_holds(kind, tmp_path):
    path, points = tmp_path / f"starts.{kind}", np.array([[1.5, -2.0], [0.25, 1e-300]])

    def write(x):
        table = pd.DataFrame(x, columns=["a", "b"])
        if kind == "npy":
            np.save(path, x)
        elif kind == "parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False)

    write(points)
    np.testing.assert_array_equal(draw("file", path=str(path)), points)
    np.testing.assert_array_equal(draw("file", path=str(path), rows=[1]), points[1:])
    jobs = [compose.compose_one(["init=file", f"init.path='{path}'"]) for _ in range(2)]
    plain = [OmegaConf.to_container(job, resolve=True) for job in jobs]
    first, same = (build.build(job).key for job in plain)
    write(points + 1)
    assert first == same != build.build(plain[0]).key


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
    ("latin_hypercube", {"samples": 0}, PLANE, "init.samples=0"),
    ("sphere", {"radius": -1.0}, PLANE, "init.radius=-1.0"),
    ("sphere", {"center": [0.0] * 3}, PLANE, "branin has dim 2, got 3 numbers"),
    ("near", {}, BARE, "init=near needs critical_points; bare has none"),
    ("near", {"point": 99}, PLANE, "init.point=99: branin has"),
    ("near", {"direction": 2}, PLANE, "takes -2 to 1, or random"),
    ("near", {"distance": float("nan")}, PLANE, "init.distance=nan"),
    ("file", {"path": "no.csv"}, PLANE, "init.path=no.csv: No such file"),
    ("file", {"path": __file__}, PLANE, "takes .csv, .csv.gz, .parquet or .npy"),
]


@pytest.mark.parametrize(("name", "params", "objective", "says"), BAD)
def test_bad_numbers_are_refused_by_name(name, params, objective, says):
    with pytest.raises(UsageError) as error:
        draw(name, objective, **params)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_choices_describe_themselves_and_draw(path, tmp_path):
    assert path.read_text().startswith("# ")
    params = yaml.safe_load(path.read_text())
    name = params.pop("name")
    if name == "point":
        assert params.pop("x") == "???"  # a point must be given
        params["x"] = [0.0, 0.0]
    if name == "file":
        np.save(tmp_path / "starts.npy", [[0.0, 0.0]])
        params["path"] = str(tmp_path / "starts.npy")
    assert draw(name, **params).shape[1] == 2


def test_every_initialization_is_a_choice():
    own = {n for n, f in registry.factories("init").items() if f.__module__.startswith("gdlab.")}
    assert own == {path.stem for path in CONF.glob("*.yaml")}
