"""The SQLite store: what is written is what MLflow reads; once each, whoever dies or races."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gdlab.errors import UsageError
from gdlab.tracking import client, insert, keys, query, read, store, ui, views
from gdlab.tracking.address import sqlite_path
from gdlab.tracking.client import ClientStore
from gdlab.tracking.keys import RunData, value_of
from gdlab.tracking.store import Store, open_store
from tests.tracking_cases import EXPERIMENT, a_run, assert_equal_stores, content, odd_runs

HERE = Path(__file__).parents[1]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def start(code: str, *args: str, **env: str) -> subprocess.Popen[str]:
    """A Python process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        cwd=HERE,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
    )


def through_client(opened: Store) -> Store:
    """The same store, written through MLflow's client."""
    return ClientStore(opened.uri, opened.experiment, opened.experiment_id)


def test_bulk_equals_client(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = open_store(f"sqlite:///{tmp_path}/a/mlflow.db", EXPERIMENT)
    other = through_client(open_store(f"sqlite:///{tmp_path}/b/mlflow.db", EXPERIMENT))
    runs = odd_runs()
    assert len(one.write(runs)) == len(other.write(runs)) == len(runs)
    assert_equal_stores(one, other, len(runs))
    stored = content(one)
    assert stored[runs[1].run_id]["latest"] == {"loss": 0.5}
    assert stored[runs[2].run_id]["latest"]["loss"] == 0.1  # the last step's, not the last row's
    for opened in (one, other):
        run_id = opened.finished_keys()[runs[9].tags[keys.KEY]]
        assert read.artifact(run_id, "deep/b.bin", opened.uri) == bytes(range(256))
    folders = list((tmp_path / "a" / "mlruns").glob("*/*"))
    # None made for the others; a parameter that is cut stands whole in a file.
    assert {folder.name for folder in folders} == {runs[9].run_id, runs[5].run_id}
    long = json.loads(read.artifact(runs[5].run_id, keys.LONG_PARAMS, one.uri))
    assert long == {"long": runs[5].params["long"]}


@pytest.mark.parametrize("client", [False, True])
def test_a_metric_is_set_anew(uri: str, client: bool) -> None:
    """Known after its sweep alone, as a run's rank is; through either way to the store."""
    opened = open_store(uri, EXPERIMENT)
    opened.write([a_run(i) for i in range(3)])
    ids = [run.run_id for run in map(a_run, range(2))]
    if client:  # by the ids that a server chose, or by the derived ones
        opened = ClientStore(uri, EXPERIMENT, opened.experiment_id)
    for ranks in ([2.0, 1.0], [1.0, 2.0]):
        opened.set_metric(keys.RANK, dict(zip(ids, ranks)))
        found = {run.run_id: run.metrics for run in opened.stored_runs(ids, [])}
        assert [float(found[i][keys.RANK][1][0]) for i in ids] == ranks
    (other,) = opened.stored_runs([a_run(2).run_id], [])
    assert keys.RANK not in other.metrics


def test_a_metric_is_set_for_all_or_for_none(uri: str, monkeypatch) -> None:
    opened = open_store(uri, EXPERIMENT)
    opened.write([a_run(0)])
    opened.set_metric(keys.RANK, {a_run(0).run_id: 1.0})
    real = insert._insert

    def stops(database, connection, table, *rest) -> None:
        if table == "latest_metrics":
            raise RuntimeError("between two tables")
        real(database, connection, table, *rest)

    monkeypatch.setattr(insert, "_insert", stops)
    with pytest.raises(RuntimeError):
        opened.set_metric(keys.RANK, {a_run(0).run_id: 5.0})
    (run,) = opened.stored_runs([a_run(0).run_id], [keys.RANK])
    assert [float(v) for v in run.metrics[keys.RANK][1]] == [1.0]


def test_metrics_are_finite(uri: str) -> None:
    open_store(uri, EXPERIMENT).write(odd_runs())
    with sqlite3.connect(sqlite_path(uri)) as connection:
        for table in ("metrics", "latest_metrics"):
            count, odd = connection.execute(
                f"select count(*), sum(is_nan <> 0 or abs(value) > 1.75e308) from {table}"
            ).fetchone()
            assert count > 5
            assert odd == 0
        # What our own connection leaves unchecked, the whole table satisfies.
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("pragma foreign_key_check").fetchall() == []


@pytest.mark.parametrize("wrap", [lambda s: s, through_client], ids=["bulk", "client"])
def test_once_each_and_failures_replaced(uri: str, wrap) -> None:
    opened = wrap(open_store(uri, EXPERIMENT))
    failed = a_run(1, status="FAILED", metrics={}, artifacts={"why.txt": b"?"})
    assert len(opened.write([a_run(0), failed])) == 2
    assert opened.failed_keys().keys() == {f"{1:064x}"}
    assert opened.write([a_run(0), a_run(0)]) == []
    changed = a_run(0, metrics={"loss": ([0], [99.0])})
    assert opened.write([changed, dataclasses.replace(failed, status="FINISHED")]) != []
    assert opened.finished_keys().keys() == {f"{0:064x}", f"{1:064x}"}
    assert opened.failed_keys() == {}
    assert content(opened)[changed.run_id]["latest"]["loss"] != 99.0
    # A deleted run is written anew; force replaces a finished one.
    opened.client.delete_run(opened.finished_keys()[f"{0:064x}"])
    assert f"{0:064x}" not in opened.finished_keys()
    assert len(opened.write([a_run(0)])) == 1
    assert len(opened.write([changed], force=True)) == 1
    assert content(opened)[changed.run_id]["latest"] == {"loss": 99.0}


def test_two_processes_create_the_store_and_write_the_same_runs(tmp_path: Path, uri: str) -> None:
    code = """
        import sys
        from gdlab.tracking.store import open_store
        from tests.tracking_cases import EXPERIMENT, a_run
        opened = open_store(sys.argv[1], EXPERIMENT)
        print(len(opened.write(a_run(i) for i in range(40))))
    """
    processes = [start(code, uri, XDG_CACHE_HOME=str(tmp_path / "cache")) for _ in range(2)]
    written = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(written) == 40
    assert len(content(open_store(uri, EXPERIMENT))) == 40
    assert not list(tmp_path.glob(".mlflow.db*")), "a half-made database is left"


KILLS = {
    "between chunks": """
        def runs():
            for i in range(2500):
                if i == 1100:
                    print("now", flush=True)
                yield a_run(i)
        """,
    "before a commit": """
        insert_tags, runs = insert._insert_tags, lambda: (a_run(i) for i in range(2500))
        def insert_last(database, connection, chunk, user):
            insert_tags(database, connection, chunk, user)
            if connection.execute("select count(*) from runs").fetchone()[0] > 1000:
                print("now", flush=True)
                time.sleep(60)
        insert._insert_tags = insert_last
        """,
}


@pytest.mark.parametrize("kill", KILLS)
def test_killed(uri: str, kill: str) -> None:
    opened = open_store(uri, EXPERIMENT)
    code = """
        import sys, time
        from gdlab.tracking import insert
        from gdlab.tracking.store import open_store
        from tests.tracking_cases import EXPERIMENT, a_run
        RUNS
        open_store(sys.argv[1], EXPERIMENT).write(runs())
    """
    process = start(textwrap.dedent(code).replace("RUNS", textwrap.dedent(KILLS[kill])), uri)
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    assert kill != "before a commit" or Path(uri.removeprefix("sqlite:///") + "-journal").exists()
    found = len(opened.finished_keys())
    assert 1000 <= found < 2500
    assert found % insert.CHUNK == 0
    assert opened.database.rows("select count(*) from runs where status <> 'FINISHED'") == [(0,)]
    assert opened.repair() == 0
    assert len(opened.write(a_run(i) for i in range(2500))) == 2500 - found
    assert len(opened.finished_keys()) == 2500
    rows = len(a_run(0).metrics["loss"][0]) * 2 + 1
    assert opened.database.rows("select count(*) from metrics") == [(2500 * rows,)]
    assert opened.database.rows("pragma integrity_check") == [("ok",)]


def test_leftovers_of_the_client_are_repaired(uri: str) -> None:
    opened = through_client(open_store(uri, EXPERIMENT))
    dead = start("")
    dead.communicate()
    host = client.writer().split(":")[0]
    tags = {keys.RUN_KEY: a_run(0).run_id}
    make = opened.client.create_run
    make(
        opened.experiment_id,
        tags={**tags, keys.WRITER: f"{host}:{dead.pid}:1"},
    )
    alive = make(opened.experiment_id, tags={keys.RUN_KEY: "f" * 32, keys.WRITER: client.writer()})
    foreign = make(opened.experiment_id)  # someone else's run is none of ours
    assert opened.repair() == 1
    assert opened.repair() == 0
    assert len(opened.write([a_run(0)])) == 1
    running = opened.client.search_runs([opened.experiment_id], "attributes.status = 'RUNNING'")
    assert {run.info.run_id for run in running} == {alive.info.run_id, foreign.info.run_id}


def test_unknown_schema_is_written_through_the_client(uri: str, monkeypatch) -> None:
    monkeypatch.setattr(store, "KNOWN_REVISION", "another")
    monkeypatch.setattr(query, "KNOWN_REVISION", "another")
    with pytest.warns(UserWarning, match="revision"):
        opened = open_store(uri, EXPERIMENT)
    assert isinstance(opened, ClientStore)
    assert len(opened.write([a_run(0), a_run(1)])) == 2
    assert len(opened.finished_keys()) == 2
    assert len(read.load("steps", uri)) == 2


@pytest.mark.parametrize("wrap", [lambda s: s, through_client], ids=["sql", "client"])
def test_read_back(uri: str, wrap, monkeypatch) -> None:
    opened = open_store(uri, EXPERIMENT)
    more = {"use": "true", "mixed": "abc", "none": "", "steps": "1000"}
    opened.write(
        [
            a_run(0),
            a_run(1, params={**a_run(1).params, **more}),
            a_run(2, params={**a_run(2).params, "mixed": "3"}),
            a_run(3, status="FAILED"),
            a_run(4, tags={keys.KEY: "4", keys.STUDY: "other", keys.STATUS: "diverged"}),
        ]
    )
    opened.client.create_run(opened.experiment_id)  # neither finished nor a job's
    if wrap is through_client:
        monkeypatch.setattr(
            query, "SqlQueries", lambda uri, _, role: query.ClientQueries(uri, role)
        )
    runs = read.load("steps", uri)
    assert list(runs["run_id"]) == sorted(a_run(i).run_id for i in range(3))
    runs = runs.set_index("seed").sort_index()
    assert list(runs.index) == [0, 1, 2]
    assert runs["schedule.eta"].dtype == np.float64
    assert runs["schedule.eta"].tolist() == [0.0, 1e-3, 2e-3]
    assert runs.loc[1, "use"] is True or runs.loc[1, "use"] == np.True_
    assert pd.isna(runs.loc[0, "use"])
    assert runs["mixed"].tolist()[1:] == ["abc", 3]
    assert runs.loc[0, "steps"] == 999  # the metric; the parameter of that name is set apart
    assert runs.loc[1, "params.steps"] == 1000
    assert set(runs["status"]) == {"converged"}
    assert len(read.load(EXPERIMENT, uri)) == len(read.load(None, uri)) == 4
    assert len(read.load("steps", uri, "`schedule.eta` > 0 and loss < 1e9")) == 2

    curves = read.load_curves("steps", uri)
    steps, loss = a_run(2).metrics["loss"]
    mine = curves[curves["seed"] == 2]
    assert mine["step"].tolist() == steps.tolist()
    assert mine["loss"].tolist() == loss.tolist()  # bit by bit
    assert {"grad_norm", "objective.name", "schedule.eta", "status"} <= set(curves.columns)
    assert "steps" not in curves.columns

    with pytest.raises(UsageError, match=f"known: .*{EXPERIMENT}.*other.*steps"):
        read.load("stepz", uri)
    with pytest.raises(UsageError, match="filter=loss <"):
        read.load("steps", uri, "loss <")
    with pytest.raises(UsageError, match="metrics=lost"):
        read.load_curves("steps", uri, metrics=["lost"])
    with pytest.raises(UsageError, match="no artifact"):
        read.artifact(a_run(0).run_id, "no.png", uri)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1e-3", 1e-3),
        ("0.1", 0.1),
        ("inf", float("inf")),
        ("true", True),
        ("False", False),
        ("None", None),
        ("1_000", "1_000"),
        ("1/L", "1/L"),
        ("nesterov", "nesterov"),
        ("infinite", "infinite"),
        ("", ""),
    ],
)
def test_value_of(text: str, value: object) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_stores_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, no folder either")
    cases = {
        f"sqlite:///{tmp_path}/file/mlflow.db": "Not a directory|can be written",
        f"sqlite:///{tmp_path}/file": "not a database",
        f"sqlite:///{tmp_path}/new/folder/mlflow.db": "no folder .*/new/folder; make it",
        "foo://x": "takes an address such as sqlite:///mlflow.db",
        "file:///mlruns": "takes an address",
        "mysql://nobody@127.0.0.1:9/none": "needs MySQLdb|refused|connect",
        "sqlite:///:memory:": "outlives",
        "mlflow.db": "takes an address",
        "http://127.0.0.1:9": "does not answer",
        "postgresql://nobody@127.0.0.1:9/none": "refused",
    }
    for uri, words in cases.items():
        with pytest.raises(UsageError, match=words) as caught:
            open_store(uri)
        assert str(caught.value).startswith("tracking.uri=")
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such store"):
        read.load("steps", f"sqlite:///{tmp_path}/none.db")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="no such store"):
        ui.serve(f"sqlite:///{tmp_path}/none.db")


def test_a_store_that_turns_read_only(uri: str) -> None:
    opened = open_store(uri, EXPERIMENT)
    opened.write([a_run(0)])
    with sqlite3.connect(sqlite_path(uri)) as connection:
        connection.execute(
            "create trigger full before insert on runs "
            "begin select raise(abort, 'disk is full'); end"
        )
    with pytest.raises(UsageError, match="free some space"):
        opened.write([a_run(1)])
    assert len(opened.finished_keys()) == 1
    sqlite_path(uri).unlink()
    with pytest.raises(UsageError, match=r"is gone.*the same command again"):
        opened.write([a_run(1)])


@pytest.mark.parametrize("when", ["begin", "insert", "commit"])
def test_a_store_that_is_deleted_while_it_is_written(uri: str, when: str, monkeypatch) -> None:
    opened = open_store(uri, EXPERIMENT)
    opened.write([a_run(0)])
    path, insert_tags = sqlite_path(uri), insert._insert_tags

    def insert_last(*args: object) -> None:
        if when == "insert":
            path.unlink()
        insert_tags(*args)
        if when == "commit":
            path.unlink()

    def runs() -> Iterator[RunData]:
        if when == "begin":
            path.unlink()
        yield a_run(1)

    monkeypatch.setattr(insert, "_insert_tags", insert_last)
    with pytest.raises(UsageError, match="is gone, deleted or moved while it was in use"):
        opened.write(runs())


def test_views_unpack_and_link(uri: str) -> None:
    import base64
    import zlib

    opened = open_store(uri, EXPERIMENT)
    opened.write([a_run(i) for i in range(3)])
    assert not query.experiment_of("steps", uri).has_views
    menu = views.write_views(opened, ["schedule.eta", "seed"])
    assert list(menu.values()) == ["Leaderboard", "Curves", "Step size", "Critical points"]
    tags = opened.client.get_experiment(opened.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    for name in menu:
        view = json.loads(tags[f"mlflow.sharedViewState.{name}"])
        packed = view["state"].removeprefix("deflate;")
        state = json.loads(zlib.decompress(base64.b64decode(packed)))
        assert "params.`schedule.eta`" in state["selectedColumns"]
        sections = {section["uuid"] for section in state["compareRunSections"]}
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
        ids = [chart["uuid"] for chart in state["compareRunCharts"]]
        assert len(set(ids)) == len(ids)
    assert query.experiment_of("steps", uri) == query.Place(opened.experiment_id, EXPERIMENT, True)
    link = views.ui_url("http://127.0.0.1:5000/", "7", "curves")
    assert link == (
        "http://127.0.0.1:5000/#/experiments/7/runs?viewStateShareKey=curves"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )
