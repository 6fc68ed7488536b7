"""Comparisons: small structures in one program, with the bits that each has in its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_descent import assert_same_bits, job, make, results

from gdlab import numerics, objectives
from gdlab.errors import UsageError
from gdlab.runner import comparison, ensemble_loop, loops, sweep, work
from gdlab.types import Method, Objective, Records

RULES = {
    "constant": {"eta": 2e-3},
    "cosine": {"eta": 1e-2},
    "polyak": {"f_star": -500.0},
    "barzilai_borwein": {},
    "adgd": {},
    "backtracking": {"grow": 2.0},
}


def rule(name: str) -> Any:
    return make("schedule", name, **RULES.get(name, {}))


def starts(objective: Objective, n: int = 2) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1.3, 1.3, (n, objective.dim))


def table(
    made: Sequence[Objective], methods: Sequence[str], schedules: Sequence[str], **more: Any
) -> list[sweep.Job]:
    return [
        job(o, starts(o), make("method", m), rule(s), **more)
        for o, m, s in itertools.product(made, methods, schedules)
    ]


def carried_out(works: Sequence[work.Work], jobs: Sequence[sweep.Job]) -> dict[int, Records]:
    """Records of each job, tails included."""
    out: dict[int, Records] = {}
    with ThreadPoolExecutor(2, initializer=numerics.enter) as threads:
        hands = work.Hands(threads, sweep._devices(), tails=True)
        for one in works:
            for chunk in work.carried_out(work.pool_of(one, jobs, hands), one, jobs):
                out |= {i: chunk.records.part(chunk.lanes[i]) for i in chunk.jobs}
    return out


def alone(jobs: Sequence[sweep.Job]) -> dict[int, Records]:
    """Each group in a program of its own."""
    return carried_out([work.Work((g,), g.jobs) for g in sweep.plan(jobs)], jobs)


def together(jobs: Sequence[sweep.Job]) -> dict[int, Records]:
    """All in one ensemble, which must be what a sweep would choose."""
    (groups,) = comparison.ensembles(sweep.plan(jobs), jobs)
    return carried_out(list(work.works(groups, jobs)), jobs)


def assert_all_alike(one: dict[int, Records], other: dict[int, Records]) -> None:
    assert set(one) == set(other)
    for i, records in one.items():
        assert_same_bits(records, other[i])
        assert (records.reason == other[i].reason).all()
        for name in ("path", "tail"):
            a, b = getattr(records, name), getattr(other[i], name)
            # A pool follows all lanes or none.
            a, b = (np.full(1, np.nan) if v is None or np.isnan(v).all() else v for v in (a, b))
            if name == "path" and records.path is not None:
                seen = np.arange(a.shape[1]) < records.length[:, None]
                a, b = a[seen], b[seen]
            np.testing.assert_array_equal(a, b, err_msg=name)


def two() -> list[Objective]:
    """Of two dimensions: with and without data, shared data, facts; products and sums."""
    return [
        make("objective", "rosenbrock"),
        make("objective", "quadratic", H=[[3.0, 2.0], [2.0, 3.0]]),
        make("objective", "ackley"),
        make("objective", "himmelblau"),
    ]


CASES: dict[str, Callable[[], list[sweep.Job]]] = {
    "open loop": lambda: table(
        two(), ["gradient", "nesterov", "adam", "coordinate"], ["constant", "cosine"]
    ),
    "closed loop": lambda: [
        one
        for o, methods, schedules in zip(
            two(),
            [["gradient"], ["heavy_ball"], ["sign"], ["gradient", "adam"]],
            [["polyak", "backtracking"], ["backtracking"], ["adgd"], ["adgd"]],
            strict=True,
        )
        for one in table([o], methods, schedules)
    ],
    "one dimension": lambda: table(
        [make("objective", name) for name in ("double_well", "quartic")],
        ["gradient", "adam"],
        ["constant", "adgd"],
    ),
    "four dimensions": lambda: table(
        [make("objective", name) for name in ("wood", "powell_singular")],
        ["heavy_ball", "adam"],
        ["constant"],
    ),
    "float32": lambda: table(
        two()[:2], ["gradient", "adam"], ["constant", "adgd"], precision="float32"
    ),
    "probes": lambda: table(
        two()[:2], ["gradient", "adam"], ["constant"], probes=("decrease_ratio", "x_norm")
    ),
    "no step": lambda: table(two()[:2], ["gradient"], ["constant"], steps=0),
    "every step, and far off": lambda: [
        job(o, 10.0**k * starts(o, 3), make("method", m), rule("constant"), 200, 1e-8, "all")
        for o in two()[:2]
        for m in ("gradient", "adam")
        for k in (-160, 0, 60)
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_has_the_bits_of_its_own_program(case: str) -> None:
    jobs = CASES[case]()
    assert_all_alike(together(jobs), alone(jobs))


def test_bits_depend_neither_on_company_nor_on_order() -> None:
    jobs = table(two(), ["gradient", "adam"], ["constant", "adgd"])
    whole = together(jobs)
    part = [jobs[i] for i in (13, 2, 7, 4)]
    again = together(part)
    assert_all_alike({k: whole[i] for k, i in enumerate((13, 2, 7, 4))}, again)


def cubes(x: Any) -> Any:
    return jnp.sum(x * x * x)


KEPT = {
    "rosenbrock": True,
    "matrix_factorization": False,
    "tanh_network": False,
    "logistic": False,
}


@pytest.mark.parametrize("name", KEPT)
def test_what_adds_up_many_terms_has_a_program_of_its_own(name: str) -> None:
    jobs = table([make("objective", name)], ["gradient", "adam"], ["constant"])
    groups = sweep.plan(jobs)
    assert [comparison.keeps_bits(g, jobs[g.jobs[0]]) for g in groups] == [KEPT[name]] * 2
    assert len(comparison.ensembles(groups, jobs)) == (1 if KEPT[name] else 2)


@pytest.mark.parametrize(
    ("method", "schedule", "probes"),
    [
        ("newton", "constant", ()),
        ("gradient", "exact", ()),
        ("gradient", "constant", ("sharpness",)),
        ("gradient", "constant", ("wolfe",)),
    ],
)
def test_who_differentiates_f_has_a_program_of_its_own(
    method: str, schedule: str, probes: tuple[str, ...]
) -> None:
    """Newton's step on Levy's function differed in its last bit between two programs."""
    made = [make("objective", "levy"), two()[1]]
    for o in made[1:] if schedule == "exact" else made:
        jobs = table([o], [method], [schedule], probes=probes)
        (group,) = sweep.plan(jobs)
        assert not comparison.keeps_bits(group, jobs[0])


def test_a_sum_of_three_terms_has_a_program_of_its_own() -> None:
    for dim, keeps in ((2, True), (3, False)):
        jobs = table([Objective(cubes, dim)], ["gradient"], ["constant"])
        (group,) = sweep.plan(jobs)
        assert comparison.keeps_bits(group, jobs[0]) == keeps


def test_much_work_has_a_program_of_its_own_and_the_rest_goes_together() -> None:
    small = table(two(), ["gradient", "adam"], ["constant"], steps=1000)
    o = make("objective", "beale")
    big = [job(o, starts(o, 2000), make("method", m), steps=1000) for m in ("adam", "sign")]
    long = table([o], ["gradient", "heavy_ball"], ["constant"], steps=10**6)
    jobs = [*big, *small, *long]
    sizes = [len(part) for part in comparison.ensembles(sweep.plan(jobs), jobs)]
    assert sizes == [1, 1, 8, 1, 1]


def test_with_numerics_fast_every_structure_has_a_program_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = table(two(), ["gradient"], ["constant"])
    groups = sweep.plan(jobs)
    assert len(comparison.ensembles(groups, jobs)) == 1
    monkeypatch.setattr(numerics, "_chosen", "fast")
    assert len(comparison.ensembles(groups, jobs)) == 4


def test_an_ensemble_holds_no_more_than_it_may() -> None:
    made = [make("objective", n) for n in ("booth", "matyas", "beale", "himmelblau")]
    jobs = table(made, ["gradient", "adam"], ["constant"])
    groups = sweep.plan(jobs)
    for name, most, sizes in (
        ("MOST_OBJECTIVES", 3, [6, 2]),
        ("MOST_LANES", 6, [3, 3, 2]),
        ("MOST_BYTES", 80 * len(jobs[0].marks) * 9, [4, 4]),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comparison, name, most)
            parts = comparison.ensembles(groups, jobs)
        assert [len(part) for part in parts] == sizes, name
        assert [g for part in parts for g in part] == groups


@pytest.mark.parametrize("schedules", [["constant"], ["backtracking"]])
def test_what_is_traced_and_compiled_grows_with_parts_and_not_with_their_product(
    schedules: list[str],
) -> None:
    def traced(methods: list[str]) -> tuple[int, int, int]:
        calls = []

        def f(x: Any) -> Any:
            calls.append(1)
            return (x[0] - 1) ** 2 + 3 * x[1] * x[1]

        made = [Objective(f, 2), *two()]
        programs = ensemble_loop.segment._cache_size(), loops.apart._cache_size()
        results(table(made, methods, schedules))
        now = ensemble_loop.segment._cache_size(), loops.apart._cache_size()
        return len(calls), now[0] - programs[0], now[1] - programs[1]

    few = traced(["gradient"])
    many = traced(["gradient", "adam", "sign", "coordinate", "heavy_ball"])
    assert few == many
    assert many[1:] == (1, 0)


# Failing parts


class Broken:
    """A method whose update raises when it is traced; and how often it was tried."""

    def __init__(self, says: str) -> None:
        self.tried = 0
        self.says = says

    def __call__(self) -> optax.GradientTransformation:
        def update(g: Any, state: Any, x: Any = None) -> Any:
            self.tried += 1
            raise RuntimeError(self.says)

        return optax.GradientTransformation(lambda x: optax.EmptyState(), update)


def outcome(jobs: list[sweep.Job]) -> tuple[set[int], list[sweep.Lost]]:
    done: set[int] = set()
    lost = []
    for chunk in sweep.run(jobs, isolate=True):
        if isinstance(chunk, sweep.Lost):
            lost.append(chunk)
        else:
            done |= set(chunk.jobs)
    return done, lost


def test_a_part_that_fails_is_named_and_the_rest_goes_on() -> None:
    broken = Broken("no way")
    mine = Method("mine", transform=broken)
    jobs = [
        job(o, starts(o), method, rule(s))
        for o in two()
        for method in (make("method", "gradient"), mine, make("method", "adam"))
        for s in ("constant", "adgd")
    ]
    done, lost = outcome(jobs)
    failing = {i for i, one in enumerate(jobs) if one.method is mine}
    assert {i for one in lost for i in one.jobs} == failing
    assert done == set(range(len(jobs))) - failing
    assert len({str(one.error) for one in lost}) == 1
    assert str(lost[0].error).startswith("method=mine: RuntimeError: no way (test_comparison.py")
    assert isinstance(lost[0].error, UsageError)
    assert broken.tried == 2  # by itself, and in the first of eight structures


def test_an_objective_that_fails_once_it_runs_fails_alone() -> None:
    def f(x: Any) -> Any:
        return jax.pure_callback(refuse, jax.ShapeDtypeStruct((), x.dtype), x[0]) + x[0]

    def refuse(_: Any) -> Any:
        raise RuntimeError("not today")

    bad = Objective(f, 2, name="bad")
    jobs = table([*two()[:2], bad], ["gradient", "adam"], ["constant"])
    done, lost = outcome(jobs)
    assert done == set(range(4))
    assert {i for one in lost for i in one.jobs} == {4, 5}


def third() -> optax.GradientTransformationExtraArgs:
    """Looks at a third derivative of f, which the f of an ensemble does not give."""

    def update(g: Any, state: Any, x: Any = None, *, value_fn: Any, **_: Any) -> Any:
        def slope(s: Any) -> Any:
            return jax.grad(lambda s: value_fn(s * x))(s)

        return -g + 0 * jax.grad(jax.grad(slope))(1.0), state

    return optax.GradientTransformationExtraArgs(lambda x: optax.EmptyState(), update)


@pytest.mark.parametrize("seen", [True, False])
def test_what_an_ensemble_cannot_trace_goes_alone(
    seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody saw it coming."""
    methods = [Method("third", transform=third), make("method", "gradient")]
    o = objectives.booth()
    jobs = [job(o, starts(o), m, rule(s)) for m in methods for s in ("constant", "adgd")]
    groups = sweep.plan(jobs)
    assert [len(part) for part in comparison.ensembles(groups, jobs)] == [1, 1, 2]
    if not seen:
        monkeypatch.setattr(comparison, "keeps_bits", lambda *_: True)
        assert [len(part) for part in comparison.ensembles(groups, jobs)] == [4]
    done, lost = outcome(jobs)
    assert (done, lost) == ({0, 1, 2, 3}, [])
    own = alone(jobs)
    for i, records in enumerate(results(jobs)):
        assert_same_bits(records, own[i])
