"""The runner: statuses, records, bits that do not depend on company, programs that are reused."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab import numerics, registry
from gdlab.errors import MissingFact, UsageError
from gdlab.runner import loops, plan, sweep
from gdlab.runner.pool import Pool
from gdlab.types import COLUMNS, Method, Objective, Records


def make(kind: str, name: str, **params: Any) -> Any:
    return registry.build(kind, name, params)


def job(
    objective: Objective,
    x0: Any,
    method: Any = None,
    schedule: Any = None,
    steps: int = 60,
    gtol: float = 1e-8,
    spacing: str = "log",
    **more: Any,
) -> sweep.Job:
    return sweep.Job(
        objective,
        method or make("method", "gradient"),
        schedule or make("schedule", "constant", eta=1e-3),
        np.atleast_2d(np.asarray(x0, float)),
        steps,
        gtol,
        sweep.record_marks(steps, spacing, 20),
        **more,
    )


def results(jobs: list[sweep.Job]) -> list[Records]:
    """Records of each job, in order."""
    out: dict[int, Records] = {}
    for chunk in sweep.run(jobs):
        out |= {i: chunk.records.part(chunk.lanes[i]) for i in chunk.jobs}
    return [out[i] for i in range(len(jobs))]


def assert_same_bits(a: Records, b: Records) -> None:
    assert (a.length == b.length).all()
    assert (a.status == b.status).all()
    np.testing.assert_array_equal(a.x, b.x)
    assert set(a.columns) == set(b.columns)
    for lane in range(len(a)):
        rows = a.length[lane]
        for name in a.columns:
            np.testing.assert_array_equal(
                a.columns[name][lane, :rows], b.columns[name][lane, :rows], err_msg=name
            )


def octic(data: Any, x: Any) -> Any:
    return data["scale"] * (x[0] ** 8 + x[1] ** 8)


def log_well(x: Any) -> Any:
    """-log(1 - x): NaN beyond the pole, where its gradient is finite again."""
    return -jax.numpy.log(1 - x[0]) - 2 * x[0]


def test_statuses_and_the_first_bad_step() -> None:
    bowl = make("objective", "quadratic", spectrum=[1.0, 4.0])
    converged, budget, diverged = (
        r[0]
        for r in results(
            [
                job(bowl, [1, 1], schedule=make("schedule", "constant", eta=0.25), steps=400),
                job(bowl, [1, 1], schedule=make("schedule", "constant", eta=0.25), steps=5),
                job(bowl, [1, 1], schedule=make("schedule", "constant", eta=1e100), steps=50),
            ]
        )
    )
    assert (converged.status, budget.status, diverged.status) == ("converged", "budget", "diverged")
    assert converged.grad_norm[-1] <= 1e-8 < converged.grad_norm[-2]
    assert budget.steps == 5
    assert not np.isfinite(diverged.loss[-1])
    assert np.isfinite(diverged.loss[:-1]).all()
    # x grows by 1e100 a step: f overflows in the second.
    assert diverged.steps == 2


def test_a_value_that_is_not_finite_stops_the_descent_though_the_gradient_is() -> None:
    (records,) = results(
        [job(Objective(log_well, 1), [0.0], schedule=make("schedule", "constant", eta=1.5))]
    )
    record = records[0]
    assert record.status == "diverged"
    assert record.steps == 1
    assert np.isnan(record.loss[-1])
    assert np.isfinite(record.grad_norm[-1])


@pytest.mark.parametrize(
    ("there", "ends"),
    [
        (np.inf, ("diverged", 5)),
        (-np.inf, ("diverged", 5)),
        (np.nan, ("diverged", 5)),
        (1e200, ("budget", 60)),  # the gradient too, whose square overflows: it is finite
    ],
)
def test_one_step_that_is_not_finite_stops_the_descent_though_the_next_ones_would_be(
    there: float, ends: tuple[str, int]
) -> None:

    def f(x: jax.Array) -> jax.Array:
        beyond = there * x[0] if np.isfinite(there) else there - x[0]
        return jnp.where(jnp.abs(x[0] - 5) < 0.5, beyond, -x[0])

    (records,) = results(
        [job(Objective(f, 1), [0.0], schedule=make("schedule", "constant", eta=1))]
    )
    assert (records[0].status, records[0].steps) == ends


def test_already_at_a_critical_point_takes_no_step() -> None:
    (records,) = results([job(make("objective", "himmelblau"), [3, 2])])
    assert records[0].status == "converged"
    assert records[0].steps == 0
    assert len(records[0].loss) == 1


@pytest.mark.parametrize("spacing", ["log", "linear", "all", "ends"])
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 1000, 99_999])
def test_marks_begin_at_0_end_at_the_last_step_and_are_about_as_many_as_asked(
    spacing, steps
) -> None:
    marks = sweep.record_marks(steps, spacing, 100)
    assert marks[0] == 0
    assert marks[-1] == steps
    assert (np.diff(marks) > 0).all()
    if spacing == "all":
        assert len(marks) == steps + 1
    else:
        assert len(marks) <= 102


def test_thinned_records_are_rows_of_the_full_one() -> None:
    rosenbrock = make("objective", "rosenbrock")
    thin, full = results([job(rosenbrock, [-1.2, 1], steps=700, spacing=s) for s in ("log", "all")])
    rows = thin[0].step.astype(int)
    for name in thin[0].columns:
        np.testing.assert_array_equal(
            thin[0].columns[name], full[0].columns[name][rows], err_msg=name
        )
    np.testing.assert_array_equal(thin[0].path, full[0].path[rows])


def values_and_gradients(objective: Objective, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f and its gradient at points `[n, d]`."""
    data = () if objective.data is None else (objective.data,)
    values, g = jax.vmap(jax.value_and_grad(functools.partial(objective.f, *data)))(x)
    return np.array(values), np.array(g)


@pytest.mark.parametrize("steps", [40, 300])
@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"method": make("method", "heavy_ball", momentum=0.9)},
        {"method": make("method", "nesterov", momentum="convex")},
        {"method": make("method", "sign")},
        {"method": make("method", "adam")},
        {"schedule": make("schedule", "backtracking")},
        {"schedule": make("schedule", "barzilai_borwein", eta0=1e-4)},
    ],
    ids=["gradient", "heavy_ball", "nesterov", "sign", "adam", "backtracking", "barzilai_borwein"],
)
@pytest.mark.parametrize(
    ("name", "params", "x0"),
    [
        ("quadratic", {"H": [[3.0]]}, [0.5]),
        ("himmelblau", {}, [0.0, 0.0]),
        ("rosenbrock", {"dim": 3}, [-0.5, 0.2, 0.1]),
    ],
)
def test_eqs_4_3_and_4_4_at_every_step(name, params, x0, rule, steps) -> None:
    """Every column is what NumPy makes of the path: u = x_{t+1} - x_t, and f and its gradient."""
    objective = make("objective", name, **params)
    (records,) = results([job(objective, x0, steps=steps, gtol=1e-3, spacing="all", **rule)])
    record = records[0]
    assert record.path is not None
    x, u = record.path[:-1], np.diff(record.path, axis=0)
    losses, g = values_and_gradients(objective, x)
    length = np.linalg.norm(u, axis=1)
    seen = {name: column[:-1] for name, column in record.columns.items()}
    exact = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(seen["loss"], losses, **exact)
    np.testing.assert_allclose(seen["grad_norm"], np.linalg.norm(g, axis=1), **exact)
    points = np.asarray(objective.facts.minimizers)
    away = np.linalg.norm(x[:, None] - points, axis=-1).min(axis=1)
    np.testing.assert_allclose(seen["distance"], away, **exact)
    # x_{t+1} - x_t has lost what was rounded away as u was added.
    lost = 4e-16 * np.abs(record.path).max() / length
    cosine = -(u * g).sum(axis=1) / length / seen["grad_norm"]
    assert (np.abs(seen["slope"] / seen["grad_norm"] + cosine) <= 1e-13 + 4 * lost).all()
    assert (np.abs(np.cos(seen["angle"]) - cosine) <= 1e-13 + 4 * lost).all()
    if not rule or "schedule" in rule:  # along -g
        assert (seen["angle"] < 1e-14).all()
        np.testing.assert_allclose(seen["step_size"] * seen["grad_norm"], length, atol=1e-14)
    elif len(x0) > 1:
        assert (seen["angle"][1:] > 1e-6).any()


def company() -> list[sweep.Job]:
    """Jobs of many shapes; some converge early, some diverge, some go on."""
    rng = np.random.default_rng(7)
    functions = [
        make("objective", "rosenbrock"),
        make("objective", "himmelblau"),
        make("objective", "quadratic", dim=6, condition=30.0),
    ]
    rules = itertools.product(
        [make("method", "gradient"), make("method", "heavy_ball", momentum=0.8)],
        [
            make("schedule", "constant", eta=1e-3),
            make("schedule", "constant", eta=0.9),
            make("schedule", "inverse_time", eta=1e-2, decay=0.1),
            make("schedule", "backtracking"),
        ],
    )
    return [
        job(f, rng.uniform(-2, 2, (1 + k % 3, f.dim)), m, s, steps=300)
        for f, (m, s) in itertools.product(functions, list(rules))
        for k in range(4)
    ]


def test_bits_do_not_depend_on_company_order_or_device() -> None:
    jobs = company()
    together = results(jobs)
    order = np.random.default_rng(0).permutation(len(jobs))
    shuffled = results([jobs[i] for i in order])
    for place, i in enumerate(order):
        assert_same_bits(shuffled[place], together[i])
    for i in order[:16]:
        assert_same_bits(results([jobs[i]])[0], together[i])
    assert {r.status[0] for r in together} == {"converged", "budget", "diverged"}


def matrix_of_numbers(data: Any, x: Any) -> Any:
    """What XLA computes in another way where the numbers are the same in all lanes."""
    rows = [jnp.stack([data["a"], data["b"]]), jnp.stack([data["c"], data["e"]])]
    return jnp.sum(jnp.tanh(jnp.stack(rows) @ jnp.stack([x[0], x[1]])) ** 2)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_bits_do_not_depend_on_whether_company_has_the_same_numbers(precision: str) -> None:
    rng = np.random.default_rng(1)
    jobs = []
    for a in (1.0, 0.3, -0.0, 0.0):
        data = {"a": np.float64(a), "b": 0.7, "c": -0.4, "e": 1.3}
        f = Objective(matrix_of_numbers, 2, data, name="own")
        jobs.append(job(f, rng.uniform(-1, 1, (3, 2)), steps=200, precision=precision))
    for one, together in zip(jobs, results(jobs), strict=True):
        assert_same_bits(results([one])[0], together)


def test_bits_do_not_depend_on_place_in_a_full_block() -> None:
    rng = np.random.default_rng(3)
    x0 = rng.uniform(-5, 5, (3000, 2))
    (together,) = results([job(make("objective", "himmelblau"), x0, steps=500, spacing="ends")])
    order = rng.permutation(len(x0))
    (moved,) = results([job(make("objective", "himmelblau"), x0[order], steps=500, spacing="ends")])
    np.testing.assert_array_equal(moved.x, together.x[order])
    np.testing.assert_array_equal(moved.steps, together.steps[order])


def test_open_loop_schedules_and_numbers_are_data_and_compile_once() -> None:
    x0 = [[-1.2, 1.0]]
    eta = {"eta": 1e-3}
    sizes = [
        make("schedule", "constant", **eta),
        make("schedule", "inverse_time", **eta, decay=0.1),
        make("schedule", "exponential", **eta, rate=0.9, period=10),
        make("schedule", "cosine", **eta, horizon=60),
    ]

    def sweep_over(a: float) -> list[sweep.Job]:
        return [job(make("objective", "rosenbrock", a=a), x0, schedule=s) for s in sizes]

    assert len(sweep.plan(sweep_over(1.0))) == 1
    results(sweep_over(1.0))
    before = [program._cache_size() for program in (loops.apart, loops.together())]
    assert sum(before) > 0
    results(sweep_over(2.0))
    assert [program._cache_size() for program in (loops.apart, loops.together())] == before


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "rows"), [(2, 120), (5, 40), (16, 3), (40, 40)])
def test_products_keep_their_bits_beside_other_schedules_over_many_steps(
    dim: int, rows: int
) -> None:
    """The tables of step sizes are long then, and longer in company: XLA compiles a loop that
    touches much in another way (numerics.SMALL), and products could be others there."""
    rng = np.random.default_rng(dim)
    A, W = rng.normal(size=(rows, dim)) / np.sqrt(rows), rng.normal(size=(dim, dim))

    def least_squares(x: jax.Array) -> jax.Array:
        return jnp.sum((A @ x - 1) ** 2)

    def network(x: jax.Array) -> jax.Array:
        return jnp.sum((jnp.tanh(jnp.tanh(A @ x) @ A @ W) - 1) ** 2)

    constant, steps = make("schedule", "constant", eta=1e-3), 20_000
    cosine = make("schedule", "cosine", eta=1e-3, horizon=steps)
    for f in (least_squares, network):
        for method in ("gradient", "adam"):
            x0 = rng.uniform(-0.3, 0.3, dim)
            lane = functools.partial(job, Objective(f, dim), x0, steps=steps)
            alone, company = (
                results([lane(make("method", method), schedule) for schedule in schedules])
                for schedules in ([constant], [cosine, constant, cosine])
            )
            assert_same_bits(alone[0], company[1])


def test_descend_takes_one_start_or_many_and_judges_them() -> None:
    objective = gdlab.Objective(lambda x: ((x - 1.0) ** 2).sum(), dim=2)
    one = gdlab.descend(objective, [0.0, 0.0], schedule=gdlab.schedules.constant(0.1), steps=500)
    many = gdlab.descend(
        objective, np.zeros((3, 2)), schedule=gdlab.schedules.constant(0.1), steps=500
    )
    assert one.verdict.kind == "minimum"
    np.testing.assert_array_equal(many[2].loss, one.loss)
    assert np.isnan(one.gap).all()  # f_star is not known
    assert np.isnan(one.distance).all()


@pytest.mark.parametrize(("starts", "few"), [(1, True), (256, True), (257, False)])
def test_lanes_of_one_block_are_carried_out_without_threads(starts, few, monkeypatch) -> None:
    started: list[threading.Thread] = []
    begin = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (started.append(self), begin(self))[1]
    )
    records = gdlab.descend(make("objective", "booth"), np.ones((starts, 2)), steps=20)
    assert (not started, len(records)) == (few, starts)


@pytest.mark.parametrize(("rule", "params"), [("constant", {"eta": 1e-3}), ("backtracking", {})])
def test_lanes_of_one_block_take_few_segments_and_have_the_bits_of_many(
    rule, params, monkeypatch
) -> None:
    taken: list[tuple[int, int]] = []
    run = Pool._segment
    monkeypatch.setattr(Pool, "_segment", lambda self, *a: (taken.append(a[1:]), run(self, *a))[1])
    objective, schedule = make("objective", "rosenbrock", dim=10), make("schedule", rule, **params)
    many = np.random.default_rng(0).uniform(-1, 1, (65, 10))
    descend = functools.partial(gdlab.descend, objective, schedule=schedule, verdict="off")
    apart = descend(many)[7]
    assert [b for _, b in taken][-1] == len(plan.record_marks(1000)) - 1
    long = len(taken)
    alone = descend(many[7])
    assert (long, len(taken) - long) == (5, 2)
    for name in COLUMNS:
        np.testing.assert_array_equal(alone.columns[name], apart.columns[name], err_msg=name)
    np.testing.assert_array_equal(alone.x, apart.x)


def test_gap_is_the_loss_above_the_known_minimum() -> None:
    branin = gdlab.objectives.branin()
    records = gdlab.descend(branin, [[0.0, 5.0], [9.0, 2.0]], steps=50, verdict=False)
    assert isinstance(records, Records)
    for record in (records[0], records[1]):
        assert set(COLUMNS) <= set(record.columns)
        np.testing.assert_array_equal(record.gap, record.loss - branin.facts.f_star)


@pytest.mark.parametrize("start", [3e-308, 1e-300, 1e-170, 1e-100, 1.0, 1e170, 1e300])
def test_norms_neither_underflow_nor_overflow(start: float) -> None:
    objective = gdlab.Objective(lambda x: jnp.sum(jnp.abs(x)) * start, dim=1)
    record = gdlab.descend(objective, [1.0], steps=5, gtol=0, verdict=False)
    assert (record.status, record.steps) == ("budget", 5)
    np.testing.assert_allclose(record.grad_norm, start, rtol=1e-15)


@pytest.mark.parametrize("d", [1, 20])
@pytest.mark.parametrize(("gtol", "steps"), [(0.0, 3000), (1e-300, 3200)])
def test_a_descent_goes_on_where_its_squares_underflow(d: int, gtol: float, steps: int) -> None:
    """x_t = 0.8^t: |g|^2 is 0 from t = 1,700 on."""
    objective = gdlab.Objective(lambda x: jnp.sum(x**2), dim=d)
    rule = gdlab.schedules.constant(0.1)
    record = gdlab.descend(
        objective, np.ones(d), schedule=rule, steps=steps, gtol=gtol, verdict=False
    )
    assert record.status == ("converged" if gtol else "budget")
    assert record.steps == record.step[-1] <= steps
    t = record.step
    np.testing.assert_allclose(record.grad_norm, 2 * np.sqrt(d) * 0.8**t, rtol=1e-11)


def test_an_objective_that_is_no_number_says_so() -> None:
    with pytest.raises(UsageError, match=r"f returns an array of shape \(2,\); takes a number"):
        gdlab.descend(gdlab.Objective(lambda x: x**2, dim=2), [1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda o: gdlab.descend(o, [1.0, 2.0, 3.0]),
            r"x0 has shape \(3,\): himmelblau takes \[2\]",
        ),
        (lambda o: gdlab.descend(o, np.zeros((0, 2))), r"x0 has shape \(0, 2\)"),
        (lambda o: gdlab.descend(o, [1.0, 2.0], steps=-1), "steps=-1"),
        (lambda o: gdlab.descend(o, [1.0, 2.0], steps=10.5), "steps=10.5: takes a valid integer"),
        (lambda o: gdlab.descend(o, [1.0, 2.0], precision="float16"), "precision=float16: takes"),
        (lambda o: gdlab.descend(o, [1.0, 2.0], probes=["sharp"]), "did you mean sharpness"),
        (lambda o: gdlab.descend(o, [1.0, 2.0], schedule=gdlab.schedules.exact()), "exact needs"),
        (
            lambda o: gdlab.descend(o, [1.0, 2.0], steps=10**9, record="all"),
            "would take 75 GB; use",
        ),
        (lambda o: gdlab.descend(o, [1.0, 2.0], record="some"), "record=some: takes 'log'"),
    ],
)
def test_wrong_calls_say_what_they_take(call: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        call(make("objective", "himmelblau"))


def test_missing_facts_are_named() -> None:
    nameless = gdlab.Objective(octic, 2, {"scale": 1.0}, name="octic")
    with pytest.raises(MissingFact, match=r"needs L; octic has none"):
        gdlab.descend(nameless, [1.0, 1.0], schedule=gdlab.schedules.constant(1.0, unit="1/L"))


def test_float32_is_float32() -> None:
    low, high = (
        results([job(make("objective", "rosenbrock"), [-1.2, 1], precision=p, steps=100)])[0][0]
        for p in ("float32", "float64")
    )
    assert low.loss[-1] != high.loss[-1]
    np.testing.assert_allclose(low.loss, high.loss, rtol=1e-4)
    assert low.loss[-1] == np.float32(low.loss[-1])


def test_records_of_many_starts_that_do_not_fit_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(plan, "MOST_BYTES", 10_000)
    big = job(make("objective", "himmelblau"), np.zeros((100, 2)))
    with pytest.raises(UsageError, match="record=ends"):
        list(sweep.run([big]))


@pytest.mark.parametrize("dim", [2, 6])
def test_a_descent_that_goes_to_and_fro_is_a_cycle_of_period_2(dim) -> None:
    """On lambda = 2 with eta = 1 the iterate changes sign at every step; with 1/2 it arrives."""
    spectrum = [1.0] * (dim - 1) + [2.0]
    objective = make("objective", "quadratic", spectrum=spectrum)
    there = gdlab.descend(objective, np.ones(dim), schedule=gdlab.schedules.constant(1.0), steps=90)
    assert there.status == "budget"
    assert there.steps == 90
    assert (there.verdict.kind, there.verdict.period) == ("cycle", 2)
    np.testing.assert_allclose(np.abs(there.x), [0.0] * (dim - 1) + [1.0])
    short = gdlab.descend(objective, np.ones(dim), schedule=gdlab.schedules.constant(0.1), steps=9)
    assert short.verdict.kind == "not_critical"


@pytest.mark.parametrize(("eta", "steps"), [(0.1, 120), (1e30, 2)])
def test_a_descent_that_comes_to_rest_after_its_budget_is_no_cycle(eta, steps) -> None:
    """Within the 48 steps that are looked at, one converges and one leaves the finite numbers."""
    objective = make("objective", "quadratic", spectrum=[1.0, 2.0])
    record = gdlab.descend(
        objective, [1.0, 1.0], schedule=gdlab.schedules.constant(eta), steps=steps, gtol=1e-6
    )
    assert record.status == "budget"
    assert record.verdict.kind == "not_critical"


@pytest.mark.parametrize(("parents", "own"), [("exact", "fast"), ("fast", "exact")])
def test_numerics_are_not_inherited_from_the_process_that_started_this_one(
    parents: str, own: str
) -> None:
    code = f"""if True:
        import os
        from gdlab.numerics import configure
        configure("{own}")
        print(os.environ["XLA_FLAGS"])"""
    env = os.environ | {"XLA_FLAGS": f"--xla_dump_max_hlo_modules=7 {numerics.FLAGS[parents]}"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    fusing = numerics.DISABLED + numerics.FUSING
    flags = [*numerics.BACKEND, fusing, "--xla_dump_max_hlo_modules=7", numerics.FLAGS[own]]
    assert sorted(said.stdout.split()) == sorted(flags)


IN_ANOTHER_PROCESS = """
import hashlib, os, sys
from gdlab import numerics
if sys.argv[1]:
    numerics.cores = lambda: int(sys.argv[1])
import jax, jax.numpy as jnp, optax
from gdlab import registry
from gdlab.launch.build import build
from gdlab.launch.compose import compose_one
from gdlab.runner import sweep
from gdlab.types import Method
from omegaconf import OmegaConf
if sys.argv[2]:
    numerics.configure()
    os.environ["PJRT_NPROC"] = sys.argv[2]

def with_lapack():
    def update(g, state, x, *, value_fn, **_):
        h = jax.hessian(value_fn)(x) + jnp.eye(len(x))
        low = jnp.linalg.eigvalsh(h)[0] + jnp.linalg.cholesky(h)[0, 0]
        return -jnp.linalg.solve(h, g) - 1e-9 * low, state
    return optax.GradientTransformationExtraArgs(lambda x: (), update)

@registry.method
def own() -> Method:
    "A user's method."
    return Method("own", transform=with_lapack)

built = build(OmegaConf.to_container(compose_one(sys.argv[3:]), resolve=True))
[chunk] = sweep.run([built.job])
print(hashlib.sha256(chunk.records.x.tobytes()).hexdigest())
"""


def in_another_process(*overrides: str, cores: str = "", threads: str = "") -> str:
    """What the end points hash to, in a process that starts afresh."""
    said = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, cores, threads, *overrides],
        env=os.environ | {"PJRT_NPROC": "2"},  # as a parent on a smaller machine would leave it
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not said.returncode, said.stderr
    return said.stdout


@pytest.mark.parametrize(("method", "threads"), [("newton", "2"), ("own", "")])
def test_blocks_that_call_lapack_do_not_wait_for_each_other_forever(
    method: str, threads: str
) -> None:
    """Ours even on XLA's usual threads, one a core; a user's on those that gdlab asks for."""
    many = ["init=uniform", "init.samples=256", "steps=150", "schedule.eta=1e-3"]
    where = ["objective=rosenbrock", "objective.dim=40", f"method.name={method}"]
    assert in_another_process(*where, *many, threads=threads)


def test_bits_do_not_depend_on_the_number_of_cores() -> None:
    dense = ["objective=quadratic", "objective.dim=1000", "objective.rotation=1", "steps=20"]
    many = ["init=uniform", "init.samples=40"]
    one, sixteen = (in_another_process(*dense, *many, cores=cores) for cores in ("1", "16"))
    assert one == sixteen
    # What is asked of XLA is what matters here: other numbers of threads give other bits.
    assert one != in_another_process(*dense, *many, threads="16")


class Wide(NamedTuple):
    """A state that float64 does not hold."""

    word: Any


def wide_walk(kind: str) -> Any:
    """p = -w g, with w drawn from a state of 64-bit integers or complex numbers."""

    def init(x: Any) -> Wide:
        start = jnp.uint64(88172645463325252) if kind == "uint64" else jnp.complex128(1 + 2j)
        return Wide(start)

    def update(g: Any, state: Wide, x: Any = None) -> Any:
        if kind == "uint64":
            w = state.word ^ (state.word << 13)
            w = w ^ (w >> 7)
            w = w ^ (w << 17)
            scale = (w & jnp.uint64(1023)).astype(float) / 1024 - 0.4
        else:
            w = state.word * (0.6 + 0.8j)
            scale = w.imag
        return jax.tree.map(lambda gi: -scale * gi, g), Wide(w)

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("kind", ["uint64", "complex"])
def test_a_memory_that_floats_do_not_hold_is_seen_as_it_was(kind) -> None:
    method = Method("walk", transform=functools.partial(wide_walk, kind), elementwise=True)
    himmelblau = make("objective", "himmelblau")
    (records,) = results(
        [job(himmelblau, [1.0, 1.0], method, steps=30, spacing="all", probes=("curvature",))]
    )
    record = records[0]
    u = np.diff(record.path, axis=0)
    _, g = values_and_gradients(himmelblau, record.path[:-1])
    slope = (u * g).sum(axis=1) / np.linalg.norm(u, axis=1)
    np.testing.assert_allclose(record.slope[:-1], slope, rtol=1e-9)


def test_a_switch_that_turns_compilation_off_is_not_ours() -> None:
    """Under JAX_DISABLE_JIT=1 the loops of a block ran in Python, and failed."""
    jax.config.update("jax_disable_jit", True)
    try:
        record = gdlab.descend(
            make("objective", "booth"), [3.0, 3.0], schedule=make("schedule", "backtracking")
        )
    finally:
        jax.config.update("jax_disable_jit", False)
    assert record.status == "converged"


def sharpness_aware(opaque: bool) -> Any:
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.05))
    return optax.contrib.sam(optax.sgd(0.01), ascent, sync_period=2, opaque_mode=opaque)


# Rules of optax that keep a typed key, or whose update names its keywords and takes no others.
ODD_RULES = {
    "typed key": lambda: optax.noisy_sgd(0.01, 0.01, key=jax.random.key(3)),
    "sam": lambda: sharpness_aware(False),
    "sam with gradients of its own": lambda: sharpness_aware(True),
}


@pytest.mark.parametrize("name", ODD_RULES)
@pytest.mark.parametrize("dim", [2, 6])
def test_rules_of_optax_are_methods(name: str, dim: int) -> None:
    objective = gdlab.objectives.quadratic(dim=dim)
    method = Method(name, transform=ODD_RULES[name])
    x = jnp.full(dim, 0.5)
    mine = gdlab.descend(
        objective, x, method=method, schedule=gdlab.schedules.constant(1.0), steps=9, record="all"
    )
    with jax.enable_x64(True):
        rule = ODD_RULES[name]()
        f = functools.partial(objective.f, objective.data)
        x = jnp.full(dim, 0.5)
        state = rule.init(x)
        more = {"grad_fn": lambda x, _: jax.grad(f)(x)} if "own" in name else {}
        for _ in range(9):
            u, state = rule.update(jax.grad(f)(x), state, x, **more)
            x = x + u
    np.testing.assert_allclose(mine.x, x, rtol=1e-9)


@pytest.mark.parametrize("name", ["grad_norm", "going", "status"])
def test_a_probe_of_ones_own_does_not_take_the_name_of_a_column(name, monkeypatch) -> None:
    """A probe `grad_norm` would make a descent that converged diverge."""
    monkeypatch.setitem(registry.factories("probe"), name, lambda view: 7 + 0 * view.value)
    with pytest.raises(UsageError, match=f"{name}.*give the probe another name"):
        gdlab.descend(make("objective", "himmelblau"), [0, 0], probes=[name])


def broken_beyond(t: np.ndarray, k: int) -> np.ndarray:
    if k in (3, 17) and t.max() > 50:
        raise ValueError(f"broken {k}")
    return np.full(len(t), 1e-3)


def test_only_the_jobs_of_a_chunk_that_raise_are_lost() -> None:
    def with_sizes(k: int) -> sweep.Job:
        schedule = make("schedule", "constant")
        sizes = functools.partial(broken_beyond, k=k)
        return job(make("objective", "booth"), [k, 1], schedule=replace(schedule, sizes=sizes))

    done: dict[int, Any] = {}
    for chunk in sweep.run([with_sizes(k) for k in range(24)], isolate=True):
        done |= dict.fromkeys(chunk.jobs, chunk)
    lost = {k: str(c.error) for k, c in done.items() if isinstance(c, sweep.Lost)}
    assert lost == {3: "broken 3", 17: "broken 17"}
    assert len(done) == 24


def test_jobs_lie_side_by_side_only_where_their_data_are_of_one_type() -> None:
    """Integers beside floats would become floats, and f could see it."""

    def f(data: Any, x: Any) -> Any:
        scale = 1.0 if jnp.issubdtype(data["n"].dtype, jnp.floating) else 2.0
        return scale * jnp.sum(data["n"] * x**2)

    def with_data(n: Any) -> sweep.Job:
        return job(Objective(f, 1, data={"n": np.array(n)}), [1.0], precision="float32")

    jobs = [with_data([3]), with_data([5.5])]
    company, alone = results(jobs), [results([one])[0] for one in jobs]
    for a, b in zip(company, alone, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize(
    "rule",
    [{}, {"schedule": make("schedule", "backtracking")}, {"method": make("method", "newton")}],
    ids=["gradient", "backtracking", "newton"],
)
def test_a_tail_rests_where_its_descent_comes_to_rest_alone_and_in_company(rule) -> None:
    """Steps run out one before |g| <= gtol."""
    rules = {"schedule": make("schedule", "constant", eta=0.4), "gtol": 1e-3} | rule
    bowl, starts = (
        make("objective", "quadratic", dim=2, condition=2.0),
        np.array([[0.5, 0.2], [3.0, -4.0]]),
    )
    full = sweep.descents(bowl, starts[:1], record="all", **rules)[0]
    assert full.status == "converged"
    expected = np.vstack([full.path[-2], np.tile(full.x, (48, 1))])
    for x0 in (starts[:1], starts):
        tail = sweep.descents(bowl, x0, steps=full.steps - 1, tails=True, **rules).tail
        np.testing.assert_array_equal(tail[0], expected)


BESIDE_A_USERS_OWN = """
import warnings
warnings.simplefilter("error")
import gdlab
import jax.numpy as jnp
import numpy as np
assert jnp.array([1.0]).dtype == jnp.float32
f = gdlab.objectives.himmelblau()
record = gdlab.descend(f, [3.0, 1.0], schedule=gdlab.schedules.backtracking(), gtol=1e-12)
assert record.status == "converged" and record.verdict.certified
seen = set()
def bowl(x):
    seen.add(str(x.dtype))
    return (x**2).sum()
mine = gdlab.Objective(bowl, dim=2)
from gdlab.critical.surface import on
box = [(-1.0, 1.0), (-1.0, 1.0)]
for asked in (
    lambda: on(mine)(np.ones((1, 2))),
    lambda: gdlab.census(mine, domain=box),
    lambda: gdlab.basins(mine, domain=box, resolution=4),
    lambda: gdlab.critical.certify(mine, [0.0, 0.0]),
    lambda: gdlab.descend(mine, [1.0, 2.0], steps=3),
):
    asked()
assert seen == {"float64"}, seen
assert jnp.array([1.0]).dtype == jnp.float32
gdlab.configure(x64=True)
assert jnp.array([1.0]).dtype == jnp.float64
"""


def test_gdlab_computes_in_64_bits_beside_arrays_of_a_user_that_have_32(tmp_path: Path) -> None:
    call = [sys.executable, "-c", BESIDE_A_USERS_OWN]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
