"""Curves are kept once, whole and exact; MLflow's own table has some points of each."""

from __future__ import annotations

import shutil
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gdlab.cli.main import main
from gdlab.errors import UsageError
from gdlab.tracking import keys, parquet, read, store
from gdlab.tracking.client import ClientStore
from gdlab.tracking.metrics import log_spaced
from gdlab.tracking.sql import SqlStore

NAMES = ["loss", "grad_norm", "step_size"]
LINE = ["-q", "-m", "objective=rosenbrock", "schedule.eta=0.001,1", "steps=300"]
POOLED, OWN = "seed=range(12)", "seed=range(2)"
HERE = ["sqlite", "client"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets runs be written as to a server: through MLflow's client, which chooses ids."""

    def choose(way: str) -> None:
        if way == "client":
            real = store.open_store

            def opened(uri: str | None, experiment: str) -> ClientStore:
                made = real(uri, experiment)
                return ClientStore(made.uri, made.experiment, made.experiment_id)

            monkeypatch.setattr(store, "open_store", opened)

    return choose


def stored() -> pd.DataFrame:
    """What MLflow's table has of the runs' curves: by name of the run, metric and step."""
    with sqlite3.connect("mlflow.db") as connection:
        return pd.read_sql(
            "select r.name, m.key, m.step, m.value, r.run_uuid from metrics m join runs r on "
            "r.run_uuid = m.run_uuid join tags k on k.run_uuid = r.run_uuid and k.key = 'key' "
            "where m.key in ('loss', 'grad_norm', 'step_size')",
            connection,
        )


def whole(**more: object) -> pd.DataFrame:
    """`load_curves`, by name of the run and step."""
    found = read.load_curves("gdlab", metrics=NAMES, **more)
    return found.set_index(["name", "step"])[NAMES].sort_index()


def numbers_of(curves: pd.DataFrame) -> pd.DataFrame:
    """What MLflow's table can hold of it."""
    return curves.where(np.isfinite(curves)).dropna(how="all")


@pytest.mark.parametrize("way", HERE)
@pytest.mark.parametrize("seeds", [POOLED, OWN], ids=["pooled", "own"])
def test_curves_are_whole_and_exact(folder: Path, through, way: str, seeds: str) -> None:
    """Bit for bit those that MLflow's table has of the same runs with `tracking.points=all`."""
    assert main([*LINE, seeds, "tracking.artifacts=never", "tracking.uri=sqlite:///all.db"]) == 0
    every = read.load_curves("gdlab", "sqlite:///all.db", metrics=NAMES)
    every = every.set_index(["name", "step"])[NAMES].sort_index()
    through(way)
    assert main([*LINE, seeds]) == 0
    found = whole()
    # What diverged has its last values, which are no numbers, in its record alone.
    assert not np.isfinite(found).all().all()
    pd.testing.assert_frame_equal(numbers_of(found), every, check_exact=True)
    table = stored()
    for (name, metric), points in table.groupby(["name", "key"]):
        curve = every.loc[name, metric].dropna()
        if len(curve) > 16:  # the step size is constant: a line between two points
            curve = curve if metric != "step_size" else curve.iloc[[0, -1]]
            assert len(points) == min(16, len(curve))
        else:
            assert len(points) == len(curve)
        at = points.sort_values("step").set_index("step")["value"]
        assert (at.index[0], at.index[-1]) == (curve.index[0], curve.index[-1])
        np.testing.assert_array_equal(at, curve.loc[at.index])
    latest = read.load("gdlab").set_index("name")["loss"]
    ends = every["loss"].groupby("name").last()
    kept = latest[np.isfinite(latest)]
    np.testing.assert_array_equal(kept, ends.loc[kept.index])
    more = read.load_curves("gdlab", metrics=["gap", "x0", "log10_loss"])
    assert len(more) == len(found)
    assert more[["gap", "x0"]].notna().any().all()
    assert keys.RECORDS not in read.load("gdlab").columns


def points_of(seed: int) -> int:
    """How many points of each curve MLflow's table has, of the run with that seed."""
    run_id = read.load("gdlab").set_index("seed")["run_id"].loc[seed]
    table = stored()
    sizes = table[table["run_uuid"] == run_id].groupby("key").size()
    assert sizes["loss"] == sizes["grad_norm"]
    return int(sizes["loss"])


def test_points_are_chosen(folder: Path, capsys) -> None:
    line = ["-q", "objective=double_well", "steps=200", "stop.gtol=0"]
    for seed, points in enumerate(["16", "5", "all"]):
        given = [f"tracking.points={points}"] if seed else []
        assert main([*line, f"seed={seed}", *given]) == 0
    sizes = read.load_curves("gdlab").groupby("seed").size()
    assert (points_of(0), points_of(1), points_of(2)) == (16, 5, sizes[2])
    assert sizes.min() > 50
    assert main([*line, "seed=1", "tracking.points=all"]) == 0  # its curve is whole: known
    assert points_of(1) == 5
    capsys.readouterr()
    for given, says in [
        ("1", "takes a number >= 2"),
        ("some", "takes"),
        ("2.5", "takes"),
    ]:
        assert main([*line, f"tracking.points={given}"]) == 2
        err = capsys.readouterr().err
        assert f"tracking.points={given}: " in err
        assert says in err


def test_a_run_whose_part_is_still_a_draft(folder: Path, monkeypatch) -> None:
    """A process is killed after its runs are stored and before their records are a part."""
    assert main([*LINE, POOLED, "tracking.experiment=whole"]) == 0
    written = SqlStore.write

    def breaks(self: SqlStore, runs: list[keys.RunData], force: bool = False) -> list[str]:
        written(self, runs, force)
        raise UsageError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(SqlStore, "write", breaks)
        assert main([*LINE, POOLED]) == 2
    (draft,) = folder.glob("mlruns/2/*/drafts/*.parquet")
    some = whole()
    names = some.index.unique("name")
    assert 0 < len(names) <= 24
    first = read.load_curves("whole", metrics=NAMES).set_index(["name", "step"])[NAMES].sort_index()
    pd.testing.assert_frame_equal(some, first.loc[some.index], check_exact=True)
    # One of which only the beginning was written is none.
    draft.write_bytes(draft.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="records of"):
        assert len(whole()) < len(some)


def test_stores_without_records_stay_readable(folder: Path) -> None:
    """Of an earlier gdlab, and those whose files are gone, of which it says so."""
    assert main([*LINE, POOLED]) == 0
    records = whole()
    shutil.move("mlruns", "elsewhere")
    with pytest.warns(UserWarning, match="records of 24 runs are not where they were kept"):
        thin = whole()
    assert 0 < len(thin) < len(records)
    drawn, given = (table[NAMES[:2]] for table in (thin, numbers_of(records).loc[thin.index]))
    pd.testing.assert_frame_equal(drawn, given, check_exact=True)
    with sqlite3.connect("mlflow.db") as connection:
        connection.execute("delete from tags where key = ?", [keys.RECORDS])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pd.testing.assert_frame_equal(whole(), thin)


COLUMNS = {
    "floats": np.array([0.1, -0.0, np.inf, np.nan]),
    "halves": np.array([0.1, 1e-3, 3.0, 4.0], np.float32),
    "strided": np.arange(8.0)[::2],
    "steps": np.array([0, 1, 2, 2**40]),
    "bools": np.array([True, False, True, True]),
    "listed": [0.1, 2, None, float("nan")],
    "whole": [0, 1, 2, 3],
    "gaps": [3, None, 1, None],
    "none": [None] * 4,
    "texts": ["a", "", "η", "a"],
}


@pytest.mark.parametrize("reads", [pd.read_parquet, parquet.columns])
def test_columns_come_back_as_they_went(tmp_path: Path, reads) -> None:
    (tmp_path / "columns.parquet").write_bytes(parquet.content(COLUMNS))
    found = reads(tmp_path / "columns.parquet")
    assert list(found) == list(COLUMNS)
    for name, values in COLUMNS.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(found[name], values)
            assert np.asarray(found[name]).dtype == values.dtype
        else:
            pd.testing.assert_series_equal(
                pd.Series(found[name]).astype(object).where(pd.notna(found[name]), None),
                pd.Series(values, dtype=object).where(pd.notna(pd.Series(values)), None),
                check_names=False,
            )


SPACINGS = {
    "every": np.arange(1001),
    "even": np.arange(0, 100_001, 1000),
    "log": np.unique(np.geomspace(1, 1001, 100).astype(int)) - 1,
    "late": np.arange(900, 1001),
    "few": np.array([0, 7, 9]),
    "gap": np.array([*range(20), 10**6]),
}


@pytest.mark.parametrize("points", [2, 3, 16, 20])
@pytest.mark.parametrize("name", SPACINGS)
def test_log_spaced(name: str, points: int) -> None:
    steps = SPACINGS[name]
    points = min(points, len(steps))
    place = log_spaced(steps, points)
    assert (place[0], place[-1], len(place)) == (0, len(steps) - 1, points)
    assert (np.diff(place) > 0).all()
    if name == "every" and points == 16:  # ever longer strides
        strides = np.diff(steps[place])
        assert (np.diff(strides) >= 0).all()
        assert strides[0] == 1
        assert strides[-1] > 300
