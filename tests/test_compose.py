"""Configurations composed the fast way are Hydra's own: every value, type, flag and error."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
from pathlib import Path
from typing import Any, Optional

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from hydra.version import setbase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from gdlab.errors import UsageError
from gdlab.launch import config
from gdlab.launch.compose import FastComposer, Parser

FILES = {
    "config.yaml": """
        defaults:
          - _self_
          - db: mysql
          - db@backup: postgres
          - server/cache: small
          - combo: ${db}_${server/cache}
          - optional extra: null
          - optional experiment: null
        a: 1
        b: 2.5
        text: hello
        nothing: null
        must: ???
        flag: true
        nest: {x: 1, y: {z: 2, w: [1, 2, 3]}, t: a}
        items: [1, two, {three: 3}]
        sum: ${a}
        deep: ${nest.y.z}
        path: ${db.host}/${text}
        home: ${oc.env:GDLAB_TEST_HOME,nowhere}
        hydra:
          job: {env_set: {FROM_CONFIG: "${a}"}, chdir: false}
        """,
    "typed.yaml": """
        defaults: [base_schema, _self_, {solver: fast}]
        n: 3
        """,
    "there.yaml": """
        defaults: [_self_, {db: mysql}, {far: away}]
        a: 1
        hydra: {searchpath: ["file://${oc.env:GDLAB_TEST_FAR}"]}
        """,
    "ask.yaml": """
        a: 1
        num: ${hydra:job.num}
        name: ${hydra:job.override_dirname}
        dir: ${hydra:runtime.output_dir}
        when: ${now:%Y-%f}
        """,
    "plain.yaml": """
        defaults: [_self_, {db: mysql}, {server/cache: small}]
        a: 1
        b: null
        nest: {x: 1, y: {z: 2}}
        items: [1, 2]
        """,
    "traps.yaml": """
        defaults:
          - _self_
          - db: mysql
          - db@backup: postgres
          - server/cache: small
          - filled: one
          - nested: one
          - placed: one
          - linking: one
          - schooled: one
        a: 1
        filled: {mine: 1}
        server: {name: s}
        text: ${db.host}
        """,
    "filled/one.yaml": "{x: 1}",
    "filled/two.yaml": "{x: 2, mine: 3}",
    "nested/one.yaml": "{x: 1}",
    "nested/two.yaml": """
        defaults: [one, {override /db: postgres}]
        y: 2
        """,
    "nested/three.yaml": """
        defaults: [/extra: other]
        z: 3
        """,
    "placed/one.yaml": "{x: 1}",
    "placed/two.yaml": """
        # @package linking
        link: 7
        """,
    "placed/three.yaml": """
        # @package _global_
        a: 8
        """,
    "linking/one.yaml": "{link: '${db.port}', again: '${linking.link}', list: [1, '${a}']}",
    "linking/two.yaml": "{link: '${placed.x}', near: '${.link}', words: 'no ${a}'}",
    "linking/three.yaml": "{link: '${a}', gone: '${nested.y}', all: '${server}'}",
    "linking/four.yaml": "{link: '${a}', other: '${db.name}'}",
    "schooled/one.yaml": "{n: 1}",
    "schooled/two.yaml": "{n: 2}",
    "db/mysql.yaml": "{name: mysql, host: my.host, port: 3306, opts: {retry: 1}}",
    "db/postgres.yaml": "{name: postgres, host: pg.host, port: 5432, schema: public}",
    "db/lite.yaml": """
        # @package _group_
        defaults: [mysql, _self_]
        name: lite
        file: /x/${a}
        """,
    "server/cache/small.yaml": "size: 1",
    "server/cache/large.yaml": "{size: 100, levels: [1, 2]}",
    "combo/mysql_small.yaml": "kind: ms",
    "combo/mysql_large.yaml": "kind: ml",
    "combo/postgres_small.yaml": "kind: ps",
    "combo/lite_small.yaml": "kind: ls",
    "extra/more.yaml": "{more: true}",
    "extra/other.yaml": """
        # @package nest
        other: 5
        """,
    "experiment/one.yaml": """
        # @package _global_
        defaults: [{override /db: postgres}, {override /server/cache: small}]
        a: 100
        nest: {x: -1}
        """,
    "experiment/bad.yaml": """
        # @package _global_
        hydra: {job: {chdir: [not, a, truth]}}
        """,
}
FAR = {"far/away.yaml": "{distance: 9}", "far/farther.yaml": "{distance: 99}"}

GOOD = [
    "a=2", "a=3", "b=1e-3", "b=-0.5", "text=world", "text='two words'", "text=", "nothing=7",
    "must=5", "must=now", "flag=false", "flag=null", "nest.x=5", "nest.y.z=8", "nest.y.w=[4,5]",
    "nest.y.w=[]", "items=[a,{b:1}]", "items=[]", "nest.t='${a}'", "sum=4",
    "+new=1", "+new.deep.er=2", "+nest.n=1", "++a=9", "++fresh=1", "++nest.x=3", "+list=[1,2]",
    "+nest={k:1}", "~text", "~nest.t", "~nest.t=a", "~items", "db=postgres", "db=mysql",
    "db@backup=mysql", "db@backup=lite", "db.port=1", "db.opts.retry=5", "backup.port=2",
    "server/cache=large", "server/cache=small", "combo=mysql_large", "extra=more", "extra=other",
    "experiment=one", "+db@third=lite", "+extra@fourth=more", "~db@backup",
    "~extra", "db={port:7}", "text=${b}", "deep=1_000", "text=a-b", "b=inf", "b=nan",
    "b=.5", "nest.y.w.0=7", "home=here", "hydra.job.name=x",
]  # fmt: skip
BAD = [
    "nope=1", "nest.nope=1", "db=oracle", "db@nowhere=mysql", "~nope", "~text=other", "++db=mysql",
    "a=1,2", "a=range(3)", "db=mysql,lite", "items.7=1", "experiment=bad", "combo=none", "a.b=1",
    "+hydra.job.name=x", "hydra/launcher=none", "hydra.job.chdir=maybe",
    "db=[mysql,postgres]", "nest.y.z.q=1", "nest.y={z:1,q:2}", "~server/cache", "+a=1",
]  # fmt: skip
TYPED = [
    "n=4", "n=null", "n=1.5", "n=many", "x=1", "x=abc", "mode=slow", "mode=SLOW", "mode=never",
    "tags.a=b", "+tags.c=d", "tags={q:r}", "sizes=[1,2]", "sizes=[x]", "sizes=[]", "opt.k=2",
    "opt=null", "opt={k:3}", "opt.k=z", "solver=fast", "solver=exact", "solver.tol=1e-9",
    "solver.tol=x", "+solver.more=1", "solver.depth=3", "+extra=1", "~n", "req=5", "any=[1,{a:2}]",
    "n=${solver.depth}", "path=/a/b", "++x=2.5", "solver@s2=exact", "+solver@s2=fast",
]  # fmt: skip
TRAPS = [
    "db=mysql", "db=postgres", "db=lite", "db@backup=lite", "server/cache=large", "filled=two",
    "nested=two", "nested=three", "placed=two", "placed=three", "linking=two", "linking=three",
    "linking=four", "schooled=two", "schooled=typed", "a=5", "db.port=1", "linking.link=2",
    "server.cache.size=9", "+extra=more", "~filled", "+db@third=mysql", "nested=null",
    "filled=[one,two]", "+linking.new=${a}", "text=x", "nested.x='${text}'",
]  # fmt: skip
PLAIN = [
    "a=2", "a=2.5", "a='$'", "a=word", "a=null", "a='q'", "a=[1,2]", "a=[[1]]", "a={b:1}", "b=1",
    "b=[x]", "nest.x=${a}", "nest.x=true", "nest.y.z=-3", "items=[3]", "items=4", "items=null",
    "nest=3", "nest={y:{z:5}}", "db=postgres", "db=lite", "db.port=5", "db.opts.retry=9",
    "db.schema=s", "server/cache=large", "server.cache.size=7", "server.cache.levels=[5]",
    "a='${b}'", "a=???", "items=[???]", "+new=1", "~b", "nest.y=null", "a=[]",
]  # fmt: skip


@dataclasses.dataclass
class Opt:
    k: int = 1


@dataclasses.dataclass
class Solver:
    tol: float = 1e-3
    depth: Optional[int] = None  # noqa: UP045, OmegaConf 2.3 knows no other way


@dataclasses.dataclass
class Schema:
    n: int = MISSING
    req: int = MISSING
    x: float = 0.5
    mode: str = "fast"
    tags: dict[str, str] = dataclasses.field(default_factory=lambda: {"a": "b"})
    sizes: list[int] = dataclasses.field(default_factory=lambda: [1])
    opt: Optional[Opt] = dataclasses.field(default_factory=Opt)  # noqa: UP045
    solver: Any = None
    any: Any = None
    path: Path = Path("/")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The app's folder, and Hydra's singletons as they were."""
    import copy
    import textwrap

    state = copy.deepcopy(Singleton.get_state())
    near, far = tmp_path_factory.mktemp("near"), tmp_path_factory.mktemp("far")
    for root, files in ((near, FILES), (far, FAR)):
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(textwrap.dedent(text).strip())
    os.environ["GDLAB_TEST_FAR"] = str(far)
    ConfigStore.instance().store("base_schema", Schema)
    ConfigStore.instance().store("fast", Solver, group="solver")
    ConfigStore.instance().store("typed", Opt, group="schooled")
    ConfigStore.instance().store("exact", Solver(tol=0.0, depth=9), group="solver")
    yield near, far
    del os.environ["GDLAB_TEST_FAR"]
    Singleton.set_state(state)


@pytest.fixture(scope="module")
def apps(folders: Any) -> Any:
    """Name of the app -> Hydra's loader, its master configuration, the fast composer."""
    near, far = folders
    with initialize_config_dir(str(near), version_base="1.3", job_name="app"):
        loader = GlobalHydra.instance().config_loader()
        made = {}
        for name, config, hydra_overrides in (
            ("untyped", "config", ["hydra.job.name=given", "hydra.job.env_copy=[HOME]"]),
            ("typed", "typed", []),
            ("searchpath", "there", []),
            ("searchpath typed", "plain", [f"hydra.searchpath=[file://{far}]"]),
            ("plain", "plain", []),
            ("traps", "traps", []),
            ("asking", "ask", ["hydra.sweep.dir=out", "hydra.sweep.subdir=no_${hydra.job.num}"]),
        ):
            master = loader.load_configuration(config, hydra_overrides, RunMode.MULTIRUN)
            made[name] = (loader, master, FastComposer(loader, master))
        yield made


@pytest.fixture(autouse=True)
def version_of_the_apps(nothing_stays: None) -> None:
    """What Hydra takes for defaults, for a module whose apps outlive one test."""
    setbase("1.3")


def assert_same(mine: Any, theirs: Any, where: str = "") -> None:
    """Equal to the last node: content, order, types, flags."""
    assert type(mine) is type(theirs), where
    a, b = mine._metadata, theirs._metadata
    assert (a.ref_type, a.object_type, a.optional) == (b.ref_type, b.object_type, b.optional), where
    flags = [{k: v for k, v in (m.flags or {}).items() if v is not None} for m in (a, b)]
    assert flags[0] == flags[1], where
    if isinstance(theirs, DictConfig | ListConfig):
        assert a.element_type == b.element_type, where
    content, expected = mine.__dict__["_content"] if hasattr(mine, "_content") else None, None
    if isinstance(theirs, DictConfig | ListConfig):
        expected = theirs.__dict__["_content"]
        if isinstance(expected, dict):
            assert list(content) == list(expected), where
            for key in expected:
                assert_same(content[key], expected[key], f"{where}.{key}")
            return
        if isinstance(expected, list):
            assert len(content) == len(expected), where
            for i, (x, y) in enumerate(zip(content, expected, strict=True)):
                assert_same(x, y, f"{where}[{i}]")
            return
        assert content == expected, where
        return
    x, y = mine._value(), theirs._value()
    assert type(x) is type(y), where
    assert x == y or x != x, where


def attempt(f: Any, *args: Any) -> Any:
    try:
        return f(*args)
    except Exception as error:
        return error


def compare(app: Any, overrides: list[str]) -> bool:
    """Asserts that the composer and Hydra agree; returns whether the overrides were legal.

    What is legal and leaves Hydra's own node alone must not have needed Hydra's loader.
    """
    loader, master, composer = app
    before = composer.fallbacks
    theirs = attempt(loader.load_sweep_config, master, list(overrides))
    task = attempt(composer.task, overrides)
    if isinstance(theirs, Exception):
        assert type(task) is type(theirs)
        assert str(task) == str(theirs)
        return False
    mine, plain = composer.full(overrides), attempt(composer.plain, overrides)
    assert composer.fallbacks == before or any("hydra." in o for o in overrides)
    assert_same(mine, theirs)
    assert mine._metadata.resolver_cache == theirs._metadata.resolver_cache
    given = handed_to_task(theirs)
    assert_same(task, given)
    expected = attempt(lambda: OmegaConf.to_container(given, resolve=True))
    assert type(plain) is type(expected)
    assert repr(plain) == repr(expected) or isinstance(plain, Exception)
    return True


def handed_to_task(cfg: DictConfig) -> DictConfig:
    """What Hydra's run_job makes of a job's configuration for the task function."""
    import copy

    from omegaconf import open_dict, read_write

    cfg = copy.deepcopy(cfg)
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
    return cfg


def drawn(pool: list[str], most: int = 5) -> Any:
    return st.lists(st.sampled_from(pool), min_size=0, max_size=most)


many = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("override", GOOD + BAD)
def test_each_override_alone(apps: Any, override: str) -> None:
    assert compare(apps["untyped"], [override]) == (override in GOOD)


@pytest.mark.parametrize("override", TYPED)
def test_each_override_of_a_schema(apps: Any, override: str) -> None:
    compare(apps["typed"], [override])


@pytest.mark.parametrize("override", PLAIN)
def test_each_override_of_plain_values(apps: Any, override: str) -> None:
    compare(apps["plain"], [override])


@many
@given(drawn(GOOD))
def test_drawn_jobs(apps: Any, overrides: list[str]) -> None:
    compare(apps["untyped"], overrides)


@many
@given(drawn(TYPED, 4))
def test_drawn_jobs_of_a_schema(apps: Any, overrides: list[str]) -> None:
    compare(apps["typed"], overrides)


@many
@given(drawn(PLAIN))
def test_drawn_jobs_of_plain_values(apps: Any, overrides: list[str]) -> None:
    compare(apps["plain"], overrides)


@pytest.mark.parametrize("override", TRAPS)
def test_each_choice_beside_others(apps: Any, override: str) -> None:
    compare(apps["traps"], [override, "linking=four"])


@many
@given(drawn(TRAPS))
def test_drawn_jobs_of_choices_that_reach_further(apps: Any, overrides: list[str]) -> None:
    compare(apps["traps"], overrides)


@many
@given(drawn([*GOOD, *BAD], 3))
def test_drawn_jobs_with_errors(apps: Any, overrides: list[str]) -> None:
    compare(apps["untyped"], overrides)


@pytest.mark.parametrize("app", ["searchpath", "searchpath typed"])
@pytest.mark.parametrize(
    "overrides",
    [[], ["a=2"], ["far=farther"], ["+far=farther", "a=3"], ["+far@x=away"], ["~far"], ["db=lite"]],
)
def test_searchpath(apps: Any, app: str, overrides: list[str]) -> None:
    compare(apps[app], overrides)


def test_what_a_task_asks_of_hydra(
    apps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${hydra:...}` and `${now:...}` resolve as they do inside Hydra's run_job."""
    monkeypatch.chdir(tmp_path)
    loader, master, composer = apps["asking"]
    seen = []
    for num in (0, 7):
        cfg = composer.in_job(["a=5"], num)
        assert cfg.hydra.job.num == num
        run_job(
            task_function=lambda c: seen.append(OmegaConf.to_container(c, resolve=True)),
            config=_numbered(loader.load_sweep_config(master, ["a=5"]), num),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=HydraContext(config_loader=loader, callbacks=_Silent()),
            configure_logging=False,
        )
        mine = composer.plain(["a=5"], num)
        when = seen[-1].pop("when"), mine.pop("when")
        assert mine == seen[-1]
        assert all(len(w) > 5 for w in when)
    assert HydraConfig.instance().cfg is None


def test_a_job_that_cannot_be_composed_is_named(apps: Any) -> None:
    *_, composer = apps["typed"]
    jobs = [[f"x={i}", "req=1"] for i in range(1000)]
    jobs[517] = ["x=abc", "req=1"]
    with pytest.raises(UsageError, match=r"^job 517 of 1000 \(x=abc req=1\): .*abc") as caught:
        composer.check(jobs)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="job 517 of 1000"):
        composer.plain_all(jobs)


def test_copies_are_independent(apps: Any) -> None:
    *_, composer = apps["plain"]
    first = composer.plain(["a=1"])
    first["nest"]["y"]["z"] = first["items"] = "spoilt"
    task = composer.task(["a=1"])
    task.nest.y.z = "spoilt"
    assert composer.plain(["a=1"])["nest"]["y"]["z"] == 2
    assert composer.task(["a=1"]).nest.y.z == 2


VALUES = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text("0123456789+-.eE_", min_size=1, max_size=8),
    st.text("abcTRUEfalsnuli_019-/$ ,[]'", max_size=6),
    st.sampled_from(["null", "Null", "true", "FALSE", "inf", "-inf", "NaN", "nano", "infinite"]),
)


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(["seed", "schedule.eta", "_a.b_1.C", "a-b", "db@x", "+k", "a/b"]), VALUES)
def test_plain_lines_parse_as_in_the_grammar(key: str, value: str) -> None:
    line = f"{key}={value}"
    mine = Parser()._plain(line)
    if mine is not None:
        assert mine == OverridesParser.create().parse_overrides([line])[0]
        assert type(mine._value) is type(OverridesParser.create().parse_override(line)._value)


@pytest.fixture(scope="module")
def own() -> Any:
    """gdlab's own `conf/`, as an app of `apps`."""
    config.publish_imported()
    before, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    with initialize_config_dir(str(config.folder("conf").resolve()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
    GlobalHydra.instance().hydra = before
    return loader, master, FastComposer(loader, master)


def test_one_composition_for_all_combinations_of_gdlab_s_choices(own: Any) -> None:
    groups = {g: [c.name for c in config.choices(g)] for g in config.GROUPS}
    draw = random.Random(7)
    for i in range(24):
        chosen = draw.sample(sorted(groups), 3)
        job = [f"{g}={draw.choice(groups[g])}" for g in chosen] + ["steps=7"] * (i % 2)
        assert compare(own, job)
    assert list(own[2].reader._contexts) == [()]


def test_a_combination_costs_no_composition(own: Any) -> None:
    """All objectives x schedules x methods: Hydra's loader is asked for no more than one."""
    loader, master, _ = own
    composer = FastComposer(loader, master)
    groups = ("objective", "schedule", "method")
    named = [[c.name for c in config.choices(g) if "/" not in c.name] for g in groups]
    choices = [[f"{g}={name}" for name in names] for g, names in zip(groups, named, strict=True)]
    jobs = [list(job) for job in itertools.product(*choices)]
    assert len(jobs) > 2000
    found = composer.plain_all(jobs)
    assert (len(composer.reader._contexts), composer.fallbacks) == (1, 0)
    for job, cfg in zip(jobs, found, strict=True):
        assert [f"{g}={cfg[g]['name']}" for g in groups[1:]] == job[1:]


def _numbered(cfg: DictConfig, num: int) -> DictConfig:
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.hydra.job.id = cfg.hydra.job.num = num
    return cfg


class _Silent:
    def on_job_start(self, **_: Any) -> None: ...

    def on_job_end(self, **_: Any) -> None: ...
