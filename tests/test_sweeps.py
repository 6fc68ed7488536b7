"""Sweeps as a user types them: idempotent, resumable after kill -9, safe side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gdlab import registry
from gdlab.cli.main import main
from gdlab.tracking.read import load, load_curves

GDLAB = [sys.executable, "-c", "import sys; from gdlab.cli.main import main; sys.exit(main())"]
BASE = ["-m", "objective=rosenbrock", "steps=60"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def gdlab(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(list(args))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_wider_grid_runs_only_the_difference(capsys) -> None:
    code, _, err = gdlab(capsys, *BASE, "seed=range(6)", "schedule.eta=1e-3")
    assert code == 0, err
    before = load().set_index("run_id")
    _, out, _ = gdlab(capsys, *BASE, "seed=range(8)", "schedule.eta=1e-3,2e-3", "dry_run=true")
    assert "have 6, missing 10" in out
    code, out, _ = gdlab(capsys, *BASE, "seed=range(8)", "schedule.eta=1e-3,2e-3")
    assert (code, "6 known already" in out) == (0, True)
    after = load().set_index("run_id")
    assert len(after) == 16
    assert not after.index.has_duplicates
    np.testing.assert_array_equal(after.loc[before.index, "loss"], before["loss"])


def test_a_run_has_the_same_bits_alone_in_a_sweep_and_resumed(capsys, empty_folder) -> None:
    def curves(uri: str, seed: int) -> np.ndarray:
        table = load_curves(uri=uri).query("seed == @seed").sort_values("step")
        return table[["step", "loss", "grad_norm", "step_size"]].to_numpy()

    small = "schedule.eta=5e-4"
    one = ["objective=rosenbrock", "steps=60", "seed=4", small, "tracking.uri=sqlite:///alone.db"]
    assert gdlab(capsys, *one)[0] == 0
    rest = [small, "seed=range(9)", "tracking.uri=sqlite:///sweep.db"]
    assert gdlab(capsys, *BASE, small, "seed=4,2", "tracking.uri=sqlite:///resumed.db")[0] == 0
    assert gdlab(capsys, *BASE, *rest)[0] == 0
    assert gdlab(capsys, *BASE, small, "seed=range(9)", "tracking.uri=sqlite:///resumed.db")[0] == 0
    for seed in (2, 4, 7):
        expected = curves("sqlite:///sweep.db", seed)
        assert len(expected) > 20
        np.testing.assert_array_equal(curves("sqlite:///resumed.db", seed), expected)
    np.testing.assert_array_equal(curves("sqlite:///alone.db", 4), curves("sqlite:///sweep.db", 4))


def test_what_is_known_is_said_as_it_was_when_it_ran(capsys) -> None:
    args = ["-m", "objective=rosenbrock", "schedule.eta=0.5", "seed=1,2", "steps=20"]
    first, again = (gdlab(capsys, *args)[1].splitlines()[:-1] for _ in range(2))
    assert "inf" in "".join(first)
    keep = [line for line in first if "jobs:" not in line]
    assert [line for line in again if "jobs:" not in line] == keep


def test_a_failing_job_fails_alone(capsys) -> None:
    args = ["-m", "objective=quadratic,himmelblau", "schedule=exact,constant", "steps=20"]
    code, out, err = gdlab(capsys, *args)
    assert code == 1, err
    assert "1 failed" in out
    assert "objective=himmelblau schedule=exact" in out
    assert "needs a quadratic" in out
    runs = load()
    assert len(runs[runs["status"].notna()]) == 3
    _, out, _ = gdlab(capsys, *args, "dry_run=true")
    assert "have 3, missing 0 (of which failed before 0), 1 cannot run" in out
    assert "needs a quadratic" in out
    code, _, err = gdlab(capsys, "-v", *args)
    assert (code, "Traceback" in err) == (1, True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["seed=range(10)", "schedule.eta=1e-3,fast"], ["schedule.eta=fast", "number", "seed=0"]),
        (["seed=range(400)", "steps=range(400)"], ["160,000", "max_jobs"]),
        (["seed=range(20)", "max_jobs=10"], ["20", "max_jobs"]),
        (["seed=range(0)"], ["seed"]),
        (["seed=range(5)", "objective=rosenbrock,himmelblu"], ["himmelblau"]),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(capsys, empty_folder, args, says) -> None:
    code, _, err = gdlab(capsys, "-m", *args)
    assert code == 2, err
    assert "Traceback" not in err
    for word in says:
        assert word in err, err
    assert not list(empty_folder.glob("mlruns/*/*"))


OWN_PROBE = """
import jax.numpy as jnp
from gdlab import register

@register.probe
def {name}(view):
    return {value}
"""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("both", "view.grad", "record.probes=[both]: gives an array of shape (2,); takes a number"),
        ("grad_norm", "view.value", "give the probe another name"),
        ("none", "view.valu", "no attribute 'valu'"),
    ],
)
def test_a_probe_that_gives_no_column_is_refused(capsys, empty_folder, name, value, says) -> None:
    (empty_folder / f"probe_{name}.py").write_text(OWN_PROBE.format(name=name, value=value))
    own = ["--import", f"probe_{name}", *BASE, f"record.probes=[{name}]"]
    try:
        code, _, err = gdlab(capsys, *own, "seed=range(25)")
    finally:
        registry.factories("probe").pop(name)
    assert (code, says in err) == (2, True), err
    assert not list(empty_folder.glob("mlruns/*/*"))


def test_a_probe_that_was_edited_is_another(capsys, empty_folder) -> None:
    own = ["--import", "probe_mine", *BASE, "seed=1,2", "record.probes=[mine]"]
    for value, known in [(1.0, 0), (1.0, 2), (2.0, 0)]:
        content = OWN_PROBE.format(name="mine", value=f"0 * view.value + {value}")
        (empty_folder / "probe_mine.py").write_text(content)
        run = subprocess.run([*GDLAB, *own], capture_output=True, text=True, check=True)
        assert (f"{known} known already" in run.stdout) == bool(known), run.stdout


def _sweep(seeds: int, **more: str) -> subprocess.Popen[bytes]:
    args = [*GDLAB, "-q", "-m", "objective=rosenbrock", "steps=200", f"seed=range({seeds})"]
    return subprocess.Popen(
        [*args, *(f"{k}={v}" for k, v in more.items())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "100"},
    )


def _finished(child: subprocess.Popen[bytes]) -> None:
    out, _ = child.communicate(timeout=240)
    assert child.returncode == 0, out.decode()


def _stored() -> int:
    import sqlite3

    try:
        with sqlite3.connect("file:mlflow.db?mode=ro", uri=True) as store:
            return store.execute("select count(*) from runs").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_killed_at_any_moment_the_same_command_completes_it(empty_folder) -> None:
    kills = 0
    for wanted in (1, 2000):  # as soon as something is stored; in the middle
        child = _sweep(6000)
        deadline = time.monotonic() + 120
        while _stored() < wanted and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.communicate()
    assert kills
    assert 0 < _stored() < 6000 + 10
    _finished(_sweep(6000))
    runs = load()
    assert len(runs) == 6000
    assert runs["seed"].nunique() == 6000
    import sqlite3

    with sqlite3.connect("mlflow.db") as store:
        running = store.execute("select count(*) from runs where status != 'FINISHED'").fetchone()
    assert running == (0,)


def test_two_sweeps_on_one_store_both_complete(empty_folder) -> None:
    both = [_sweep(300), _sweep(400)]
    for child in both:
        _finished(child)
    runs = load()
    assert len(runs) == 400
    assert runs["seed"].nunique() == 400
