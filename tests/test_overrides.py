"""Command lines: each ends in a result, or in one line that names the key and exit code 2."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gdlab.cli.main import main
from gdlab.launch import config

QUICK = ["tracking=off", "steps=0", "dry_run=true"]
WRONG = [
    ("+stop=null ~numerics", "+stop=null: takes a choice of stop"),
    ("~numerics", "~numerics: every run has one; write numerics=VALUE"),
    ("stop=null", "stop=null: no such stop"),
    ("~objective", "~objective: takes a choice of objective"),
    ("+foo=1", "+foo: no such key"),
    ("seed.x=1", "seed.x: no such key"),
    ("seed=18446744073709551616", "seed=18446744073709551616: takes a number <="),
    ("schedule.eta0=1", "schedule.eta0: no such key; did you mean schedule.eta"),
    ("schedule.backtracking.c=1", "write schedule=backtracking too"),
    ("steps=1,2", "steps=1,2: is more than one value"),
    ("schedule.eta=1(", "schedule.eta=1(: not in Hydra's grammar"),
    ("tracking={foo:1}", "tracking.foo: no such key"),
    ("record.probes=3", "record.probes=3: takes"),
    ("objective=${seed}", "objective=${seed}"),
    ("hydra.verbose={}", "hydra.verbose={}"),
    ("hydra/sweeper=0", "hydra/sweeper=0"),
    ("experiment=textbok", "did you mean textbook"),
    ("-m method=gradient,nesterov method.momentm=1", "did you mean method.momentum"),
    ("-m schedule=constant,backtracking schedule.cosine.eta=1", "schedule=cosine"),
    ("-m objective=himmelblau,rosenbrok", "did you mean rosenbrock"),
    ("-m seed=interval(0,1)", "an interval has no list of values"),
    ("-m --cfg job", "takes one of them"),
    ("--cfg all=1", "--cfg/-c: invalid choice: 'all=1'"),
    ("+objective.widths=${nope} dry_run=false", "Interpolation key 'nope' not found"),
    ("--nonsense", "unrecognized arguments: --nonsense"),
    ("++schedule.eta=é", """quote the value: '++schedule.eta="é"'"""),
    ("census ~schedule.backtracking.grow", "schedule.backtracking.grow: no such key"),
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("line", "words"), WRONG)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    code = main([*line.split(), *QUICK])
    said = capsys.readouterr().err.strip()
    assert code == 2, said
    assert words in said
    assert "\n" not in said


def test_two_overrides_in_one_word_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study=epoch=3 steps=5"]) == 2
    said = capsys.readouterr().err
    assert "holds 2 overrides; write each as a word of its own" in said


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("schedule=constant,backtracking schedule.eta=0.01,0.02", 3),
        ("method=gradient,nesterov method.momentum=convex", 2),
        ("schedule=constant,step_decay schedule.constant.eta=0.01,0.02", 3),
        ("schedule=constant,step_decay schedule.eta=0.3 schedule.constant.eta=0.01,0.02", 3),
    ],
)
def test_keys_of_some_choices_are_swept(
    capsys: pytest.CaptureFixture[str], line: str, missing: int
) -> None:
    assert main(["-m", *line.split(), *QUICK]) == 0
    assert f"missing {missing} " in capsys.readouterr().out


WORDS = (
    "steps seed precision numerics study resume max_jobs objective.dim schedule.eta schedule.unit "
    "method.momentum init.samples init.x stop.gtol stop record record.spacing record.probes "
    "tracking.metrics tracking schedule.constant.eta hydra.sweeper.zip hydra.job.name hydra.foo "
    "experiment seed.x schedule.eta.y foo hydra objective@x objective/dim hydra/launcher"
)
TYPED = (
    "1 0 -1 1e-3 null true inf nan [] [1,2] {} {a:1} abc '' ${seed} ${nope} ??? 1,2 range(3) "
    "range(0) range(1.0,1.8,0.1) interval(0,1) glob(*) choice(1,2) a=b 1( [1 18446744073709551616 "
    '1e400 float32 [seed,steps] 1/L \\ " ${ 010 1:30 textbook 1_000 int(3.2) float(a) [nope]'
)
KEYS, VALUES = WORDS.split(), TYPED.split()


@pytest.mark.slow
def test_drawn_lines_end_in_a_result_or_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(11)
    groups = {g: [c.name for c in config.choices(g)] for g in config.GROUPS}

    def override() -> str:
        if draw.random() < 0.35:
            group = draw.choice(sorted(groups))
            line = f"{group}={draw.choice([*groups[group], *VALUES[:12]])}"
        else:
            line = f"{draw.choice(KEYS)}={draw.choice(VALUES)}"
        return draw.choice(["", "", "", "", "", "+", "++", "~"]) + line

    codes = set()
    for _ in range(300):
        args = [override() for _ in range(draw.choice([1, 1, 2, 3]))] + QUICK
        args = ["-m", *args] if draw.random() < 0.5 else args
        code, said = main(args), capsys.readouterr().err.strip()
        assert code in (0, 2), (args, said)
        assert code == 0 or (said.startswith("gdlab: ") and "\n" not in said), (args, said)
        codes.add(code)
    assert codes == {0, 2}
