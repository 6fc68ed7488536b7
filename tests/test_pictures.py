"""Pictures are drawn when they are first looked at, from what the store keeps, and kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gdlab.cli.main import main
from gdlab.launch import pictures
from gdlab.tracking import keys, read, summary

PNG = b"\x89PNG"
SHORT = ["-q", "steps=20"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def drawn() -> list[str]:
    return sorted(path.name for path in Path("mlruns").glob("*/*/artifacts/*.png"))


# A descent over a plane, over a line, in many dimensions, from many starts, one that diverges.
CASES = [
    ["objective=rosenbrock", "schedule.eta=1e-3"],
    ["objective=double_well"],
    ["objective=rosenbrock", "objective.dim=5", "schedule.eta=1e-4"],
    ["objective=himmelblau", "init=uniform", "init.samples=5"],
    ["objective=rosenbrock", "schedule.eta=1"],
    ["objective=himmelblau", "precision=float32", "record=ends"],
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_a_runs_picture_is_made_when_it_is_looked_at(folder: Path, words: list[str]) -> None:
    assert main([*SHORT, *words]) == 0
    assert drawn() == []
    (run_id,) = read.load()["run_id"]
    first = pictures.of_run(run_id, None)
    assert first.startswith(PNG)
    assert read.artifact(run_id, keys.PICTURE) == first == pictures.of_run(run_id, None)
    assert pictures.Drawing(None).all() == 0
    Path(f"mlruns/1/{run_id}/artifacts/{keys.PICTURE}").unlink()
    assert pictures.Drawing(None, "gdlab").all() == 1
    assert read.artifact(run_id, keys.PICTURE) == first


def test_what_the_store_lacks_is_drawn_study_by_study(folder: Path) -> None:
    sweep = ["-m", "objective=double_well", "seed=range(3)", "schedule.eta=0.01,0.02"]
    assert main([*SHORT, *sweep]) == 0
    assert main([*SHORT, *sweep[:3], "tracking.experiment=other"]) == 0
    assert main([*SHORT, *sweep[:3], "tracking.experiment=many", "seed=range(24)"]) == 0
    said: list[str] = []
    assert pictures.Drawing(None, "other", said.append).all() == 4
    assert said == ["drawing 4 pictures ..."]
    # One that cannot be drawn holds up none of the others; large sweeps have their curves alone.
    (folder / "mlruns" / "1" / read.load("gdlab")["run_id"][0] / "artifacts" / keys.RECORD).unlink()
    said.clear()
    assert pictures.Drawing(None, None, said.append).all() == 7
    assert said[0] == "drawing 8 pictures ..."
    assert said[1].startswith("1 of these could not be drawn: run ")
    assert drawn() == [summary.PICTURE] * 3 + [keys.PICTURE] * 8
    for run_id in read.load("other")["run_id"]:
        Path(f"mlruns/2/{run_id}/artifacts/{keys.PICTURE}").unlink()
    assert main(["report", "other", "out=r.html"]) == 0  # shows them
    assert drawn() == [summary.PICTURE] * 3 + [keys.PICTURE] * 8


def test_an_objective_that_is_not_known_here_is_said(folder: Path, capsys) -> None:
    source = (
        "import gdlab\n@gdlab.register.objective\ndef bowl() -> gdlab.Objective:\n"
        "    return gdlab.Objective(lambda x: (x ** 2).sum(), dim=2)\n"
    )
    Path("pots.py").write_text(source)
    run = [
        sys.executable,
        "-m",
        "gdlab",
        "--import",
        "pots",
        *SHORT,
        "objective=bowl",
        "init=point",
        "init.x=[1,1]",
    ]
    subprocess.run(run, check=True, capture_output=True)
    said: list[str] = []
    assert pictures.Drawing(None, None, said.append).all() == 0
    assert said[1:] == [
        "1 of these could not be drawn: objective=bowl: not known here; "
        "gdlab --import MODULE ui draws them too"
    ]
    assert drawn() == []


IMPORTED = """
import json, sys
from gdlab.cli.main import main
assert main(sys.argv[1:]) == 0
print(json.dumps([m for m in ("pandas", "matplotlib", "mlflow", "scipy") if m in sys.modules]))
"""


@pytest.mark.parametrize("words", [[], ["-m", "seed=range(3)"], ["-m", "seed=range(24)"]])
def test_nothing_that_draws_or_tables_is_imported_for_a_run(folder: Path, words) -> None:
    """They cost a run more than its arithmetic."""
    line = [sys.executable, "-c", IMPORTED, *words, *SHORT]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
