"""Stores as people have them: renamed, damaged, of another age, oddly named, with passwords."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gdlab.cli.main import main
from gdlab.errors import UsageError
from gdlab.launch import pictures
from gdlab.launch.described import sweep_id
from gdlab.launch.settings import Settings
from gdlab.tracking import keys, read
from gdlab.tracking.address import address, scrubbed, shown, sqlite_path, sqlite_uri
from gdlab.tracking.client import ClientStore
from gdlab.tracking.connect import reach
from gdlab.tracking.database import KNOWN_REVISION
from gdlab.tracking.store import open_store
from tests.tracking_cases import EXPERIMENT, a_run, content

SWEEP = ["-q", "-m", "objective=double_well", "seed=range(2)", "schedule.eta=0.01,0.02", "steps=20"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def rename(old: str, new: str, store: str = "mlflow.db") -> None:
    """As MLflow's UI does."""
    with sqlite3.connect(store) as connection:
        connection.execute("update experiments set name = ? where name = ?", [new, old])


@pytest.mark.parametrize("more", [[], ["resume=false"]], ids=["resumed", "anew"])
@pytest.mark.parametrize("large", [[], ["tracking.artifacts=auto", "seed=range(12)"]])
def test_a_renamed_experiment_keeps_its_runs(folder: Path, more, large) -> None:
    assert main([*SWEEP, *large]) == 0
    rename("gdlab", "first")
    before = read.load("first")
    assert main([*SWEEP, *large, *more]) == 0
    assert read.load("first").equals(before)
    after = read.load("gdlab")
    assert list(after["key"]) == list(before["key"]), "the same table in the same order"
    np.testing.assert_array_equal(after["loss"], before["loss"])
    assert not set(after["run_id"]) & set(before["run_id"])
    if large:
        parts = list(folder.glob("mlruns/*/*/artifacts/records"))
        assert len(parts) == 2
    else:
        for run in after.itertuples():
            assert pictures.of_run(run.run_id, None).startswith(b"\x89PNG")
    # Known now, replaced in its own place, and not once more.
    assert main([*SWEEP, *large]) == 0
    assert main([*SWEEP, *large, "resume=false"]) == 0
    assert set(read.load("gdlab")["run_id"]) == set(after["run_id"])
    assert len(read.load()) == 2 * len(before)


def test_ids_of_two_renamed_experiments(tmp_path: Path) -> None:
    """Three experiments bore one name; a run of each, failed ones among them, is its own."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for n in range(3):
        opened = open_store(uri, EXPERIMENT)
        failed = a_run(1, status="FAILED", metrics={})
        assert len(opened.write([a_run(0), failed, a_run(0)])) == 2
        assert opened.write([a_run(0)]) == []
        assert opened.write([a_run(1, note=f"![](run_uuid={failed.run_id})")]) != []
        assert len(content(opened)) == 2
        assert len(opened.write([a_run(0), a_run(1)], force=True)) == 2
        rename(EXPERIMENT, f"old {n}", str(tmp_path / "mlflow.db"))
    assert len(read.load(None, uri)) == 6


PASSWORDS = ["geheim", "p@ss/w:rd", "a", "gehe%40im", "x-1"]
URIS = [
    "postgresql://user:{}@127.0.0.1:9/none",
    "postgresql+psycopg://user:{}@127.0.0.1:9/none",
    "postgresql://user:{}@host.invalid/none",
    "postgresql://127.0.0.1:9/none?user=u&password={}",
    "postgresql:/user:{}@127.0.0.1/none",
    "postgres://:{}@127.0.0.1:9/none",
    "http://user:{}@127.0.0.1:9",
    "http://user:{}@127.0.0.1:none",
    "mysql+pymysql://user:{}@127.0.0.1:9/none",
    "mssql+pyodbc://user:{}@127.0.0.1:9/none",
    "user:{}@127.0.0.1/none",
    "ftp://user:{}@127.0.0.1/none",
    "sqlite://user:{}@127.0.0.1/none.db",
]


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_message_holds_a_password(password: str, folder: Path, capsys) -> None:
    for template in URIS:
        if "host.invalid" in template and password != PASSWORDS[1]:
            continue  # one look-up of a name is slow enough
        uri = template.format(password)
        for ask in (open_store, reach, lambda uri: read.load("x", uri)):
            try:
                ask(uri)
            except UsageError as error:
                text = str(error)
                assert "\n" not in text
                assert uri not in text
                if len(password) > 1:
                    for piece in (password, *password.split("@"), "%40im"):
                        assert len(piece) < 4 or piece not in text, (template, text)
                    assert "ss/w" not in text
                else:
                    assert ":a@" not in text
                    assert "=a" not in text.partition("?")[2]


def test_a_password_is_in_nothing_that_is_kept(folder: Path, capsys) -> None:
    """The store is a file; its address carries a password as a server's would."""
    line = ["objective=double_well", "steps=5", "+study=null"]
    word = "tracking.uri=sqlite:////tmp/none/a.db?password=geheim"
    assert main([*line[:2], word]) == 2
    assert "geheim" not in "".join(capsys.readouterr())
    secret = "++tracking.uri=postgresql://me:geheim@host/db"
    escaped = "tracking.uri=postgresql://me:geheim@127.0.0.1:9/db"
    for words in (["--cfg", "job"], ["-m", "seed=1,x"], ["-v"], ["-v", "-m", "seed=1,2"]):
        main([*words, escaped])
        said = capsys.readouterr()
        assert "geheim" not in said.out + said.err, words
    settings = Settings(command=f"gdlab {secret} steps=5")
    same = Settings()
    assert sweep_id(settings, [[secret, "steps=5"]]) == sweep_id(same, [["steps=5"]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:pw@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me@h:5432/db", "postgresql://me@h:5432/db"),
        ("postgresql://h/db?password=pw&x=1", "postgresql://h/db?password=***&x=1"),
        ("gdlab tracking.uri=http://a:b@h:1 seed=1", "gdlab tracking.uri=http://a:***@h:1 seed=1"),
        ("sqlite:////tmp/a:b@c/mlflow.db", "sqlite:////tmp/a:b@c/mlflow.db"),
        ("http://h:5000", "http://h:5000"),
        (r"postgresql\://me\:p\ w@h\:1/db x", r"postgresql\://me:***@h\:1/db x"),
        (r"postgresql\://h/db?password\=p\,w&x\=1", r"postgresql\://h/db?password\=***&x\=1"),
    ],
)  # fmt: skip
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(expected) == expected


def test_scrubbed() -> None:
    uri = "postgresql://me:p@ssword@host/db"
    assert (
        scrubbed('failed to resolve host "ssword@host"', uri) == 'failed to resolve host "***@host"'
    )


ODD = ["a%20b", "a?b", "a b", "a#b", "a%b", "ä&c", "a?uri=true", "100%"]


@pytest.mark.parametrize("name", ODD)
def test_a_store_in_an_oddly_named_folder(name: str, folder: Path, monkeypatch) -> None:
    (folder / name).mkdir()
    monkeypatch.chdir(folder / name)
    uri = address()
    assert address(uri) == uri
    assert sqlite_path(uri) == folder / name / "mlflow.db"
    assert sqlite_path(sqlite_uri(sqlite_path(uri))) == sqlite_path(uri)
    opened = open_store(None, EXPERIMENT)
    runs = [a_run(i, artifacts={"a.txt": b"one"}) for i in range(2)]
    assert len(opened.write(runs)) == 2
    assert {p.name for p in folder.iterdir()} == {name}
    assert {p.name for p in (folder / name).iterdir()} == {"mlflow.db", "mlruns"}
    assert len(read.load(EXPERIMENT)) == 2
    assert read.artifact(runs[0].run_id, "a.txt") == b"one"
    # MLflow itself finds the same store and the same artifacts.
    through = ClientStore(opened.uri, opened.experiment, opened.experiment_id)
    assert len(through.finished_keys()) == 2
    assert [i.path for i in through.client.list_artifacts(runs[1].run_id)] == ["a.txt"]
    assert len(through.write([a_run(2, artifacts={"a.txt": b"two"})])) == 1
    assert {p.name for p in folder.iterdir()} == {name}


def test_options_of_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"takes no options.*file:.*a%253Fb.*uri=true"):
        open_store(f"sqlite:///{tmp_path}/a?b/mlflow.db")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> bytes:
    """The bytes of a store with some runs."""
    path = tmp_path_factory.mktemp("small") / "mlflow.db"
    open_store(f"sqlite:///{path}", EXPERIMENT).write([a_run(i) for i in range(30)])
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes(small: bytes, seed: int, folder: Path) -> None:
    """What is read from a damaged store is a table or one line, and so when it is written to."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(small)
    used = np.flatnonzero(np.frombuffer(small, np.uint8))
    for at in rng.choice(used, 3 + 30 * (seed % 3)):
        damaged[at] ^= 1 << rng.integers(8)
    Path("mlflow.db").write_bytes(damaged)
    for ask in (
        lambda: read.load(None),
        lambda: read.load_curves(None),
        lambda: read.studies(),
        lambda: open_store(None, EXPERIMENT).finals(),
        lambda: open_store(None, EXPERIMENT).write([a_run(i) for i in range(40)]),
        lambda: read.load(EXPERIMENT),
    ):
        said = ""
        try:
            ask()
        except UsageError as error:
            said = str(error)
        assert "\n" not in said


@pytest.mark.parametrize("verb", [["report", "out=r.html"], ["objective=double_well", "steps=3"]])
def test_a_store_of_an_older_schema(verb: list[str], folder: Path, capsys) -> None:
    open_store().write([a_run(0)])
    with sqlite3.connect("mlflow.db") as store:
        store.execute("update alembic_version set version_num = '0a8213491aaa'")
    assert main(verb) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert "another version of MLflow (found version 0a8213491aaa" in err
    assert KNOWN_REVISION in err
    assert "mlflow db upgrade" in err


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from gdlab.cli.main import main
sys.exit(main(["objective=double_well", "steps=3"]))
"""


@pytest.mark.parametrize("size", [0, 8192, 300_000])
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "fresh"])
def test_a_disk_that_is_full_before_the_store_exists(folder: Path, size: int, cached: bool) -> None:
    env = os.environ | ({} if cached else {"XDG_CACHE_HOME": str(folder / "cache")})
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(size)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert lines[-1].startswith("tracking.uri=") or "tracking.uri=" in lines[-1]
    assert len(lines) == 1, lines
    assert "free some space" in lines[0]
    assert not list(folder.glob("*mlflow.db*"))


def test_parameters_deleted_by_hand(folder: Path, capsys) -> None:
    assert main(SWEEP) == 0
    for what in ("seed", "schedule.eta", "objective.name", "%"):
        with sqlite3.connect("mlflow.db") as store:
            store.execute(
                "delete from params where key like ? and run_uuid in "
                "(select run_uuid from runs order by run_uuid limit 3)",
                [what],
            )
        capsys.readouterr()
        code = main(["report", "gdlab", "out=r.html"])
        err = capsys.readouterr().err
        assert code in (0, 2), err
        assert code == 0 or len(err.strip().splitlines()) == 1
        assert main([*SWEEP, "steps=21"]) == 0


def test_one_rule_for_the_address(folder: Path, monkeypatch) -> None:
    """Given > MLFLOW_TRACKING_URI > mlflow.db, for what writes and for what reads."""
    (folder / "env").mkdir()
    line = ["-q", "objective=double_well", "steps=3"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/env/mlflow.db")
    assert main(line) == 0
    assert [p.name for p in folder.iterdir()] == ["env"]
    assert len(read.load()) == 1
    assert main([*line, "tracking.uri=sqlite:///given.db"]) == 0
    assert (folder / "given.db").exists()
    assert main(["report", "gdlab", "out=r.html"]) == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert main([*line, "seed=1"]) == 0
    assert (folder / "mlflow.db").exists()


def test_long_parameters_stay_apart(tmp_path: Path) -> None:
    """Two starts of 10,000 characters that differ in the last."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    ends = ["1", "2"]
    runs = [
        a_run(i, params={"init.points": "x" * 10_000 + end, "seed": "0"})
        for i, end in enumerate(ends)
    ]
    open_store(uri, EXPERIMENT).write(runs)
    stored = read.load(EXPERIMENT, uri).set_index("run_id")["init.points"]
    assert stored.nunique() == 2
    assert stored.str.len().max() <= keys.PARAM_LENGTH
    for run in runs:
        whole = json.loads(read.artifact(run.run_id, keys.LONG_PARAMS, uri))
        assert whole["init.points"] == run.params["init.points"]


PROBE = "record.probes=[curvature]"


@pytest.mark.parametrize("more", [["seed=0"], ["-m", "seed=0,1"], ["init.samples=4"]])
def test_probes_are_kept_as_curves(folder: Path, more: list[str]) -> None:
    line = ["-q", "objective=double_well", "steps=30", *more]
    assert main([*line, PROBE]) == 0
    curves = read.load_curves("gdlab", metrics=["loss", "curvature"])
    assert curves["curvature"].notna().sum() > 10


def test_resume_sees_the_curves_that_a_run_lacks(folder: Path, monkeypatch) -> None:
    line = ["-q", "-m", "objective=double_well", "steps=30", "seed=0,1"]
    assert main([*line, "tracking.metrics=[loss]"]) == 0
    ids = set(read.load("gdlab")["run_id"])
    more = "tracking.metrics=[loss,slope]"
    assert main([*line, more]) == 0
    curves = read.load_curves("gdlab", metrics=["loss", "slope"])
    assert curves["slope"].notna().sum() > 10
    assert set(read.load("gdlab")["run_id"]) == ids
    from gdlab.tracking.sql import SqlStore

    seen = []
    write = SqlStore.write
    monkeypatch.setattr(
        SqlStore,
        "write",
        lambda self, runs, force=False: seen.append(1) or write(self, runs, force),
    )
    assert main([*line, more]) == 0  # known now
    assert main([*line, "tracking.metrics=[slope]"]) == 0  # and so is a part of it
    assert not seen


def test_figures_do_not_ask_for_jupyters_backend(folder: Path) -> None:
    code = (
        "import sys; from gdlab.launch.study_files import find; from gdlab.figures import style; "
        "made, _ = style.figure(); sys.exit(len(style.rendered(made)) < 1000)"
    )
    code = code.replace("from gdlab.launch.study_files import find; ", "")
    env = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=120)
