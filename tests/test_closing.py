"""What a sweep leaves beside its runs: medians over seeds, a summary, an answer, views."""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from gdlab.analysis import ranking, wording
from gdlab.cli.main import main
from gdlab.errors import UsageError
from gdlab.launch import pictures
from gdlab.tracking import aggregate, keys, query, read
from gdlab.tracking import summary as summary_of
from gdlab.tracking.aggregate import middle_and_band
from gdlab.tracking.closing import Closing
from gdlab.tracking.records import Parts
from gdlab.tracking.sql import SqlStore
from gdlab.tracking.store import open_store

STEPS = 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*more: str, etas: str = "0.001,0.0015", seeds: int = 12) -> None:
    """Rosenbrock from several starts: with these steps some descents diverge, most do not."""
    line = ["-m", "objective=rosenbrock", f"schedule.eta={etas}", f"seed=range({seeds})"]
    assert main(["-q", *line, f"steps={STEPS}", *more]) == 0


def experiment_tags() -> dict[str, str]:
    with sqlite3.connect("mlflow.db") as connection:
        return dict(connection.execute("select key, value from experiment_tags"))


def view(name: str) -> dict[str, Any]:
    packed = json.loads(experiment_tags()[f"mlflow.sharedViewState.{name}"])["state"]
    return json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_quantiles_are_numpys(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.lognormal(size=(3, n, 40))
    middle, low, high = middle_and_band(values)
    np.testing.assert_array_equal(middle, np.median(values, axis=1))
    np.testing.assert_allclose(low, np.quantile(values, 0.1, axis=1), rtol=1e-14)
    np.testing.assert_allclose(high, np.quantile(values, 0.9, axis=1), rtol=1e-14)
    # One more that is infinitely bad: what lies below it stays a number.
    worse = np.concatenate([values, np.full((3, 1, 40), np.inf)], axis=1)
    middle, _, high = middle_and_band(worse)
    np.testing.assert_array_equal(middle, np.median(worse, axis=1))
    assert np.isinf(high).all()
    # What is missing is left out.
    missing = np.concatenate([values, np.full((3, 1, 40), np.nan)], axis=1)
    np.testing.assert_array_equal(middle_and_band(missing)[0], np.median(values, axis=1))


def test_medians_of_the_stored_runs(folder: Path) -> None:
    sweep()
    runs = read.load("gdlab")
    assert len(runs) == 24
    assert set(runs["role"]) == {keys.RUN}
    medians = read.load("gdlab", role=keys.AGGREGATE)
    assert sorted(medians["schedule.eta"]) == [0.001, 0.0015]
    curves = read.load_curves("gdlab")
    names = ["loss", "grad_norm", "loss_q10", "grad_norm_q10", "log10_loss", "log10_grad_norm"]
    middles = read.load_curves("gdlab", role=keys.AGGREGATE, metrics=names)
    for eta, middle in middles.groupby("schedule.eta"):
        own = runs[runs["schedule.eta"] == eta]
        for name in ("loss", "grad_norm"):
            part = curves[curves["schedule.eta"] == eta]
            wide = part.pivot_table(index="step", columns="run_id", values=name).ffill()
            for run in own[own["status"] == "diverged"].itertuples():
                wide.loc[wide.index >= run.steps, run.run_id] = np.inf
            wide = wide.reindex(middle["step"])
            assert len(wide) > 30
            expected = np.median(wide.to_numpy(), axis=1)
            np.testing.assert_array_equal(middle[name], expected)
            np.testing.assert_array_equal(middle[f"log10_{name}"], np.log10(expected))
            band = np.quantile(wide.to_numpy(), 0.1, axis=1)
            np.testing.assert_allclose(middle[f"{name}_q10"], band, rtol=1e-14)
        row = medians[medians["schedule.eta"] == eta].iloc[0]
        assert row["runs"] == len(own) == 12
        share = np.mean(own["status"] == "budget")
        assert row["share_budget"] == pytest.approx(share)


def test_the_same_sweep_replaces_its_own(folder: Path) -> None:
    sweep()

    def stored() -> list[Any]:
        with sqlite3.connect("mlflow.db") as connection:
            return connection.execute(
                "select r.run_uuid, r.name, m.key, m.step, m.value from runs r join metrics m "
                "on m.run_uuid = r.run_uuid order by 1, 3, 4"
            ).fetchall()

    before = stored()
    table = read.load("gdlab").drop(columns=keys.COMMAND)
    sweep()  # everything known
    assert stored() == before
    sweep("resume=false")
    assert stored() == before
    pd.testing.assert_frame_equal(read.load("gdlab").drop(columns=keys.COMMAND), table)
    # Where half of the runs are known, they are read back and counted in.
    sweep(seeds=24)
    found = read.load("gdlab", role=keys.AGGREGATE)
    assert sorted(found["runs"]) == [12, 12, 24, 24]
    sweep("tracking.experiment=at_once", seeds=24)
    halves, at_once = (
        read.load_curves(name, filter="runs == 24", role=keys.AGGREGATE)[["step", "loss"]]
        for name in ("gdlab", "at_once")
    )
    columns = ["loss", "step"]
    pd.testing.assert_frame_equal(
        halves.sort_values(columns, ignore_index=True),
        at_once.sort_values(columns, ignore_index=True),
    )


def test_the_summary_answers(folder: Path) -> None:
    sweep()
    (summary,) = read.load("gdlab", role=keys.SUMMARY).itertuples()
    run_id = summary.run_id
    assert summary.jobs == 24
    report = read.artifact(run_id, "report.md").decode()
    table = pd.read_csv(io.BytesIO(read.artifact(run_id, "table.csv")))
    assert table["rank"].tolist() == [1, 2]
    assert table["loss"].is_monotonic_increasing
    note = experiment_tags()[keys.NOTE].splitlines()[0]
    assert note in report
    assert note.startswith(f"best: schedule.eta={table['schedule.eta'][0]:g} median loss ")
    assert table["converged"].sum() + table["diverged"].sum() <= table["runs"].sum() == 24
    with pytest.raises(UsageError, match=r"no artifact curves\.png"):
        read.artifact(run_id, "curves.png")
    drawn = pd.read_parquet(io.BytesIO(read.artifact(run_id, summary_of.CURVES)))
    medians = read.load_curves("gdlab", role=keys.AGGREGATE, metrics=["loss"])
    first = drawn[drawn["run_id"].str.endswith("/0")].set_index(["schedule.eta", "step"])["loss"]
    medians = medians.set_index(["schedule.eta", "step"])["loss"]
    common = first[first < 1e3 * first.groupby(level=0).transform("first")].index
    assert len(common) > 50
    np.testing.assert_array_equal(first.loc[common], medians.loc[common])
    assert pictures.Drawing(None, "gdlab").all() == 1
    assert read.artifact(run_id, "curves.png").startswith(b"\x89PNG")
    with sqlite3.connect("mlflow.db") as connection:
        (page,) = connection.execute(
            "select value from tags where key = ? and run_uuid = ?", (keys.NOTE, run_id)
        ).fetchone()
    assert f"/get-artifact?path=curves.png&run_uuid={run_id}" in page
    # Pooled: every recorded step of every run, those that diverged with their last bad row.
    (parts,) = folder.glob("mlruns/*/*/artifacts/records")
    pooled = pd.read_parquet(parts)
    runs = read.load("gdlab").set_index("run_id")
    assert set(pooled["run_id"]) == set(runs.index)
    last = pooled.groupby("run_id", observed=True).last()
    np.testing.assert_array_equal(last["step"].to_numpy(), runs["steps"][last.index].to_numpy())


TWO = ["-q", "-m", "objective=rosenbrock,himmelblau", "seed=range(12)", "steps=40"]  # two chunks


def pooled_once() -> pd.DataFrame:
    """The records as a user reads them: each stored run's steps, each once, up to its last."""
    (parts,) = Path().glob("mlruns/*/*/artifacts/records")
    rows = pd.read_parquet(parts)
    assert not rows.duplicated(["run_id", "step"]).any()
    runs = read.load("gdlab").set_index("run_id")
    assert set(rows["run_id"]) <= set(runs.index)
    last = rows.groupby("run_id", observed=True)["step"].max()
    np.testing.assert_array_equal(last, runs["steps"][last.index])
    return rows


def drafts() -> list[Path]:
    return list(Path().glob("mlruns/*/*/drafts/*.parquet"))


@pytest.mark.parametrize("more", [[], ["resume=false"]], ids=["resumed", "anew"])
@pytest.mark.parametrize("stored", [0, 5, 12], ids=["before", "amid", "after"])
def test_records_of_a_sweep_that_breaks_off(folder: Path, monkeypatch, stored, more) -> None:
    """A chunk breaks off before, while or after its runs are stored, time and again.

    That is the second; the first, where all runs are there and are to be replaced.
    """
    whole = 0 if more else 1
    if more:
        assert main(TWO) == 0
    written = SqlStore.write
    calls = []

    def breaks(self: SqlStore, runs: list[keys.RunData], force: bool = False) -> list[str]:
        calls.append(len(runs))
        if len(calls) > whole:
            written(self, runs[:stored], force)
            raise UsageError("the disk is full")
        return written(self, runs, force)

    with monkeypatch.context() as broken:
        broken.setattr(SqlStore, "write", breaks)
        assert main([*TWO, *more]) == 2
        assert len(calls) == whole + 1
        assert pooled_once()["run_id"].nunique() == (24 if more else 12)
        main(TWO)  # the same again
        pooled_once()
    (aside,) = folder.glob("mlruns/*/*/drafts")
    (aside / "0.parquet").write_bytes(b"PAR1 of one that was killed amid its writing")
    assert main(TWO) == 0
    assert pooled_once()["run_id"].nunique() == 24
    assert not drafts()
    assert main([*TWO, "resume=false"]) == 0
    assert pooled_once()["run_id"].nunique() == 24


def test_records_of_runs_that_are_no_longer_stored(folder: Path) -> None:
    assert main(TWO) == 0
    rows = pooled_once()
    gone = rows["run_id"].iloc[0]
    with sqlite3.connect("mlflow.db") as store:
        store.execute("update runs set lifecycle_stage = 'deleted' where run_uuid = ?", [gone])
    assert main(TWO) == 0  # it runs again
    assert len(pooled_once()) == len(rows)
    with sqlite3.connect("mlflow.db") as store:
        store.execute("update runs set lifecycle_stage = 'deleted' where run_uuid = ?", [gone])
    (aside,) = folder.glob("mlruns/*/*/drafts")
    (aside / "0.parquet").write_bytes(b"")
    (part, *_) = folder.glob("mlruns/*/*/artifacts/records/part-*")
    (part.parent / "part-000.parquet").write_bytes(part.read_bytes())  # as gdlab once left it
    closing = Closing(open_store(), "", [{}, {}], [None] * 2, [], "", large=True)
    closing.summary_id = aside.parent.name
    closing.close()
    assert pooled_once()["run_id"].nunique() == 23


def test_records_of_two_sweeps_at_once(folder: Path, monkeypatch) -> None:
    """The whole of the second happens while the first is about to store its first chunk."""
    second = [sys.executable, "-c", "import sys; from gdlab.cli.main import main; sys.exit(main())"]
    written = SqlStore.write
    seen = []

    def late(self: SqlStore, runs: list[keys.RunData], force: bool = False) -> list[str]:
        if not seen:
            subprocess.run([*second, *TWO], check=True)
            seen.append(len(pooled_once()))
            assert len(drafts()) == 1
        return written(self, runs, force)

    monkeypatch.setattr(SqlStore, "write", late)
    assert main(TWO) == 0
    assert [len(pooled_once())] == seen
    assert not drafts()


def test_parts_of_many_writers(folder: Path) -> None:
    """Every one keeps all runs, in an order of its own."""
    store = open_store()
    runs = [f"{i:032x}" for i in range(40)]
    columns = {"step": np.tile(np.arange(3), (4, 1)), "loss": np.ones((4, 3))}
    lanes = [slice(k, k + 1) for k in range(4)]

    def keep(writer: int) -> None:
        parts = Parts(store, "summary")
        order = np.random.default_rng(writer).permutation(40).reshape(10, 4)
        for some in order:
            records = SimpleNamespace(columns=columns, length=np.full(4, 3), path=None)
            with parts.write(cast(Any, records), lanes, [runs[i] for i in some]):
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(4)))
    (records,) = folder.glob("mlruns/*/summary/artifacts/records")
    rows = pd.read_parquet(records)
    assert sorted(rows["run_id"]) == sorted(runs * 3)
    assert not rows.duplicated(["run_id", "step"]).any()
    assert not drafts()


def test_views_show_what_is_swept(folder: Path) -> None:
    sweep()
    board = view("leaderboard")
    assert board["selectedColumns"][:2] == ["params.`schedule.eta`", "metrics.`loss`"]
    assert "tags.`shown` = 'yes'" in board["searchFilter"]
    assert "params.`seed`" in view("runs")["selectedColumns"]
    with sqlite3.connect("mlflow.db") as connection:
        shown = connection.execute(
            "select r.value, count(*) from tags s join tags r on r.run_uuid = s.run_uuid "
            "and r.key = 'role' where s.key = 'shown' group by 1"
        ).fetchall()
    assert shown == [("aggregate", 2)]
    # A single descent leaves the sweep's views, and `gdlab ui` opens at its page.
    assert query.experiment_of("gdlab").run is None
    assert main(["-q", "objective=himmelblau"]) == 0
    single = query.experiment_of("gdlab").run
    assert single is not None
    assert view("leaderboard") == board
    assert experiment_tags()[keys.NOTE].startswith("himmelblau constant 0.01 seed 0: loss")
    with sqlite3.connect("mlflow.db") as connection:
        (page,) = connection.execute(
            "select value from tags where key = ? and run_uuid = ?", (keys.NOTE, single)
        ).fetchone()
    assert "converged to a minimum" in page
    assert f"/get-artifact?path=descent.png&run_uuid={single}" in page
    assert "gdlab objective=himmelblau" in page


@pytest.mark.parametrize(
    "words",
    [
        ["objective=rosenbrock", "schedule.eta=1e-3,5e-4", "seed=range(3)"],
        ["objective=himmelblau,rosenbrock", "schedule=constant,exact", "init.samples=1"],
        ["objective=himmelblau", "seed=range(24)"],
        ["objective=rosenbrock", "objective.dim=2,3", "schedule.eta=1e-3,1"],
        [
            "objective=himmelblau",
            "init=point",
            "init.x=[1,1],[-1,2]",
            "schedule=exact,backtracking",
        ],
        # ends that are equally frequent, known points that depend on a list, runs of one start
        ["precision=float32,float64", "seed=range(3)"],
        ["objective=quadratic", "objective.center=0.0,[1,2]", "schedule.eta=0.1,0.2"],
        ["record=log,all", "seed=1,2"],
    ],
)
def test_the_terminal_and_the_ui_say_the_same(capsys, folder: Path, words: list[str]) -> None:
    main(["-m", *words, "steps=200"])
    lines = capsys.readouterr().out.splitlines()
    (jobs,) = [i for i, line in enumerate(lines) if re.match(r"\d+ jobs: ", line)]
    said = [line for line in lines[jobs + 1 :] if not line.startswith(" ") and "failed" not in line]
    assert said
    assert wording.sentences(ranking.rank_runs(read.load("gdlab"))) == said
    assert experiment_tags()[keys.NOTE].splitlines()[0] == ". ".join(said)
    # The UI's rows, in the order of the leaderboard, are the terminal's.
    board = view("leaderboard")
    assert board["orderByKey"] == "metrics.`rank`"
    with sqlite3.connect("mlflow.db") as connection:
        ranks = connection.execute(
            "select m.value from latest_metrics m join tags s on s.run_uuid = m.run_uuid and "
            "s.key = 'shown' where m.key = 'rank' order by 1"
        ).fetchall()
    (summary,) = read.load("gdlab", role=keys.SUMMARY)["run_id"]
    table = pd.read_csv(io.BytesIO(read.artifact(summary, "table.csv")))
    runs = table["runs"] if "runs" in table else [1] * len(table)
    assert [r for (r,) in ranks] == sorted(
        float(r) for r, n in zip(table["rank"], runs) for _ in range(1 if "runs" in table else n)
    )


def test_many_groups_stay_small() -> None:
    marks = np.arange(1001)
    many = aggregate.Gathered(list(range(3000)), [marks] * 3000)
    assert sum(table.nbytes for table in many.curves.values()) < aggregate.BYTES
    assert len(many.grids[0]) * len(many.grids) * 12 <= aggregate.ROWS
    assert (many.grids[0][0], many.grids[0][-1]) == (0, 1000)
