"""Hydra's launcher and sweeper of gdlab: Hydra's own suites, and what goes beyond them."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from omegaconf import OmegaConf

from gdlab.errors import UsageError

ROOT = Path(__file__).parent.parent
# Hydra's own suites start apps without a version base.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:[\\s]*Future Hydra versions will no longer change:UserWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore:[\\s]*The version_base parameter is not specified:UserWarning"
    ),
]


def test_discovery() -> None:
    names = {c.__name__ for kind in (Launcher, Sweeper) for c in Plugins.instance().discover(kind)}
    assert {"GdlabLauncher", "GdlabSweeper", "BasicLauncher", "BasicSweeper"} <= names


@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [("gdlab", []), ("gdlab", ["hydra/sweeper=gdlab"])]
)
class TestLauncher(LauncherTestSuite):
    """A task without a batch form: as with Hydra's own launcher."""


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [
        ("gdlab", ["hydra/sweeper=gdlab", "hydra.sweeper.max_batch_size=2"]),
        ("basic", ["hydra/sweeper=gdlab", "hydra.sweeper.max_batch_size=2"]),
    ],
)
class TestBatchedSweeper(BatchedSweeperTestSuite):
    """Jobs in several launches."""


@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=gdlab", "hydra/sweeper=gdlab"])],
)
class TestIntegration(IntegrationTestSuite):
    """Apps as processes of their own."""


@dataclass
class Outcome:
    value: float | None = None
    error: Exception | None = None


class Task:
    """f(x, y) = (x - 1)^2 + y^2, for all jobs at once; x = 13 fails."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.overrides: list[list[str]] = []
        self.hydra: Any = None
        self.env: str | None = None

    def __call__(self, cfg: Any) -> float:
        raise AssertionError("a task with a batch form is never called alone")

    def batch(
        self, configs: Sequence[dict[str, Any]], overrides: Sequence[Sequence[str]], hydra_cfg: Any
    ) -> list[Outcome]:
        self.batches.append(list(configs))
        self.overrides += [list(o) for o in overrides]
        self.hydra, self.env = hydra_cfg, os.environ.get("OF_THE_SWEEP")
        return [
            Outcome(error=ValueError("unlucky"))
            if c["x"] == 13
            else Outcome((c["x"] - 1) ** 2 + c["y"] ** 2)
            for c in configs
        ]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return [c for batch in self.batches for c in batch]


CONF = {
    "config.yaml": """
        defaults: [_self_, {rule: a}, {override hydra/launcher: gdlab},
          {override hydra/sweeper: gdlab}]
        x: 0.0
        y: 0.0
        name: n
        list: [1]
        max_jobs: 1000
        hydra:
          output_subdir: null
          sweep: {dir: .}
          job: {env_set: {OF_THE_SWEEP: "yes"}}
        """,
    "rule/a.yaml": "{eta: 1.0}",
    "rule/b.yaml": "{eta: 2.0, beta: 0.9}",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs `app -m OVERRIDES` in a folder of its own; returns what the sweeper returned."""
    state = copy.deepcopy(Singleton.get_state())
    conf, work = tmp_path / "conf", tmp_path / "work"
    for name, text in CONF.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(textwrap.dedent(text))
    work.mkdir()
    monkeypatch.chdir(work)

    def run(task: Any, *overrides: str) -> Any:
        with initialize_config_dir(str(conf), version_base="1.3", job_name="app"):
            hydra: Hydra = GlobalHydra.instance().hydra  # type: ignore[assignment]
            return hydra.multirun("config", task, list(overrides), with_log_configuration=False)

    yield run
    Singleton.set_state(state)


def test_all_jobs_are_one_call(app: Any) -> None:
    task = Task()
    (returns,) = app(task, "x=range(100)", "y=0.5", "rule=a,b")
    assert [len(batch) for batch in task.batches] == [200]
    assert task.jobs[7] == {
        "x": 3, "y": 0.5, "name": "n", "list": [1], "max_jobs": 1000,
        "rule": {"eta": 2.0, "beta": 0.9},
    }  # fmt: skip
    assert task.overrides[7] == ["x=3", "y=0.5", "rule=b"]
    assert task.hydra.job.env_set.OF_THE_SWEEP == task.env == "yes"
    assert "OF_THE_SWEEP" not in os.environ
    assert list(returns[7].overrides) == task.overrides[7]
    assert returns[7].return_value == 4.25
    assert list(Path().iterdir()) == []


def test_a_job_that_fails_fails_alone(app: Any) -> None:
    (returns,) = app(Task(), "x=12,13,14")
    assert [r.status for r in returns] == [
        JobStatus.COMPLETED,
        JobStatus.FAILED,
        JobStatus.COMPLETED,
    ]
    with pytest.raises(ValueError, match="unlucky"):
        _ = returns[1].return_value


def test_batches(app: Any) -> None:
    task = Task()
    returns = app(task, "x=range(10)", "hydra.sweeper.max_batch_size=4", "hydra.sweep.dir=.")
    assert [len(batch) for batch in task.batches] == [4, 4, 2] == [len(r) for r in returns]
    assert [job["x"] for job in task.jobs] == list(range(10))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (["hydra.sweeper.max_batch_size=4"], True),
        (["hydra/launcher=basic"], False),
        ([], None),  # one batch checks its jobs itself
    ],
)
def test_a_task_checks_all_jobs_before_the_first(
    app: Any, how: list[str], expected: bool | None
) -> None:
    class Checked(Task):
        seen: tuple[Any, ...] | None = None

        def check(self, configs: Any, overrides: Any, together: bool) -> None:
            assert self.batches == []
            self.seen = ([c["x"] for c in configs], [list(o) for o in overrides], together)
            if expected is not None:
                raise UsageError("checked")

    task = Checked()
    with contextlib.nullcontext() if expected is None else pytest.raises(UsageError):
        app(task, "x=range(10)", *how)
    every = ([*range(10)], [[f"x={i}"] for i in range(10)], expected)
    assert task.seen == (None if expected is None else every)


@pytest.mark.parametrize("batch", [[], ["hydra.sweeper.max_batch_size=2"]])
@pytest.mark.parametrize(
    ("typed", "key", "values"),
    [
        ("y=${hydra:job.num}", "y", [0, 1, 2]),
        ("name='no ${hydra:job.num}'", "name", ["no 0", "no 1", "no 2"]),
        ("list=[7,${hydra:job.num}]", "list", [[7, 0], [7, 1], [7, 2]]),
    ],
)
def test_what_is_typed_may_ask_hydra(
    app: Any, batch: list[str], typed: str, key: str, values: list[Any]
) -> None:
    task = Task()
    app(task, "x=1,2,3", typed, *batch)
    assert [job[key] for job in task.jobs] == values


def test_callbacks_see_every_job(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.cwd() / "my_callbacks.py").write_text(
        textwrap.dedent("""
        from hydra.experimental.callback import Callback
        seen = []
        class Told(Callback):
            def on_job_start(self, config, **_):
                seen.append(("start", config.hydra.job.num, config.x))
            def on_job_end(self, config, job_return, **_):
                seen.append(("end", config.hydra.job.num, job_return.return_value))
        """)
    )
    monkeypatch.syspath_prepend(Path.cwd())
    app(Task(), "x=3,4", "+hydra.callbacks.told._target_=my_callbacks.Told")
    import my_callbacks  # type: ignore[import-not-found]

    assert my_callbacks.seen == [("start", 0, 3), ("start", 1, 4), ("end", 0, 4.0), ("end", 1, 9.0)]


GRIDS = [
    ["x=1,2,3", "y=4,5"],
    ["x=range(3)", "y=0.5", "name=choice(a,b)"],
    ["x=range(0.0,1.0,0.25)"],
    ["x=range(5,0,-2)", "+z=1,2"],
    ["name='a b','c,d'", "list=[1,2],[3]"],
    ["rule=glob(*)", "rule.eta=1,2"],
    ["x=sort(3,1,2)", "x=7,8"],
    ["name=a", "~list", "+new={a:1},{b:2}"],
    [],
]


@pytest.mark.parametrize("overrides", GRIDS, ids=" ".join)
def test_grids_are_hydra_s(app: Any, overrides: list[str]) -> None:
    """Same jobs in the same order as BasicSweeper makes."""
    task = Task()
    app(task, *overrides)
    with initialize_config_dir(str(Path.cwd().parent / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
    (expected,) = BasicSweeper.split_arguments(parsed, None)
    assert task.overrides == expected


def test_params_come_before_the_command_line(app: Any) -> None:
    task = Task()
    app(task, "y=1,2", "+hydra.sweeper.params={x:'5,6',y:'7,8,9'}")
    assert [(j["x"], j["y"]) for j in task.jobs] == [(5, 1), (5, 2), (6, 1), (6, 2)]


def test_zip_pairs_by_position(app: Any) -> None:
    task = Task()
    app(task, "x=1,2,3", "name=a,b", "y=range(0.25,0.8,0.25)", "hydra.sweeper.zip=[x,y]")
    got = [(j["x"], j["name"], j["y"]) for j in task.jobs]
    assert got == [(x, n, y) for x, y in ((1, 0.25), (2, 0.5), (3, 0.75)) for n in "ab"]
    task = Task()
    app(task, "x=1,2", "y=3,4", "+u=5,6,7", "+v=8,9,10", "hydra.sweeper.zip=[[x,y],[+u,+v]]")
    got = [(j["x"], j["y"], j["u"], j["v"]) for j in task.jobs]
    assert got == [(x, y, u, v) for x, y in ((1, 3), (2, 4)) for u, v in ((5, 8), (6, 9), (7, 10))]


def test_points_from_csv(app: Any) -> None:
    Path("points.csv").write_text(
        "rule, x, list, name, +new\n"
        'a, 1e-3, "[1, [2]]", plain, null\n'
        '\nb, -2, [], "\'1,5 and more\'", "{k: 1}"\n'
    )
    task = Task()
    app(task, "hydra.sweeper.points=points.csv", "y=1,2")
    assert [(j["rule"]["eta"], j["x"], j["y"]) for j in task.jobs] == [
        (1.0, 0.001, 1), (1.0, 0.001, 2), (2.0, -2, 1), (2.0, -2, 2),
    ]  # fmt: skip
    assert [task.jobs[i][key] for i in (0, 2) for key in ("list", "name", "new")] == [
        [1, [2]], "plain", None, [], "1,5 and more", {"k": 1},
    ]  # fmt: skip


def test_points_from_parquet(app: Any) -> None:
    import pandas as pd

    values = {
        "x": [0.1, 1e-300, math.inf],
        "y": [1, -2, 3],
        "name": ["1.0", "null, 'true'", r"back\slash"],
        "list": [[1, 2], [], [3]],
        "rule": ["a", "b", "b"],
    }
    pd.DataFrame(values, index=[7, 8, 9]).to_parquet("points.parquet")
    task = Task()
    app(task, "hydra.sweeper.points=points.parquet")
    for key in ("x", "y", "name", "list"):
        assert [job[key] for job in task.jobs] == values[key]
    assert [job["rule"]["eta"] for job in task.jobs] == [1.0, 2.0, 2.0]


def _parquet(frame: Any, how: str) -> str:
    import pandas as pd

    table = pd.DataFrame(frame)
    if how == "index":
        table.set_index("x").to_parquet("points.parquet")
    elif how == "range":
        pd.DataFrame({"y": frame["y"]}, index=pd.RangeIndex(1, 4, name="x")).to_parquet("points.pq")
        return "points.pq"
    elif how == "folder":
        table.to_parquet("parts", partition_cols=["rule"])
        return "parts"
    elif how == "csv.gz":
        table.to_csv("points.csv.gz", index=False)
        return "points.csv.gz"
    else:
        table.to_parquet("points.parquet", index=False)
    return "points.parquet"


@pytest.mark.parametrize(
    ("how", "frame", "expected"),
    [
        ("index", {"x": [1, 2, 3], "y": [4, 5, 6]}, {"x": [1, 2, 3], "y": [4, 5, 6]}),
        ("range", {"x": [1, 2, 3], "y": [4, 5, 6]}, {"x": [1, 2, 3], "y": [4, 5, 6]}),
        ("csv.gz", {"x": [1, 2], "y": [4, 5]}, {"x": [1, 2], "y": [4, 5]}),
        ("file", {"name": ["a", None], "x": [None, 2.0]}, {"name": ["a", None], "x": [None, 2.0]}),
        (
            "folder",
            {"rule": ["b", "a", "b"], "x": [1, 2, 3]},
            {"x": [2, 1, 3], "rule": [{"eta": 1.0}, *[{"eta": 2.0, "beta": 0.9}] * 2]},
        ),
        (
            "file",
            {"rule": ["a", "b"], "rule.eta": [5.0, 6.0], "rule.beta": [None, 0.5]},
            {"rule": [{"eta": 5.0}, {"eta": 6.0, "beta": 0.5}]},
        ),
        (
            "csv.gz",
            {"rule": ["a", "b"], "rule.eta": [5.0, 6.0], "rule.beta": [None, 0.5]},
            {"rule": [{"eta": 5.0}, {"eta": 6.0, "beta": 0.5}]},
        ),
    ],
)
def test_tables_as_pandas_writes_them(
    app: Any, how: str, frame: dict[str, Any], expected: dict[str, Any]
) -> None:
    task = Task()
    with contextlib.suppress(TypeError):  # x = null
        app(task, f"hydra.sweeper.points={_parquet(frame, how)}")
    assert {key: [job[key] for job in task.jobs] for key in expected} == expected


def test_a_column_twice_is_named(app: Any) -> None:
    import pyarrow
    import pyarrow.parquet

    twice = pyarrow.table([[1], [2]], names=["x", "x"])
    pyarrow.parquet.write_table(twice, "points.parquet")
    with pytest.raises(UsageError, match=r"^hydra.sweeper.points=\S*: column x is there twice$"):
        app(Task(), "hydra.sweeper.points=points.parquet")


A, B = {"eta": 1.0}, {"eta": 2.0, "beta": 0.9}


@pytest.mark.parametrize(
    ("overrides", "rules"),
    [
        (["rule=a,b", "rule.beta=3,4"], [A, B | {"beta": 3}, B | {"beta": 4}]),
        (["rule.beta=3", "rule=a,b"], [A, B | {"beta": 3}]),
        (["rule=a,b", "rule.eta=5", "rule.beta=3"], [{"eta": 5}, {"eta": 5, "beta": 3}]),
        (["rule=a,b", "rule.a.eta=5,6"], [{"eta": 5}, {"eta": 6}, B]),
        (["rule=a,b", "rule.eta=7", "rule.a.eta=5,6"], [{"eta": 5}, {"eta": 6}, B | {"eta": 7}]),
        (["rule.a.eta=5,6"], [{"eta": 5}, {"eta": 6}]),
        (["rule=b", "rule.b.beta=3,4"], [B | {"beta": 3}, B | {"beta": 4}]),
        (
            ["rule=a,b", "rule.eta=5,6", "rule.beta=3,4", "hydra.sweeper.zip=[rule.eta,rule.beta]"],
            [{"eta": 5}, {"eta": 6}, {"eta": 5, "beta": 3}, {"eta": 6, "beta": 4}],
        ),
        (
            ["rule=a,b", "rule.beta=3,4", "hydra.sweeper.zip=[rule,rule.beta]"],
            [A, B | {"beta": 4}],
        ),
    ],
)
def test_each_choice_takes_the_keys_that_it_has(
    app: Any, overrides: list[str], rules: list[dict[str, Any]]
) -> None:
    task = Task()
    app(
        task,
        *[o if "zip" in o or "," in o or o.startswith("rule=") else _swept(o) for o in overrides],
    )
    assert [job["rule"] for job in task.jobs] == rules


def _swept(override: str) -> str:
    """As the command line hands it over: Hydra's own composition leaves sweeps out."""
    key, _, value = override.partition("=")
    return f"{key}=choice({value})"


@pytest.mark.parametrize(
    "values",
    ["range(1.0,1.8,0.1)", "range(0.1,0.35,0.05)", "range(0.0,1.0,0.1)", "range(3.,0,-0.3)"],
)
def test_ranges_of_floats_are_one_launch(app: Any, values: str) -> None:
    parsed = OverridesParser.create().parse_overrides([f"x={values}"])
    expected = [float(v) for v in parsed[0].sweep_iterator()]
    task = Task()
    app(task, f"x={values}", f"y={values}", "hydra.sweeper.zip=[x,y]", f"max_jobs={len(expected)}")
    assert [[job["x"] for job in batch] for batch in task.batches] == [expected]


FILES = {
    "good.csv": "x,y\n1,2\n3,4\n",
    "empty.csv": "",
    "rows.csv": "x,y\n",
    "cell.csv": "x,y\n1,2\n3,\n",
    "short.csv": "x,y\n1,2\n3\n",
    "several.csv": 'x\n"1,2"\n',
    "grammar.csv": "name\na=b(\n",
    "column.csv": "x,rule.etaa\n1,2\n",
    "twice.csv": "x,x\n1,2\n",
    "nokey.csv": "a b c,x\n1,2\n",
    "hydra.csv": "hydra.job.name,x\n1,2\n",
    "broken.parquet": "no parquet",
    "broken.csv.gz": "no gzip",
    "semi.csv": "x;y\n1;2\n",
    "tabs.csv": "x\ty\n1\t2\n",
    "hole.csv": "rule,rule.beta\na,\nb,\n",
    "points.txt": "x\n1\n",
}
WRONG = [
    (["x=range(5,5)"], "x=range(5,5): an empty range"),
    (["x=range(0.0,-1.0)"], "an empty range"),
    (["rule=glob(z*)"], "rule=glob(z*): an empty choice"),
    (["x=range(1,5,0)"], "the step of a range is not 0"),
    (["x=range(0,1001)"], "max_jobs=1000: the sweep has 1,001 jobs (x 1,001)"),
    (["x=range(1000000000)", "y=1,2"], "2,000,000,000 jobs (x 1,000,000,000 x y 2)"),
    (["x=range(0,1e300,0.1)"], "1e+301 jobs"),
    (["x=range(10)", "max_jobs=9"], "max_jobs=9: the sweep has 10 jobs"),
    (["x=range(10)", "max_jobs=many"], "max_jobs=many: takes a whole number"),
    (["x=interval(0,1)"], "x=interval(0,1): an interval has no list of values"),
    (["x=1,2", "hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0"),
    (["x=1,2", "y=1,2,3", "hydra.sweeper.zip=[x,y]"], "x has 2, y has 3 values"),
    (["x=1,2", "hydra.sweeper.zip=[x,y]"], "y is not swept; swept: x"),
    (["x=1,2", "y=1", "hydra.sweeper.zip=[x,y]"], "x has 2, y has 1 values"),
    (["x=1,2", "hydra.sweeper.zip=[x,x]"], "names a key twice"),
    (["x=1,2", "hydra.sweeper.zip=x"], "hydra.sweeper.zip=x: takes two keys"),
    (["x=1,2", "y=1,2", "name=a,b", "hydra.sweeper.zip=[[x,y],[y,name]]"], "another zip already"),
    (["hydra.sweeper.points=none.csv"], "hydra.sweeper.points=none.csv: no such file"),
    (["hydra.sweeper.points=points.txt"], "takes a .csv, .csv.gz or .parquet file"),
    (["hydra.sweeper.points=empty.csv"], "is empty; its first line names keys"),
    (["hydra.sweeper.points=rows.csv"], "has columns but no rows"),
    (["hydra.sweeper.points=cell.csv"], "line 3: y is empty"),
    (["hydra.sweeper.points=short.csv"], "line 3 has 1 cells, the header 2 columns"),
    (["hydra.sweeper.points=several.csv"], "line 2: x=1,2 is more than one value"),
    (["hydra.sweeper.points=grammar.csv"], "line 2: name=a=b( is not in Hydra's grammar"),
    (["hydra.sweeper.points=column.csv"], "column rule.etaa is no key"),
    (["hydra.sweeper.points=twice.csv"], "column x is there twice"),
    (["hydra.sweeper.points=nokey.csv"], "column 'a b c' is no key"),
    (["hydra.sweeper.points=hydra.csv"], "Hydra's own configuration is not swept"),
    (["hydra.sweeper.points=broken.parquet"], "is no Parquet file"),
    (["hydra.sweeper.points=good.csv", "y=1"], "y: both a column"),
    (["hydra.sweeper.points=good.csv", "rule=a,c"], "job 1 of 4 (x=1 y=2 rule=c)"),
    (["rule=a,b", "rule.betta=1,2"], "rule.betta: no such key; did you mean rule.beta"),
    (["rule=a", "rule.beta=1,2"], "rule.beta: no such key; did you mean rule.eta?"),
    (["rule=a", "rule.b.beta=1,2"], "rule.b.beta: no such key: the sweep has no rule=b"),
    (["rule=a,b", "rule.a.beta=1,2"], "rule.a.beta: no such key"),
    (["x=range(99)", "rule=a,b", "rule.beta=range(10)"], "(x 99 x (rule, rule.beta) 11)"),
    (["rule=a,b", "rule.beta=range(0.0,2e6)"], "2,000,001 jobs"),
    (["hydra.sweeper.points=semi.csv"], "its columns are separated by ';'; takes commas"),
    (["hydra.sweeper.points=tabs.csv"], "its columns are separated by a tab; takes commas"),
    (["hydra.sweeper.points="], "hydra.sweeper.points=: no such file"),
    (["hydra.sweeper.points=hole.csv"], "line 3: rule.beta is empty; write its value, or null"),
    (["hydra.sweeper.points=broken.csv.gz"], "is no CSV file"),
    (["x=range(10)", "hydra.sweeper.max_batch_size=2", "rule=a,c"], "job 1 of 20 (x=0 rule=c)"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "words"), WRONG, ids=lambda v: v if type(v) is str else "")
@pytest.mark.parametrize("launcher", ["gdlab", "basic"])
def test_what_is_wrong_is_said_and_nothing_runs(
    app: Any, overrides: list[str], words: str, launcher: str
) -> None:
    for name, text in FILES.items():
        Path(name).write_text(text)
    task = Task()
    with pytest.raises(UsageError) as caught:
        app(task, f"hydra/launcher={launcher}", *overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert task.batches == []
    assert set(FILES) == {str(p) for p in Path().iterdir()}


APP = """
    import os
    import hydra

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def task(cfg):
        with open(f"{cfg.name}.txt", "a") as f:
            f.write(f"{os.getpid()} {cfg.x} {cfg.y} {cfg.rule.eta}\\n")
        return (cfg.x - 1) ** 2 + cfg.y**2

    if __name__ == "__main__":
        task()
"""


def _run(folder: Path, *args: str) -> list[list[str]]:
    """Runs the app as its own process; the lines that its jobs wrote, without their pids."""
    (folder / "app.py").write_text(textwrap.dedent(APP))
    for name, text in CONF.items():
        (folder / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "conf" / name).write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "app.py", "-m", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HYDRA_FULL_ERROR": "1"},
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    lines = (folder / "n.txt").read_text().splitlines()
    return sorted(line.split()[1:] for line in lines)


GRID = sorted(
    [str(x), str(y), eta] for x, y in ((1, 3), (2, 4)) for eta in ("1.0", "2.0")
)  # x and y zipped


@pytest.mark.parametrize("launcher", ["gdlab", "basic"])
def test_hydra_s_own_launchers_under_the_sweeper(tmp_path: Path, launcher: str) -> None:
    zipped = ["x=1,2", "y=3,4", "rule=a,b", "hydra.sweeper.zip=[x,y]"]
    assert _run(tmp_path, f"hydra/launcher={launcher}", *zipped) == GRID


@pytest.mark.plugins
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=1"],
    ],
    ids=["joblib", "submitit_local"],
)
def test_other_launchers_under_the_sweeper(tmp_path: Path, launcher: list[str]) -> None:
    zipped = ["x=1,2", "y=3,4", "rule=a,b", "hydra.sweeper.zip=[x,y]"]
    assert _run(tmp_path, *launcher, *zipped) == GRID


@pytest.mark.plugins
@pytest.mark.filterwarnings("ignore:.*declarative_base")  # Optuna 2.10's own
def test_optuna_on_top(app: Any) -> None:
    """Each round of an optimizing sweeper is one batch of `n_jobs` lanes."""
    task = Task()
    app(
        task,
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.n_jobs=16",
        "hydra.sweeper.n_trials=80",
        "x=interval(-4,4)",
        "y=interval(-4,4)",
    )
    assert [len(batch) for batch in task.batches] == [16] * 5
    best = OmegaConf.load("optimization_results.yaml")
    values = [(job["x"] - 1) ** 2 + job["y"] ** 2 for job in task.jobs]
    assert best.best_value == min(values)
    assert min(values) < 0.5


@pytest.mark.plugins
@pytest.mark.filterwarnings("ignore:.*declarative_base")  # Optuna 2.10's own
def test_optuna_goes_on_where_a_trial_fails(app: Any) -> None:
    task = Task()
    app(
        task,
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_jobs=4",
        "hydra.sweeper.n_trials=12",
        "hydra.sweeper.max_failure_rate=1.0",
        "hydra.sweeper.sampler.seed=1",
        "x=choice(1,13)",
    )
    assert len(task.jobs) == 12
    assert OmegaConf.load("optimization_results.yaml").best_value == 0.0
