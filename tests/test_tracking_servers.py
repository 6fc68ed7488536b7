"""The store on a real PostgreSQL and behind a real MLflow server, both on loopback."""

from __future__ import annotations

import dataclasses
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from gdlab.cli.main import main
from gdlab.errors import UsageError
from gdlab.launch.pictures import Drawing
from gdlab.tracking import keys, query, read, ui, views
from gdlab.tracking.address import address
from gdlab.tracking.client import ClientStore
from gdlab.tracking.sql import SqlStore
from gdlab.tracking.store import Store, open_store
from tests.tracking_cases import EXPERIMENT, a_run, assert_equal_stores, content, odd_runs

pytestmark = pytest.mark.servers
HERE = Path(__file__).parents[1]
OWN = [keys.COMMAND]  # columns that say where a run is kept


def program(name: str) -> str:
    """A program of PostgreSQL's, wherever Debian put it."""
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    assert found, f"{name} is missing; apt-get install postgresql"
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A PostgreSQL cluster of this module's own; yields the address without a database."""
    folder = Path(tempfile.mkdtemp(prefix="gdlab-pg-"))
    who: dict[str, object] = {"cwd": folder}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        who |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    port = ui.free_port(54321)
    data = folder / "data"
    initdb = [program("initdb"), "-D", str(data), "-A", "trust", "-U", "gdlab", "-N"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **who)
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "fsync": "off",
    }
    command = [program("postgres"), "-D", str(data), "-p", str(port)]
    for key, value in options.items():
        command += ["-c", f"{key}={value}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **who)
    address = f"postgresql://gdlab@127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                psycopg.connect(f"{address}/postgres").close()
                break
            except psycopg.OperationalError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def postgres(cluster: str, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    name = re.sub(r"\W+", "_", request.node.name)
    with psycopg.connect(f"{cluster}/postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return f"{cluster}/{name}"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server on a SQLite store of its own."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('server')}/mlflow.db"
    open_store(uri, "behind the server").write([a_run(0)])
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with ui.serve(uri, port, said.append) as server:
            assert server.port != port
            assert said == [f"port {port} is in use; taking {server.port}"]
            yield server.url
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url, timeout=2)


def test_postgresql_bulk_equals_client(postgres: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = open_store(postgres, EXPERIMENT)
    assert isinstance(one, SqlStore)
    runs = odd_runs()
    assert len(one.write(runs)) == len(runs)
    other = open_store(postgres, "through the client")
    other = ClientStore(other.uri, other.experiment, other.experiment_id)
    assert len(other.write(runs)) == len(runs)
    assert_equal_stores(one, other, len(runs))
    lite = open_store(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    lite.write(runs)
    assert_equal_stores(one, lite, len(runs))

    assert one.write(runs[:3]) == []
    failed = runs[8]
    assert one.failed_keys() == {failed.tags[keys.KEY]: failed.run_id}
    assert one.write([dataclasses.replace(failed, status="FINISHED")]) == [failed.run_id]
    assert len(one.finished_keys()) == len(runs)
    assert one.repair() == 0

    views.write_views(one, ["schedule.eta"])
    assert query.experiment_of(EXPERIMENT, postgres) == query.Place(
        one.experiment_id, EXPERIMENT, True
    )
    lite.write([dataclasses.replace(failed, status="FINISHED")])
    for reader in (read.load, read.load_curves):
        mine, theirs = reader(EXPERIMENT, postgres), reader(EXPERIMENT, lite.uri)
        assert mine.equals(theirs)
        assert len(mine) >= len(runs)


def test_postgresql_two_writers(postgres: str) -> None:
    code = """
        import sys
        from gdlab.tracking.store import open_store
        from tests.tracking_cases import EXPERIMENT, a_run
        opened = open_store(sys.argv[1], EXPERIMENT)
        print(len(opened.write(a_run(i, sys.argv[2]) for i in range(600))))
    """

    def both(status: str) -> int:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code), postgres, status],
                cwd=HERE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        written = sum(int(process.communicate(timeout=120)[0]) for process in processes)
        assert [process.returncode for process in processes] == [0, 0]
        return written

    # Both create the schema and the experiment; then both replace the same failed runs. Who comes
    # second finds a failed run and replaces it, or, at the very same moment, leaves it.
    assert 600 <= both("FAILED") <= 1200
    assert both("FINISHED") == 600
    opened = open_store(postgres, EXPERIMENT)
    assert len(opened.finished_keys()) == 600
    rows = 600 * (len(a_run(0).metrics["loss"][0]) * 2 + 1)
    assert opened.database.rows("select count(*) from metrics") == [(rows,)]
    assert opened.database.rows("select count(*) from latest_metrics") == [(1800,)]


def test_postgresql_that_is_not_there(cluster: str) -> None:
    with pytest.raises(UsageError, match=r"tracking\.uri=.*does not exist") as caught:
        open_store(f"{cluster}/nowhere")
    assert "\n" not in str(caught.value)


def test_http_equals_bulk(http: str, tmp_path: Path) -> None:
    behind = open_store(http, EXPERIMENT)
    assert isinstance(behind, ClientStore)
    runs = odd_runs()
    assert len(behind.write(runs)) == len(runs)
    lite = open_store(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    lite.write(runs)
    assert_equal_stores(behind, lite, len(runs))

    assert behind.write(runs[:3]) == []
    failed = dataclasses.replace(runs[8], status="FINISHED")
    assert len(behind.write([failed])) == len(lite.write([failed])) == 1
    assert behind.finished_keys().keys() == lite.finished_keys().keys()
    assert behind.failed_keys() == {}
    run_id = behind.finished_keys()[runs[9].tags[keys.KEY]]
    assert read.artifact(run_id, "deep/b.bin", http) == bytes(range(256))

    def table(reader, uri: str):
        found = reader(EXPERIMENT, uri).drop(columns=[keys.RUN_KEY], errors="ignore")
        order = [keys.KEY, *(["step"] if "step" in found else [])]
        return found.drop(columns="run_id").sort_values(order, ignore_index=True)

    for reader in (read.load, read.load_curves):
        assert table(reader, http).equals(table(reader, lite.uri))


def test_http_two_writers_at_once(http: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    opened = open_store(http, "two writers")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: opened.write(a_run(i) for i in range(8)), range(2)))
    assert len(content(opened)) == 8


@pytest.mark.parametrize("where", ["http", "postgres"])
@pytest.mark.parametrize("seeds", [2, 24])
def test_curves_and_pictures_of_sweeps(
    where: str, seeds: int, tmp_path: Path, monkeypatch, request: pytest.FixtureRequest
) -> None:
    """Few jobs or many: whole and exact as in a file, drawn when looked at."""
    monkeypatch.chdir(tmp_path)
    name = f"{seeds} jobs"
    line = ["-q", "-m", "objective=himmelblau", "steps=50", f"seed=range({seeds})"]
    uris = [address(), request.getfixturevalue(where)]
    for uri in uris:
        assert main([*line, f"tracking.experiment={name}", f"tracking.uri={uri}"]) == 0
    mine, theirs = (
        read.load_curves(name, uri, metrics=["loss", "gap", "x0"]).drop(columns=["run_id", *OWN])
        for uri in uris
    )
    shared = [column for column in mine if column in theirs]
    pd.testing.assert_frame_equal(mine[shared], theirs[shared], check_exact=True)
    opened = open_store(uris[1], name)
    (run_id, *_) = opened.finished_keys().values()
    history = opened.client.get_metric_history(run_id, "loss")
    assert 10 < len(history) <= 16
    said: list[str] = []
    pictures = seeds + 1 if seeds <= 20 else 1
    assert Drawing(uris[1], name, said.append).all() == pictures
    assert said == [f"drawing {pictures} picture{'s' * (pictures > 1)} ..."]
    assert Drawing(uris[1], name).all() == 0


def test_ui_page_and_health(http: str) -> None:
    with urllib.request.urlopen(http, timeout=10) as page:
        assert b"MLflow" in page.read()
    assert query.experiment_of("behind the server", http).id == "1"
    lines: list[str] = []
    assert ui.show(http, "behind the server", say=lines.append) == 0
    assert lines == [f"{http}/#/experiments/1/runs?workflowType=machine_learning"]


def test_a_server_that_dies(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    open_store(uri, EXPERIMENT)
    with ui.serve(uri, 5100, lambda line: None) as server:
        opened: Store = open_store(server.url, EXPERIMENT)
        opened.write([a_run(0)])
    with pytest.raises(UsageError, match="it resumes"):
        opened.write([a_run(1)])
    with pytest.raises(UsageError, match="does not answer"):
        open_store(server.url, EXPERIMENT)
    assert address(uri) == uri
