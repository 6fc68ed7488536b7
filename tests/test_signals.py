"""Ctrl-C and its kin, with real processes: one line, the right code, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdlab.tracking.read import load

# As in a terminal, also where the tests run behind `&` or `nohup`.
HEARD = ["env", "--default-signal=HUP,INT,TERM"]
GDLAB = [sys.executable, "-m", "gdlab"]
SWEEP = ["-m", "seed=range(400)", "steps=300", "max_jobs=400"]
CODES = [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(*args: str) -> subprocess.Popen[str]:
    """A process `gdlab ARGS` that has taken its signals over (bit 14 is SIGTERM)."""
    process = subprocess.Popen(
        [*HEARD, *GDLAB, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
            break
        time.sleep(0.001)
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    _, err = process.communicate(timeout=60)
    return process.returncode, [line for line in err.splitlines() if " jobs, " not in line]


@pytest.mark.parametrize(("number", "word"), CODES)
@pytest.mark.parametrize("after", [0.0, 0.3])
def test_while_it_starts(folder: Path, number: signal.Signals, word: str, after: float) -> None:
    process = started("steps=5")
    time.sleep(after)
    process.send_signal(number)
    code, lines = ended(process)
    assert (code, len(lines)) == (128 + number, 1), lines
    assert lines[0].startswith(f"gdlab: {word}")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("signals", "says"),
    [
        ([signal.SIGINT], "gdlab: interrupted; what is stored stays"),
        ([signal.SIGTERM, signal.SIGINT], "interrupted again, ended at once"),
    ],
    ids=lambda v: "+".join(n.name for n in v) if isinstance(v, list) else "",
)
def test_in_the_midst_of_a_sweep(folder: Path, signals: list[signal.Signals], says: str) -> None:
    process = started(*SWEEP)
    while not stored() and process.poll() is None:
        time.sleep(0.02)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.002)
    code, lines = ended(process)
    assert code in {128 + number for number in signals}, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("gdlab: "), lines
    assert says in lines[0] or "; what is stored stays" in lines[0]  # it may be gone by then
    kept = load()
    assert kept["seed"].is_unique
    assert kept["loss"].notna().all()
    done = subprocess.run([*GDLAB, *SWEEP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(load()) == 400


def stored() -> bool:
    """Whether a run is in the store."""
    import sqlite3

    if not Path("mlflow.db").exists():
        return False
    try:
        with sqlite3.connect("file:mlflow.db?mode=ro", uri=True) as connection:
            return bool(connection.execute("SELECT 1 FROM runs LIMIT 1").fetchall())
    except sqlite3.OperationalError:  # its tables are being made
        return False


def test_a_signal_that_is_ignored_stays_so(folder: Path) -> None:
    """As under nohup."""
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' HUP; exec {sys.executable} -m gdlab steps=5 seed=7"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0
    assert list(load()["seed"]) == [7]
