"""`verdict=full|quick|off`: what a note costs, what quick dares to say, what reads runs without."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab import objectives, registry
from gdlab.analysis import ranking
from gdlab.cli import studies
from gdlab.cli.main import main
from gdlab.critical import polish
from gdlab.critical.rules import CRITICAL
from gdlab.critical.verdict import judge
from gdlab.errors import UsageError
from gdlab.launch.build import number
from gdlab.types import Objective, Verdict
from tests.test_false_verdicts import GLOBAL, ROUGH
from tests.test_verdict import CASES, INVENTORIES, bowl, kink, many, tail


def tanh_ends(n: int, width: int = 24) -> tuple[Objective, np.ndarray]:
    objective = objectives.tanh_network(width)
    sides = np.asarray(objective.facts.domain)
    x = np.random.default_rng(0).uniform(sides[:, 0], sides[:, 1], (n, objective.dim))
    return objective, x


def test_ends_that_stopped_short_cost_no_eigendecomposition(monkeypatch: Any) -> None:
    def dear(*_: Any) -> Any:
        raise AssertionError("a decomposition for a note")

    monkeypatch.setattr(polish, "eigen", dear)
    monkeypatch.setattr(np.linalg, "eigh", dear)
    for objective, x in (tanh_ends(20), (objectives.rosenbrock(2), np.array([[-0.5, 2.0]]))):
        verdicts = judge(objective, x, "budget")
        assert {(v.kind, v.method, v.stable) for v in verdicts} == {("not_critical", "none", True)}
    with pytest.raises(AssertionError, match="for a note"):
        judge(objectives.himmelblau(), np.array([[3.0, 2.0]]), "budget")  # it had arrived


LEADS = [
    # f, end point of a descent that used up its steps, words of the note; empty: no words at all
    (objectives.himmelblau(), [3.001, 2.0], "a minimum (known point 0) at distance 1.0e-03"),
    (objectives.himmelblau(), [0.09, 2.88], "a saddle of index 1 (known point"),
    (objectives.himmelblau(), [-0.27, -0.92], "a maximum (known point"),
    (objectives.himmelblau(), [1.5, 0.5], ""),  # Newton leaves the neighbourhood
    (Objective(lambda x: x[0] ** 4, 1), [0.1], ""),  # it converges too slowly
    (Objective(lambda x: x[0] ** 4 + x[0] ** 2 * (x[0] - 1) ** 2, 1), [0.1], "a minimum"),
    (Objective(lambda x: (x[0] * x[1] - 0.3) ** 2, 2), [0.5, 0.61], "a critical point"),
    (Objective(tail, 1), [3.0], ""),
    (Objective(lambda x: -jnp.exp(-x[0] ** 2), 1), [3.0], ""),
    (Objective(kink, 2), [0.0, 0.1], "the gradient jumps here"),
    (Objective(kink, 2), [0.1, 0.1], ""),
    (Objective(bowl, 40), np.full(40, 0.01), "a minimum at distance"),
    (Objective(bowl, 600), np.full(600, 0.01), "d = 600: not polished"),
]  # fmt: skip


@pytest.mark.parametrize(("objective", "x", "words"), LEADS)
def test_a_note_names_what_newton_converges_to(objective: Any, x: Any, words: str) -> None:
    (v,) = judge(objective, np.array([x]), "budget")
    assert (v.kind, v.index, v.certified) == ("not_critical", None, False)
    assert np.array_equal(v.x, x)
    assert words in v.note
    assert bool(words) == bool(v.note)
    assert v.moved > 0 or "at distance" not in v.note


def deceiving() -> list[tuple[Objective, np.ndarray, float]]:
    """Inventories, the suite of false verdicts, and flat ends: objective, points, gtol."""
    out = [(Objective(f, len(x)), np.array([x]), 1e-8) for f, x, _, _ in CASES]
    for case in GLOBAL + ROUGH:
        x = np.atleast_2d(np.asarray(case.x, float))
        out.append((Objective(case.f, x.shape[1]), x, case.gtol))
    rng = np.random.default_rng(1)
    for name, params in INVENTORIES:
        objective = registry.build("objective", name, params)
        x = objective.facts.critical_points.x
        for off in (0.0, 1e-9, 1e-6, 1e-4):
            out.append((objective, x + off * rng.standard_normal(x.shape), 1e-2))
    return out


def test_quick_says_nothing_that_full_denies() -> None:
    said = sure = 0
    for objective, x, gtol in deceiving():
        for status in ("converged", "budget"):
            full = judge(objective, x, status, gtol)
            for a, b in zip(full, judge(objective, x, status, gtol, how="quick"), strict=True):
                assert not b.certified
                assert b.is_global is None
                assert np.array_equal(b.x, x[0]) or len(x) > 1  # where the descent ended
                if b.kind in (*CRITICAL, "plateau"):
                    assert b.stable
                    assert (a.kind, a.index, a.reached, a.stable) == (
                        b.kind, b.index, b.reached, True,
                    ), (a.note, b.note)  # fmt: skip
                elif b.kind == "undecided":
                    assert not b.stable
                    assert b.note.startswith("quick: ")
                else:
                    assert a.kind == b.kind == "not_critical"
                said += b.kind in CRITICAL
                sure += a.stable and a.kind in ("minimum", "maximum", "saddle")
    assert said > 0.85 * sure > 500  # and it does decide


def test_quick_where_there_is_no_hessian_or_no_end() -> None:
    for f in (many, bowl):
        ends = np.stack([np.full(600, 1e-10), np.ones(600)])
        arrived, short = judge(Objective(f, 600), ends, ["converged", "budget"], how="quick")
        assert (arrived.kind, arrived.stable) == ("undecided", False)
        assert "d = 600" in arrived.note
        assert short.kind == "not_critical"
    x = np.array([[np.inf], [0.3]])
    back = np.tile([1.3, -0.7], 24)[None, :, None]
    tails = np.concatenate([np.full_like(back, np.nan), back])
    gone, cycle = judge(
        objectives.half_square(), x, ["diverged", "budget"], tail=tails, how="quick"
    )
    assert (gone.kind, cycle.kind, cycle.period) == ("diverged", "cycle", 2)


@pytest.mark.parametrize("how", ["full", "quick"])
def test_what_is_said_of_an_end_does_not_depend_on_its_company(how: str) -> None:
    objective, x = tanh_ends(18, 4)
    known = objectives.himmelblau().facts.critical_points.x + 1e-7
    far = np.random.default_rng(2).uniform(-4, 4, (30, 2))
    for f, ends in ((objective, x), (objectives.himmelblau(), np.concatenate([known, far]))):
        together = judge(f, ends, "budget", 1e-3, how=how, certified=False)
        for end, v in zip(ends[::3], together[::3], strict=True):
            (alone,) = judge(f, end, "budget", 1e-3, how=how, certified=False)
            assert repr(alone) == repr(v)


def test_descend_judges_as_it_is_asked() -> None:
    f = objectives.himmelblau()

    def end(**how: Any) -> Verdict | None:
        return gdlab.descend(f, [2.5, 2.5], **how).verdict

    full, quick = end(), end(verdict="quick")
    assert (full.kind, full.certified, full.method) == ("minimum", True, "dense")
    assert (quick.kind, quick.certified, quick.method) == ("minimum", False, "quick")
    assert "not proved" in quick.note
    assert end(verdict="off") is end(verdict=False) is None
    assert repr(end(verdict=True)) == repr(full)
    with pytest.raises(UsageError, match="verdict=fast: takes 'full', 'quick' or 'off'"):
        end(verdict="fast")
    assert (number("verdict", False), number("verdict", True)) == ("off", "full")  # as YAML has it


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def key_without(params: dict[str, Any], name: str) -> str:
    rest = {k: v for k, v in params.items() if k != name}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def test_quick_and_off_make_runs_of_their_own(place: Path, capsys: Any) -> None:
    line = ["-m", "verdict=full,quick,off", "seed=range(2)", "init.samples=1,5", "-q"]
    assert main(line) == 0
    runs = gdlab.load()
    assert len(set(runs["key"])) == 12
    for verdict, own in runs.groupby("verdict"):
        assert len(own) == 4
        kinds = own["critical_kind"].dropna()
        assert len(kinds) == (0 if verdict == "off" else 4)
        assert own["certified"].eq(True).sum() == (2 if verdict == "full" else 0)
    # What verdicts are for changes no descent.
    assert runs.groupby(["seed", "init.samples"])["loss"].nunique().eq(1).all()
    from gdlab.launch.build import build
    from gdlab.launch.compose import compose_one

    config: Any = compose_one(["seed=1"], "config")
    from omegaconf import OmegaConf

    full = build(OmegaConf.to_container(config, resolve=True))
    assert full.key == key_without(dict(full.params), "verdict")  # as before there was a choice
    assert full.key in set(runs["key"])
    capsys.readouterr()
    assert main(line[:-1]) == 0
    assert "12 known already" in capsys.readouterr().out


def test_runs_of_one_start_are_no_two_seeds(place: Path, capsys: Any) -> None:
    assert main(["-m", "verdict=full,quick,off", "seed=range(3)"]) == 0
    said = capsys.readouterr().out
    assert "over 3 seeds" in said
    assert "converged in" not in said  # each start is said by its full verdict
    assert "not judged" in said
    assert main(["-m", "verdict=quick", "seed=range(3,5)"]) == 0
    (of,) = ranking.rank_runs(gdlab.load()).problems
    (only,) = of.standings
    assert (len(only.members), len(only.starts)) == (5, 5)
    assert only.loss == np.median(gdlab.load().groupby("seed")["loss"].first())
    assert main(["report", "gdlab", "out=page.html"]) == 0
    page = (place / "page.html").read_text()
    assert "full, off, quick" in page


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("verdict=off", "not judged"),
        ("verdict=off init.samples=4", "not judged"),
        ("verdict=quick", "a minimum"),
        ("verdict=quick", "a quick verdict"),
        ("verdict=quick objective=quartic steps=100000 stop.gtol=1e-4", "not decided"),
        ("verdict=quick steps=2", "no critical point"),
    ],
)
def test_one_run_says_how_it_was_judged(place: Path, capsys: Any, line: str, words: str) -> None:
    assert main(line.split()) == 0
    assert words in capsys.readouterr().out
    assert main(["report", "gdlab", "out=page.html"]) == 0


YAML = """\
# a study that reads verdicts
sweeps:
  ends: [objective=himmelblau, "seed=range(2)"]
  many: [objective=himmelblau, init.samples=3]
"""
PYTHON = """\
from gdlab import Claim
from gdlab.figures import style

QUESTION = "Where to?"


def claims(runs, ends):
    return [
        Claim("ends", 3, (runs["critical_kind"] == "minimum").sum(), 0),
        Claim("of many", 3, (ends["kind"] == "minimum").sum(), 0),
    ]


def table(runs):
    return runs[["sweep", "job", "critical_kind"]]{needs}


def figures(runs):
    return {{}}
"""


def test_a_study_whose_runs_are_not_judged(place: Path, capsys: Any) -> None:
    (place / "experiments").mkdir()
    (place / "experiments" / "where.yaml").write_text(YAML)
    code = place / "experiments" / "where.py"
    code.write_text(PYTHON.format(needs=""))
    assert studies.run("where") == 0
    assert "2 of 2 claims hold" in capsys.readouterr().out
    assert studies.run("where", ["verdict=quick"]) == 0
    assert studies.run("where", ["verdict=off"]) == 1
    assert "0 of 2 claims hold" in capsys.readouterr().out
    code.write_text(PYTHON.format(needs='.set_index("critical_kind").loc["minimum"]'))
    with pytest.raises(UsageError, match="study where: table needs what verdict=off leaves out"):
        studies.run("where", ["verdict=off"])
