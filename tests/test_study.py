"""Studies: run, checked, drawn; drawn again from the store to the same bytes; broken if broken."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gdlab import Claim
from gdlab.errors import UsageError
from gdlab.launch import study, study_files

HERE = Path(__file__).parent.parent

YAML = """\
# how fast a parabola is descended
defaults:
  - override /record: all
sweeps:
  rates: [objective=half_square, init=point, "init.x=[2.0]", "schedule.eta=0.1,0.5", steps=10]
  many: [objective=half_square, init=uniform, init.samples=7, schedule.eta=0.5, steps=60]
"""
PYTHON = """\
from gdlab.figures import curves
from gdlab import Claim

QUESTION = "How fast?"


def claims(curves, ends):
    rows = curves[(curves["sweep"] == "rates") & (curves["job"] == 0)]
    return [
        Claim("x_10 = 2 (0.9)^10", 0.6973568802, rows["x0"].iloc[-1]),
        Claim("starts", 7, len(ends), 0),
        Claim("largest |x| at the end", 0.0, ends["x0"].abs().max(), 1e-8),
    ]


def table(runs):
    return runs[["sweep", "job", "schedule.eta", "loss", "status"]]


def figures(curves):
    return {"rates": curves.curve_figure(curves, by="schedule.eta")}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "parabola.yaml").write_text(YAML)
    (tmp_path / "experiments" / "parabola.py").write_text(PYTHON)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_study_from_run_to_redraw(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.run("parabola", ["dry_run=true"]) == 0
    assert "have 0, missing 2" in capsys.readouterr().out
    assert not (place / "results").exists()

    assert study.run("parabola") == 0
    first = contents(place / "results" / "parabola")
    assert set(first) == {
        "claims.csv", "claims.md", "manifest.json", "rates.pdf", "rates.png", "table.csv"
    }  # fmt: skip
    assert first["table.csv"].decode().splitlines()[1] == "rates,0,0.1,0.243153309181,budget"
    told = json.loads(first["manifest.json"])
    assert told["command"] == "gdlab study parabola"
    assert {k: len(v["runs"]) for k, v in told["sweeps"].items()} == {"rates": 2, "many": 1}
    assert set(told["sha256"]) == set(first) - {"manifest.json"}
    assert "3 of 3 claims hold" in capsys.readouterr().out

    # The same from another store, and from the stored runs alone, whatever else is stored.
    again, drawn = place / "again", place / "drawn"
    assert study.run("parabola", ["method=heavy_ball"], into=drawn) == 1  # it is slower
    assert study.run("parabola", ["tracking.uri=sqlite:///other.db"], into=again) == 0
    assert contents(again) == first
    assert study.redraw("parabola", into=drawn) == 0
    assert contents(drawn) == first

    # A number that is broken breaks its claim, and the call; the others still hold.
    module = place / "experiments" / "parabola.py"
    module.write_text(PYTHON.replace("0.6973568802", "0.69735688021") + "\n# broken\n")
    assert study.redraw("parabola") == 1
    said = capsys.readouterr()
    assert "BROKEN" in said.out
    assert "2 of 3 claims hold" in said.out
    assert "measured 0.697356880" in said.err

    # Files of an earlier call that a study no longer makes go; a stranger's stay.
    module.write_text(PYTHON.replace('{"rates":', '{"speed":') + "\n# renamed, and longer\n")
    (place / "results" / "parabola" / "notes.txt").write_text("mine")
    assert study.redraw("parabola") == 0
    now = set(contents(place / "results" / "parabola"))
    assert now == set(first) - {"rates.pdf", "rates.png"} | {"speed.pdf", "speed.png", "notes.txt"}

    # What was never run cannot be drawn.
    with pytest.raises(UsageError, match=r"3 of its 3 runs are not in .*gdlab study parabola"):
        study.redraw("parabola", ["seed=5"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("numerics=fast", "numerics=fast: comes too late"),
        ("max_jobs=2", "study parabola has 3 jobs"),
        ("seed=range(0)", r"seed=range\(0\): empty"),
        ("schedule.eta=interval(0,1)", "an interval has no list of values"),
    ],
)
def test_what_a_sweep_refuses_a_study_refuses_too(place: Path, given: str, says: str) -> None:
    """Runs stored as `fast` that were computed in exact would be known already, with other bits."""
    with pytest.raises(UsageError, match=says):
        study.run("parabola", [given])
    assert not (place / "results").exists()


@pytest.mark.parametrize(
    ("measured", "ok"),
    [(0.5, True), (0.5 + 1e-13, True), (0.5 + 1e-11, False), (math.nan, False), (math.inf, False)],
)
def test_a_claim_holds_within_its_tolerance(measured: float, ok: bool) -> None:
    assert Claim("half", 0.5, measured).ok is ok
    assert study.claims_table([Claim("half", 0.5, measured)])["holds"].tolist() == [ok]


def test_sweeps_are_combined_as_hydra_does_and_the_user_wins(place: Path) -> None:
    found = study_files.load("parabola")
    jobs = study_files.jobs(found, ["schedule.eta=0.2,0.3", "seed=range(2)"])
    assert [job[-3:] for job in jobs["many"]] == [
        ["steps=60", f"schedule.eta={eta}", f"seed={seed}"] for eta in (0.2, 0.3) for seed in (0, 1)
    ]
    configs = study_files.compose(jobs["many"])
    assert [c["schedule"]["eta"] for c in configs] == [0.2, 0.2, 0.3, 0.3]
    assert {c["study"] for c in configs} == {"parabola"}
    assert {c["record"]["spacing"] for c in configs} == {"all"}


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({}, "parabole", "no such study; did you mean parabola?"),
        ({"bare.yaml": "steps: 3\n"}, "bare", "sweeps takes a mapping of names to lists"),
        ({"list.yaml": "[1, 2]\n"}, "list", "takes a mapping of keys"),
        ({"torn.yaml": "a: [1\n"}, "torn", "torn.yaml: while parsing"),
        ({"lone.yaml": YAML}, "lone", "lone.py is missing beside lone.yaml"),
        ({"half.yaml": YAML, "half.py": "QUESTION = 1\n"}, "half", "lacks claims, table, figures"),
    ],
)
def test_what_is_no_study_is_said_in_one_line(
    place: Path, files: dict[str, str], name: str, words: str
) -> None:
    for file, content in files.items():
        (place / "experiments" / file).write_text(content)
    with pytest.raises(UsageError, match="(?s)" + words.replace("?", r"\?")) as caught:
        study_files.load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_textbook_is_reproduced_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert study.run("textbook", into=tmp_path / "out") == 0
    kept = contents(HERE / "results" / "textbook")
    made = contents(tmp_path / "out")
    assert made.keys() == kept.keys()
    told, before = (json.loads(files["manifest.json"]) for files in (made, kept))
    if told["versions"] == before["versions"]:
        assert [name for name in kept if made[name] != kept[name]] == []
    else:  # other versions may draw other bytes; the claims hold and the table is the same
        assert made["claims.csv"] == kept["claims.csv"]
        assert made["table.csv"] == kept["table.csv"]
