"""The command line: verbs, bad input in one line with exit code 2, and nothing left behind."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

import gdlab as lab
from gdlab import Objective, descend, objectives, registry
from gdlab.cli.main import main
from gdlab.errors import UsageError
from gdlab.launch import config

GROUPS = ("objective", "init", "schedule", "method")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def gdlab(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(list(args))
    out = capsys.readouterr()
    return code, out.out, out.err


BAD = [
    # what is typed, and what the one line says
    (["objective=himelblau"], ["objective=himelblau", "himmelblau"]),
    (["schedule=constnt"], ["schedule=constnt", "constant"]),
    (["method=heavyball"], ["method=heavyball", "heavy_ball"]),
    (["init=unifrom"], ["init=unifrom", "uniform"]),
    (["schedule.etta=0.1"], ["schedule.etta", "schedule.eta"]),
    (["stepz=10"], ["stepz", "steps"]),
    (["+schedule.nonsense=1"], ["schedule.nonsense=1", "constant has no such key"]),
    (["+stop.gtl=1"], ["stop.gtl", "gtol"]),
    (["schedule.eta=fast"], ["schedule.eta=fast", "number"]),
    (["schedule.eta=-0.1"], ["eta=-0.1", "> 0"]),
    (["schedule.eta=true"], ["schedule.eta=True", "not true or false"]),
    (["steps=true"], ["steps=True", "not true or false"]),
    (["=3"], ["=3: lacks a key"]),
    (["~hydra"], ["~hydra", "hydra.KEY=VALUE"]),
    (["hydra.run.dir=/proc/x"], ["hydra.run.dir=/proc/x", "a folder that can be made"]),
    (["schedule.eta=nan"], ["eta=nan"]),
    (["steps=-5"], ["steps=-5", ">= 0"]),
    (["steps=1.5"], ["steps=1.5", "integer"]),
    (["seed=-1"], ["seed=-1", ">= 0"]),
    (["stop.gtol=-1"], ["stop.gtol=-1"]),
    (["precision=float16"], ["precision=float16", "float32"]),
    (["numerics=quick"], ["numerics=quick", "exact"]),
    (["record.probes=[sharpnes]"], ["record.probes", "sharpness"]),
    (["init.low=3", "init.high=-3"], ["init.low"]),
    (["init=point", "init.x=[1,2,3]"], ["init.x", "himmelblau", "2"]),
    (["objective=rosenbrock", 'schedule.unit="2/(L+mu)"'], ["needs mu", "rosenbrock has none"]),
    (["schedule.unit=2/(L+mu)"], ["schedule.unit=2/(L+mu)", "quote"]),
    (["schedule=exact"], ["exact needs a quadratic", "himmelblau"]),
    (["objective=rosenbrock", "objective.dim=0"], ["dim"]),
    (["tracking.uri=http://127.0.0.1:9"], ["tracking.uri"]),
    (["tracking.uri=sqlite:////proc/none/mlflow.db"], ["tracking.uri"]),
    (["tracking.uri=nonsense"], ["tracking.uri=nonsense"]),
    (["tracking.artifacts=some"], ["tracking.artifacts=some", "never"]),
    (["stdy"], ["stdy", "study"]),
    (["study"], ["study", "textbook"]),
    (["study", "txtbook"], ["txtbook", "textbook"]),
    (["figures", "txtbook"], ["txtbook", "textbook"]),
    (["show", "objective=himelblau"], ["himmelblau"]),
    (["show", "objectiv=himmelblau"], ["objective"]),
    (["show"], ["GROUP=CHOICE"]),
    (["list", "objectivs"], ["objectives"]),
    (["ui", "port=0"], ["port=0"]),
    (["ui", "tracking.uri=sqlite:///none.db"], ["none.db"]),
    (["--import", "no_such_module"], ["no_such_module"]),
    (["--import"], ["--import"]),
    # what holds for a whole launch is not swept
    (["-m", "seed=1,2", "tracking.uri=sqlite:///a.db,sqlite:///b.db"], ["uri=sqlite:///a.db,sql"]),
    (["-m", "tracking=off,sqlite"], ["tracking=off,sqlite: takes one value for a whole sweep"]),
    (["-m", "tracking.experiment=x,y"], ["tracking.experiment=x,y: takes one value"]),
    (["-m", "study=1.5,true"], ["study=1.5,true"]),
    (["-m", "objective=booth,matyas", "study=${objective.name}"], ["study=booth,matyas"]),
    (["-m", "dry_run=true,false"], ["dry_run=true,false"]),
    (["-m", "resume=true,1"], ["resume=true,1"]),
    (["-m", "max_jobs=9,10"], ["max_jobs=9,10"]),
    (["-m", "seed=1,2", "dry_run=true,false", "hydra.sweeper.max_batch_size=1"], ["dry_run=true"]),
    (["-m", "numerics=exact,fast", "hydra/launcher=basic"], ["numerics=exact,fast"]),
    # this process computes with numerics=exact
    (["numerics=fast"], ["numerics=fast: comes too late", "numerics=exact"]),
    (["-m", "seed=1,2", 'numerics="fast"'], ["numerics=fast: comes too late"]),
    # all jobs are checked before the first batch
    (["-m", "seed=1,2,3,x", "hydra.sweeper.max_batch_size=2"], ["job 3 of 4 (seed=x): seed=x"]),
    (["-m", "seed=1,2,3,x", "hydra/launcher=basic"], ["job 3 of 4 (seed=x): seed=x"]),
    (["-m", "--cfg", "job", "seed=1,2"], ["-m, --cfg", "without -m"]),
    (["tracking.metrics=[los]"], ["tracking.metrics=[los]: did you mean loss"]),
    (["-m", "foo"], ["foo: lacks a value", "KEY=VALUE"]),
    (["-m", "schedule=constant,cosine", "schedule.fina=0.1"], ["mean schedule.final"]),
]


@pytest.mark.parametrize(("args", "says"), BAD, ids=lambda v: " ".join(v)[:50])
def test_bad_input_is_one_line_exit_2_and_leaves_nothing(capsys, empty_folder, args, says) -> None:
    code, out, err = gdlab(capsys, *args)
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in says:
        assert word in err, err
    left = {p.name for p in empty_folder.iterdir()} - {
        "mlflow.db",
        "mlflow.db-wal",
        "mlflow.db-shm",
    }
    assert not left
    assert not out


def test_help_version_list_and_show_import_neither_jax_nor_mlflow() -> None:
    probe = textwrap.dedent(
        """
        import sys
        from gdlab.cli.main import main
        for args in (["--help"], ["--version"], ["list"], ["list", "probes"]):
            assert main(args) == 0
        heavy = {"jax", "mlflow", "matplotlib", "optax", "hydra"} & set(sys.modules)
        assert not heavy, heavy
        """
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in ("himmelblau", "backtracking", "nesterov", "sharpness", "gdlab -m"):
        assert word in done.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_says_what_it_is_and_lists_every_key_of_its_factory(group) -> None:
    choices = config.choices(group)
    assert choices
    for choice in choices:
        assert choice.words, choice
        keys = yaml.safe_load((config.folder("conf") / group / f"{choice.name}.yaml").read_text())
        factory = registry.factories(group)[keys.pop("name")]
        assert set(keys) <= set(registry.keys_of(factory)), choice
    used = {
        yaml.safe_load((config.folder("conf") / group / f"{c.name}.yaml").read_text())["name"]
        for c in choices
    }
    assert used == {
        n for n, f in registry.factories(group).items() if f.__module__.startswith("gdlab.")
    }


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_can_be_shown(capsys, group) -> None:
    for choice in config.choices(group):
        code, out, err = gdlab(capsys, "show", f"{group}={choice.name}")
        assert code == 0, err
        assert len(out.splitlines()) > 2


def test_one_run_is_tracked_and_known_the_second_time(capsys) -> None:
    from gdlab.tracking.read import load

    args = ["seed=3", "steps=200"]
    code, out, err = gdlab(capsys, *args)
    assert code == 0, err
    code, out, _ = gdlab(capsys, *args)
    assert code == 0
    assert "already" in out
    runs = load()
    assert len(runs) == 1
    row = runs.iloc[0]
    assert row["status"] == "converged"
    assert row["critical_kind"] == "minimum"
    assert row["objective.name"] == "himmelblau"
    assert row["seed"] == 3
    assert row["loss"] < 1e-12
    code, out, _ = gdlab(capsys, *args, "resume=false")
    assert (code, "already" in out) == (0, False)
    assert len(load()) == 1


def test_a_descent_that_diverges_is_a_finished_run(capsys) -> None:
    from gdlab.tracking.read import load

    code, out, _ = gdlab(
        capsys, "objective=rosenbrock", "init=point", "init.x=[-1.2,1]", "schedule.eta=1"
    )
    assert code == 0
    assert "diverged: f is not finite at step 4" in out
    assert load().iloc[0]["status"] == "diverged"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], True),
        (["-m", "seed=1,2"], True),
        (["stop.gtol=1e-3"], False),  # converges
        (["precision=float64"], False),
        (["steps=20"], False),  # moves on
    ],
)
def test_a_launch_that_stands_still_in_32_bits_says_so(capsys, words, told) -> None:
    valley = ["objective=rosenbrock", "schedule=backtracking", "steps=30000", "precision=float32"]
    given = {word.partition("=")[0] for word in words}
    kept = [word for word in valley if word.partition("=")[0] not in given]
    code, out, err = gdlab(capsys, "tracking=off", *kept, *words)
    assert code == 0, err
    advice = "precision=float32: give a larger stop.gtol"
    lines = [line for line in out.splitlines() if advice in line]
    assert len(lines) == told
    for line in lines:
        assert "the steps are lost in rounding, at a gradient norm of " in line
        assert re.search(r"norm of [\d.]+e-05, above stop\.gtol=1e-08; ", line), line


def test_a_users_own_objective_by_import(capsys, empty_folder) -> None:
    (empty_folder / "my_lab.py").write_text(
        textwrap.dedent(
            """
            import gdlab

            def f(data, x):
                return data["scale"] * (x**8).sum()

            @gdlab.register.objective
            def octic(scale: float = 1.0) -> gdlab.Objective:
                "An eighth power."
                return gdlab.Objective(f, dim=2, data={"scale": scale}, name="octic")
            """
        )
    )
    point = ["init=point", "init.x=[1,1]", "tracking=off", "steps=50"]
    code, out, err = gdlab(
        capsys, "--import", "my_lab", "objective=octic", "objective.scale=0.5", *point
    )
    assert code == 0, err
    assert "octic" in out
    assert "octic" in gdlab(capsys, "--import", "my_lab", "list", "objectives")[1]
    assert "eighth" in gdlab(capsys, "--import", "my_lab", "show", "objective=octic")[1]
    code, _, err = gdlab(
        capsys, "--import", "my_lab", "objective=octic", "objective.scal=1", *point
    )
    assert (code, "scale" in err) == (2, True)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("numerics\nfast\nfast\n", "numerics=fast: comes too late"),
        ("dry_run\ntrue\nfalse\n", "dry_run=true,false: takes one value"),
    ],
)
def test_a_column_that_holds_for_the_launch(capsys, empty_folder, column, says) -> None:
    (empty_folder / "points.csv").write_text(column)
    code, out, err = gdlab(capsys, "-m", "hydra.sweeper.points=points.csv", "steps=5")
    assert (code, out) == (2, "")
    assert says in err
    assert [p.name for p in empty_folder.iterdir()] == ["points.csv"]


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        (["seed=1", "numerics=fast"], "fast"),
        (["++numerics=fast"], "fast"),
        (["+numerics='fast'"], "fast"),
        (['numerics="fast"'], "fast"),
        (["numerics=fast", "numerics=exact"], "exact"),  # the later one, as in Hydra
        (["numerics=quick"], None),
        (["numerics=exact,fast"], None),
        ([], None),
    ],
)
def test_an_import_computes_with_what_is_typed(monkeypatch, capsys, typed, asked) -> None:
    from gdlab import numerics

    told = []
    monkeypatch.setattr(numerics, "configure", told.append)
    code, _, err = gdlab(capsys, "--import", "no_such_module", *typed)
    assert (code, told) == (2, [asked]), err


@pytest.mark.plugins
def test_an_optimizing_sweeper_has_no_plan_to_show(tmp_path: Path) -> None:
    optuna = ["hydra/sweeper=optuna", "schedule.eta=interval(1e-4,1e-3)", "dry_run=true"]
    call = [sys.executable, "-c", "import sys; from gdlab.cli.main import main; sys.exit(main())"]
    done = subprocess.run([*call, "-m", *optuna], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "gdlab: dry_run=true: an optimizing sweeper chooses its jobs" in done.stderr


@pytest.mark.plugins
def test_workers_import_the_users_modules(empty_folder) -> None:
    from gdlab.tracking.read import load

    (empty_folder / "worker_lab.py").write_text(
        textwrap.dedent(
            """
            import gdlab

            @gdlab.register.objective
            def worker_bowl(a: float = 1.0) -> gdlab.Objective:
                return gdlab.Objective(lambda x: (x**2).sum(), dim=2)
            """
        )
    )
    bowl = ["objective=worker_bowl", "init=point", "init.x=[1,1]", "steps=5", "seed=1,2"]
    # A process of its own: what checks shapes in this one cannot be sent to workers.
    call = [sys.executable, "-c", "import sys; from gdlab.cli.main import main; sys.exit(main())"]
    typed = ["--import", "worker_lab.py", "-m", "hydra/launcher=joblib", *bowl]
    done = subprocess.run([*call, *typed], cwd=empty_folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(load()["seed"]) == [1, 2]


OWN = """
import gdlab

def f(data, x):
    return missing * (x**2).sum()

def wrong_f(a: float = 0.0):
    return gdlab.Objective(f, dim=2, data={"a": a})

def no_scalar(a: float = 0.0):
    return gdlab.Objective(lambda x: x**2, dim=2)

def no_objective(a: float = 0.0):
    return 3

def by_zero(a: float = 0.0):
    return 1 / a

def no_words(a: float = 0.0):
    raise KeyError

def no_eta(a: float = 0.0):
    return gdlab.Schedule("no_eta", sizes=lambda t: {}["eta"])

def no_fact(a: float = 0.0):
    return gdlab.Schedule("no_fact", scale=lambda facts: 1 / facts.mu, sizes=lambda t: 1.0 + 0 * t)

def no_draw(a: float = 0.0):
    return lambda objective, rng: {}["x"]

def flat_draw(a: float = 0.0):
    return lambda objective, rng: rng.normal(size=objective.dim)

def leaves(a: float = 0.0):
    raise SystemExit(3)

def no_minimizer(a: float = 0.0):
    return gdlab.Objective(f, dim=2, facts=gdlab.Facts(minimizers=[0.0]))

def no_f_star(a: float = 0.0):
    return gdlab.Objective(f, dim=2, facts=gdlab.Facts(f_star="zero"))

def no_numbers(a: float = 0.0):
    return gdlab.Objective(f, dim=2, data={"a": "text"})

def no_rule(a: float = 0.0):
    return gdlab.Method("no_rule", transform=None)

def no_scale(a: float = 0.0):
    return gdlab.Schedule("no_scale", scale="x", sizes=lambda t: 1.0 + 0 * t)

def complex_draw(a: float = 0.0):
    return lambda objective, rng: rng.normal(size=(1, 2)) * 1j

def empty_draw(a: float = 0.0):
    return lambda objective, rng: rng.normal(size=(0, 2))

for factory in (leaves, no_minimizer, no_f_star, no_numbers):
    gdlab.register.objective(factory)
gdlab.register.method(no_rule)
gdlab.register.schedule(no_scale)
for factory in (complex_draw, empty_draw):
    gdlab.register.init(factory)
for factory in (wrong_f, no_scalar, no_objective, by_zero):
    gdlab.register.objective(factory)
for factory in (no_words, no_eta, no_fact):
    gdlab.register.schedule(factory)
for factory in (no_draw, flat_draw):
    gdlab.register.init(factory)
gdlab.register.method(by_zero)
"""
FAULTS = [
    # what a person's own file gets wrong, and what the one line says
    ("objective=wrong_f", ["NameError: name 'missing'", "(own_lab.py, line 5)"]),
    ("objective=no_scalar", ["shape (2,)", "takes a number"]),
    ("objective=no_objective", ["makes int", "gdlab.Objective", "own_lab"]),
    ("objective=by_zero", ["ZeroDivisionError: float division by zero", "(own_lab.py, line 17)"]),
    ("method=by_zero", ["ZeroDivisionError", "line 17"]),
    ("schedule=no_words", ["KeyError (own_lab.py, line 20)"]),
    ("schedule=no_eta", ["KeyError: 'eta'", "line 23"]),
    ("schedule=no_fact", ["TypeError: unsupported operand", "line 26"]),
    ("init=no_draw", ["KeyError: 'x'", "line 29"]),
    ("init=flat_draw", ["shape (2,)", "[n, 2]"]),
    ("objective=leaves", ["SystemExit: 3 (own_lab.py, line 35)"]),
    ("objective=no_minimizer", ["minimizers has shape (1,)"]),
    ("objective=no_f_star", ["f_star='zero': takes a number"]),
    ("objective=no_numbers", ["data={'a': 'text'}: takes arrays of numbers"]),
    ("method=no_rule", ["transform=None: takes a function"]),
    ("schedule=no_scale", ["scale='x': takes a number"]),
    ("init=complex_draw", ["draws complex128; takes real numbers"]),
    ("init=empty_draw", ["shape (0, 2)", "n >= 1"]),
]


@pytest.mark.parametrize("more", [[], ["-m", "seed=1,2"]], ids=["one", "many"])
@pytest.mark.parametrize(("choice", "says"), FAULTS)
def test_a_fault_in_a_users_factory_is_one_line_on_it(
    capsys, empty_folder, monkeypatch, choice, says, more
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (empty_folder / "own_lab.py").write_text(OWN)
    start = [] if choice.startswith("init") else ["init=point", "init.x=[1,1]"]
    code, out, err = gdlab(capsys, "--import", "own_lab.py", *more, "tracking=off", *start, choice)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert f"{choice}: " in line
    for word in says:
        assert word in line
    assert (
        "Traceback"
        in gdlab(capsys, "-v", "--import", "own_lab", "tracking=off", "schedule=no_words")[2]
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import gdlab\ndef f(:\n", "SyntaxError: invalid syntax (faulty_lab.py, line 2)"),
        ("import gdlab\n1 / 0\n", "ZeroDivisionError: division by zero (faulty_lab.py, line 2)"),
        ("import no_such_lab\n", "No module named 'no_such_lab' (faulty_lab.py, line 1)"),
        ("class Own(Exception): pass\n\nraise Own\n", "Own (faulty_lab.py, line 3)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(capsys, empty_folder, text, says) -> None:
    (empty_folder / "faulty_lab.py").write_text(text)
    code, out, err = gdlab(capsys, "--import", "faulty_lab.py", "steps=5")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("gdlab: --import faulty_lab.py: ")
    assert line.endswith(says)


RULE = """
import gdlab, optax.contrib

@gdlab.register.method
def own_rule(a: float = 0.0) -> gdlab.Method:
    return gdlab.Method("own", transform=lambda: optax.contrib.sophia(0.1))
"""


def test_a_method_that_raises_fails_alone_and_is_named(capsys, empty_folder) -> None:
    (empty_folder / "rule_lab.py").write_text(RULE)
    words = ["--import", "rule_lab", "tracking=off", "steps=5"]
    code, _, err = gdlab(capsys, *words, "method=own_rule")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "gdlab: method=own: obj_fn must be provided" in err
    code, out, err = gdlab(capsys, *words, "-m", "method=own_rule,gradient", "seed=1,2")
    assert code == 1
    assert "2 failed:" in out
    assert re.search(r"^  method=own_rule: method=own: obj_fn must be .*: 2 seeds$", out, re.M)


CALLBACK = """
import gdlab, jax

def f(x):
    def told(value):
        raise ValueError("in a callback")
    jax.debug.callback(told, x[0])
    return (x**2).sum()

@gdlab.register.objective
def calling(a: float = 0.0) -> gdlab.Objective:
    return gdlab.Objective(f, dim=2)
"""


def test_what_a_callback_raises_is_one_line(capsys, empty_folder) -> None:
    (empty_folder / "calling_lab.py").write_text(CALLBACK)
    start = ["init=point", "init.x=[1,1]", "steps=3", "tracking=off"]
    code, _, err = gdlab(capsys, "--import", "calling_lab", "objective=calling", *start)
    assert code == 1
    (line,) = err.splitlines()
    assert "objective=calling" in line
    assert "ValueError: in a callback (calling_lab.py, line 6)" in line


CALLS = [
    # what `gdlab.descend` is given, and what the one line says
    ({"objective": lambda x: x @ x}, ["objective=", "gdlab.Objective"]),
    ({"objective": "himmelblau"}, ["objective='himmelblau'", "gdlab.Objective"]),
    ({"schedule": "constant"}, ["schedule='constant'", "gdlab.schedules.constant(0.01)"]),
    ({"method": "adam"}, ["method='adam'", "gdlab.methods"]),
    ({"x0": [1j, 1.0]}, ["x0=[1j, 1.0]", "real", "[2] or [n, 2]"]),
    ({"x0": [[1, 2], [3]]}, ["x0=[[1, 2], [3]]", "[2] or [n, 2]"]),
    ({"x0": "origin"}, ["x0='origin'"]),
    ({"x0": 2.0}, ["himmelblau takes [2]"]),
    ({"points": -5}, ["points=-5", ">= 0"]),
    ({"points": 2.5}, ["points=2.5", "integer"]),
    ({"steps": "many"}, ["steps=many", "integer"]),
    ({"steps": -1}, ["steps=-1: takes a number >= 0"]),
    ({"steps": 10**12}, ["steps=1000000000000: takes a number <="]),
    ({"gtol": -1.0}, ["gtol=-1.0: takes a number >= 0"]),
    ({"gtol": None}, ["gtol=None", "number"]),
    ({"record": "lgo"}, ["record=lgo", "'log'"]),
    ({"precision": 32}, ["precision=32", "'float32'"]),
    ({"precision": "float16"}, ["precision=float16: takes 'float64' or 'float32'"]),
    ({"probes": "sharpnes"}, ["sharpness"]),
]


@pytest.mark.parametrize(("given", "says"), CALLS, ids=lambda v: str(v)[:40])
def test_a_wrong_call_from_python_is_one_line(given, says) -> None:
    call = {"objective": objectives.himmelblau(), "x0": [1.0, 1.0], "steps": 3} | given
    with pytest.raises(UsageError) as caught:
        descend(call.pop("objective"), call.pop("x0"), **call)
    assert "\n" not in str(caught.value)
    for word in says:
        assert word in str(caught.value)


OTHER_CALLS = [
    (lambda: lab.census(3), "objective=3: takes a gdlab.Objective"),
    (lambda: lab.basins("booth"), "objective='booth': takes a gdlab.Objective"),
    (lambda: lab.census(objectives.booth(), seconds=-1), "seconds=-1: takes a number > 0"),
    (lambda: lab.load(uri=3), "tracking.uri=3: takes an address"),
    (lambda: lab.load(uri=Path("x.db")), "takes an address such as sqlite:///mlflow.db"),
]


@pytest.mark.parametrize(("call", "says"), OTHER_CALLS)
def test_other_wrong_calls(call, says) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert says in str(caught.value)


def test_all_that_gdlab_offers_is_there() -> None:
    for name in lab.__all__:
        assert getattr(lab, name) is not None
    for group in ("objective", "schedule", "method", "init", "probe"):
        for choice in config.choices(group):
            assert hasattr(getattr(lab, f"{group}s"), choice.name.partition("/")[0])


def test_in_one_dimension_a_number_is_a_start() -> None:
    line = Objective(lambda x: (x**2).sum(), dim=1)
    one, same = (descend(line, x0, steps=np.int64(3), points=0) for x0 in (2.0, [2.0]))
    assert one.x.shape == (1,)
    np.testing.assert_array_equal(one.x, same.x)


def test_an_objective_that_was_edited_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gdlab.launch import build

    text = """
import gdlab

@gdlab.register.objective
def edited_bowl(a: float = 1.0) -> gdlab.Objective:
    return gdlab.Objective(lambda x: 2 * x[0] ** 2, dim=1)
"""
    config = {"objective": {"name": "edited_bowl"}, "init": {"name": "point", "x": 1.0}}
    config |= {"schedule": {"name": "constant"}, "method": {"name": "gradient"}, "steps": 5}
    config |= {"seed": 0, "precision": "float64", "numerics": "exact", "stop": {"gtol": 0.0}}
    config |= {"record": {"spacing": "log", "points": 5, "probes": []}}
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for content in (text, text, text.replace("2 *", "3 *")):
        (tmp_path / "edited_bowl_lab.py").write_text(content)
        sys.modules.pop("edited_bowl_lab", None)
        importlib.invalidate_caches()
        importlib.import_module("edited_bowl_lab")
        build._made.cache_clear()
        found.append(build.build(config))
    assert found[0].key == found[1].key != found[2].key
    assert found[0].params["code.objective"] != found[2].params["code.objective"]
    own = build.build(config | {"objective": {"name": "half_square"}})
    assert not [name for name in own.params if name.startswith("code.")]


def test_a_seed_given_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", "tracking=off", "objective=half_square", "seed=1,1,2", "schedule.eta=0.1,0.2"]
    main(words)
    said = capsys.readouterr().out
    assert "over 2 seeds" in said
    assert "best of 2 configurations, 4 runs" in said
    assert "6 jobs" in said


def test_the_sweep_flag_may_come_last_and_fast_numerics_warn_of_nothing() -> None:
    command = "import sys; from gdlab.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["seed=1,2", "steps=20", "numerics=fast", "tracking=off", "-m"]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", command, *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "2 jobs" in done.stdout
