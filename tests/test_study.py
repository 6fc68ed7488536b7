"""Studies: run, checked, drawn; drawn again from the store to the same bytes; broken if broken."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gdlab import Claim
from gdlab.cli import studies
from gdlab.errors import UsageError
from gdlab.launch import claims, study, study_files

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
from gdlab.figures.curves import curve_figure
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
    return {"rates": curve_figure(curves, by="schedule.eta")}
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
    assert studies.run("parabola", ["dry_run=true"]) == 0
    assert "have 0, missing 2" in capsys.readouterr().out
    assert not (place / "results").exists()

    assert studies.run("parabola") == 0
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
    assert studies.run("parabola", ["method=heavy_ball"], into=drawn) == 1  # it is slower
    assert studies.run("parabola", ["tracking.uri=sqlite:///other.db"], into=again) == 0
    assert contents(again) == first
    assert studies.redraw("parabola", into=drawn) == 0
    assert contents(drawn) == first

    # A number that is broken breaks its claim, and the call; the others still hold.
    module = place / "experiments" / "parabola.py"
    module.write_text(PYTHON.replace("0.6973568802", "0.69735688021") + "\n# broken\n")
    assert studies.redraw("parabola") == 1
    said = capsys.readouterr()
    assert "BROKEN" in said.out
    assert "2 of 3 claims hold" in said.out
    assert "measured 0.697356880" in said.err

    # Files of an earlier call that a study no longer makes go; a stranger's stay.
    module.write_text(PYTHON.replace('{"rates":', '{"speed":') + "\n# renamed, and longer\n")
    (place / "results" / "parabola" / "notes.txt").write_text("mine")
    assert studies.redraw("parabola") == 0
    now = set(contents(place / "results" / "parabola"))
    assert now == set(first) - {"rates.pdf", "rates.png"} | {"speed.pdf", "speed.png", "notes.txt"}

    # What was never run cannot be drawn.
    with pytest.raises(UsageError, match=r"3 of its 3 runs are not in .*gdlab study parabola"):
        studies.redraw("parabola", ["seed=5"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("numerics=fast", "numerics=fast: comes too late"),
        ("max_jobs=2", "study parabola has 3 jobs"),
        ("seed=range(0)", r"seed=range\(0\): an empty range"),
        ("schedule.eta=interval(0,1)", "an interval has no list of values"),
    ],
)
def test_what_a_sweep_refuses_a_study_refuses_too(place: Path, given: str, says: str) -> None:
    """Runs stored as `fast` that were computed in exact would be known already, with other bits."""
    with pytest.raises(UsageError, match=says):
        studies.run("parabola", [given])
    assert not (place / "results").exists()


@pytest.mark.parametrize(
    ("measured", "ok"),
    [(0.5, True), (0.5 + 1e-13, True), (0.5 + 1e-11, False), (math.nan, False), (math.inf, False)],
)
def test_a_claim_holds_within_its_tolerance(measured: float, ok: bool) -> None:
    assert Claim("half", 0.5, measured).ok is ok
    assert claims.claims_table([Claim("half", 0.5, measured)])["holds"].tolist() == [ok]


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
        ({"torn.yaml": "steps: 1\nsteps: 2\n" + YAML}, "torn", "steps is there twice"),
        ({"odd.yaml": "stpes: 5\n" + YAML}, "odd", "stpes: no such key; did you mean steps"),
        ({"odd.yaml": "methd: adam\n" + YAML}, "odd", "methd: no such key; did you mean method"),
        ({"odd.yaml": "method: adam\n" + YAML}, "odd", "- override /method: adam"),
        ({"odd.yaml": "method: {mometum: 1}\n" + YAML}, "odd", "did you mean method.momentum"),
        ({"odd.yaml": "study: even\n" + YAML}, "odd", "study: even: takes odd"),
        ({"odd.yaml": "hydra: {}\n" + YAML}, "odd", "hydra: is not set by a study"),
        ({"odd.yaml": "sweeps: {a: [1]}\n"}, "odd", "sweep a: 1 is no text; takes KEY=VALUE"),
        ({"odd.yaml": "sweeps: {a: [x], a: [y]}\n"}, "odd", "a is there twice"),
        ({"lone.yaml": YAML}, "lone", "lone.py is missing beside lone.yaml"),
        ({"half.yaml": YAML, "half.py": "QUESTION = 1\n"}, "half", "lacks claims, table, figures"),
        (
            {"half.yaml": YAML, "half.py": "QUESTION = 1\nclaims = table = len\nfigures = {}\n"},
            "half",
            "figures takes a function",
        ),
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


PY = "QUESTION = claims = table = figures = len\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("steps: 1:30\nsweeps: {a: []}\n", "sweep a (): steps=1:30: takes a valid integer"),
        ("sweeps: {a: [steps=1], b: [steps=x]}\n", "sweep b (steps=x): steps=x: takes a valid"),
        ("sweeps: {a: [stpes=1]}\n", "sweep a of odd: stpes: no such key; did you mean steps"),
        ("sweeps: {a: [+foo=1]}\n", "sweep a of odd: +foo: no such key"),
        ("sweeps: {a: [objective=nope]}\n", "sweep a of odd: objective=nope: no such objective"),
        ("sweeps: {a: ['hydra.sweeper.max_batch_size=2']}\n", "a study takes hydra.sweeper.zip"),
        ("sweeps: {a: ['hydra.sweeper.points=no.csv']}\n", "no.csv: no such file"),
        ("sweeps: {a: ['schedule=constant,exact', schedule.et=1]}\n", "did you mean schedule.eta"),
        ("defaults: [override /record: al]\nsweeps: {a: []}\n", "record"),
    ],
)
def test_a_study_is_checked_as_a_command_line_is_before_it_runs(
    place: Path, content: str, words: str
) -> None:
    (place / "experiments" / "odd.yaml").write_text(content)
    (place / "experiments" / "odd.py").write_text(PY)
    with pytest.raises(UsageError) as caught:
        studies.run("odd")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(place.glob("*.db"))


def test_a_sweep_of_a_study_takes_zips_points_and_keys_of_some_choices(place: Path) -> None:
    (place / "points.csv").write_text("seed,schedule.eta\n3,0.1\n4,0.2\n")
    (place / "experiments" / "odd.yaml").write_text("""
seed: 010
sweeps:
  zip: ["seed=1,2", "steps=3,4", "hydra.sweeper.zip=[seed,steps]"]
  file: [hydra.sweeper.points=points.csv]
  some: ["schedule=constant,backtracking", "schedule.eta=0.1,0.2"]
""")
    (place / "experiments" / "odd.py").write_text(PY)
    made = study.Study("odd")
    assert [(c["seed"], c["steps"]) for c in made.configs["zip"]] == [(1, 3), (2, 4)]
    file = [(c["seed"], c["schedule"]["eta"]) for c in made.configs["file"]]
    assert file == [(3, 0.1), (4, 0.2)]
    some = [(c["seed"], c["schedule"].get("eta")) for c in made.configs["some"]]
    assert some == [(10, 0.1), (10, 0.2), (10, None)]


@pytest.mark.slow
def test_the_textbook_is_reproduced_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert studies.run("textbook", into=tmp_path / "out") == 0
    kept = contents(HERE / "results" / "textbook")
    made = contents(tmp_path / "out")
    assert made.keys() == kept.keys()
    told, before = (json.loads(files["manifest.json"]) for files in (made, kept))
    if told["versions"] == before["versions"]:
        assert [name for name in kept if made[name] != kept[name]] == []
    else:  # other versions may draw other bytes; the claims hold and the table is the same
        assert made["claims.csv"] == kept["claims.csv"]
        assert made["table.csv"] == kept["table.csv"]
