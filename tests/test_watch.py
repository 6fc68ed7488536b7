"""Where a descent ends does not depend on which steps are looked at: f is watched, or bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab import numerics, registry
from gdlab.runner import bounds, loops, plan, pool, sweep, watch

ROSENBROCK = gdlab.objectives.rosenbrock


def of(f: Callable[[Any], Any], dim: int = 6) -> gdlab.Objective:
    return gdlab.Objective(f, dim)


def signs(dim: int) -> Any:
    return jnp.where(jnp.arange(dim) % 2 == 0, 1.0, -1.0)


def slope(x: Any) -> Any:
    """f overflows long before x does, which are far away and cancel; the gradient is 1."""
    return sum(x[i] * (1.0 if i % 2 == 0 else -1.0) for i in range(len(x)))


def passing(there: float) -> Callable[[Any], Any]:
    """f falls along x_0 with slope 1; between 2 and 3, which one step meets, f is `there`."""
    return lambda x: jnp.where(jnp.abs(x[0] - 2.5) < 0.5, there, -x[0])


def hidden(x: Any) -> Any:
    """log(3 - x_0), which no derivative tells of."""
    return -jnp.sum(jnp.stack(list(x))) + 1e-3 * jax.lax.stop_gradient(jnp.log(3 - x[0]))


@jax.custom_jvp
def anew(x: Any) -> Any:
    return -x[0]


@anew.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """The rule gives another f, which is no number between 2 and 3, with f's gradient."""
    (x,), (dx,) = primals, tangents
    return jnp.where(jnp.abs(x[0] - 2.5) < 0.5, jnp.nan, -x[0]), -dx[0]


def beyond(data: Any, x: Any) -> Any:
    """c^2 for x_0 > 2.2: infinite where c is large; the gradient is -1 in each coordinate."""
    return jnp.where(x[0] > 2.2, data["c"] * data["c"], 0.0) - sum(x[i] for i in range(len(x)))


class Case(NamedTuple):
    """A descent, and how and when it ends."""

    objective: gdlab.Objective
    x0: Any
    eta: float
    ends: tuple[str, int] | None = None
    method: str = "gradient"
    schedule: str = "constant"
    gtol: float = 1e-8
    steps: int = 100


CASES = {
    "heavy ball leaves at once": Case(
        ROSENBROCK(dim=6), np.full(6, -1.2), 0.02, ("diverged", 5), "heavy_ball"
    ),
    "heavy ball, d = 2": Case(ROSENBROCK(), [-1.2, 1.0], 0.02, None, "heavy_ball"),
    "nesterov": Case(ROSENBROCK(dim=10), np.full(10, -1.2), 0.02, None, "nesterov"),
    "gradient": Case(ROSENBROCK(dim=20), np.full(20, 1.5), 0.02),
    "gradient, d = 3": Case(ROSENBROCK(dim=3), np.full(3, 1.5), 0.02),
    "adam": Case(ROSENBROCK(dim=6), np.full(6, -1.2), 1e160, None, "adam"),
    "adam, d = 2": Case(ROSENBROCK(), [-1.2, 1.0], 1e160, None, "adam"),
    "backtracking": Case(ROSENBROCK(dim=6), np.full(6, -1.2), 1.0, None, schedule="backtracking"),
    "grows by 1e100 a step": Case(
        of(lambda x: jnp.sum(x * x), 20), np.ones(20), 1e100, ("diverged", 2)
    ),
    "x^4 at 1e80, f alone overflows": Case(
        of(lambda x: jnp.sum((x * x) * (x * x))), np.ones(6), 1e80, ("diverged", 1)
    ),
    "-exp": Case(of(lambda x: -jnp.sum(jnp.exp(x))), np.zeros(6), 0.1),
    "slope": Case(of(slope), np.zeros(6), 7e306, ("diverged", 5)),
    "slope, d = 2": Case(of(slope, 2), np.zeros(2), 7e306, ("diverged", 13)),
    "slope, d = 1": Case(of(slope, 1), np.zeros(1), 7e306, ("diverged", 26)),
    "infinite in passing": Case(of(passing(np.inf)), np.zeros(6), 0.7, ("diverged", 3)),
    "no number in passing": Case(of(passing(np.nan)), np.zeros(6), 0.7, ("diverged", 3)),
    "no number in passing, d = 2": Case(of(passing(np.nan), 2), np.zeros(2), 0.7, ("diverged", 3)),
    "a pole that is not told": Case(of(hidden), np.zeros(6), 0.7, ("diverged", 5)),
    "a pole that is not told, d = 2": Case(of(hidden, 2), np.zeros(2), 0.7, ("diverged", 5)),
    "a rule with an f of its own": Case(of(anew), np.zeros(6), 0.7, ("diverged", 3)),
    "a rule with an f of its own, d = 2": Case(of(anew, 2), np.zeros(2), 0.7, ("diverged", 3)),
    "data": Case(
        gdlab.Objective(beyond, 6, {"c": 1e200}), np.zeros(6), 0.7, ("diverged", 4)
    ),
    "data, d = 2": Case(
        gdlab.Objective(beyond, 2, {"c": 1e200}), np.zeros(2), 0.7, ("diverged", 4)
    ),
    "moderate data": Case(
        gdlab.Objective(beyond, 6, {"c": 1e3}), np.zeros(6), 0.7, ("budget", 100)
    ),
    "converges": Case(of(lambda x: jnp.sum(x * x)), np.ones(6), 0.3, ("converged", 22)),
    "underflows": Case(
        of(lambda x: jnp.sum(x * x)), np.ones(6), 0.3, ("budget", 400), gtol=0.0, steps=400
    ),
    "comes to rest": Case(
        of(lambda x: jnp.sum(x * x)), np.ones(6), 0.5, ("converged", 1), gtol=0.0
    ),
}  # fmt: skip


def descend(case: Case, record: str, **more: Any) -> Any:
    size = {"backtracking": "eta0"}.get(case.schedule, "eta")
    rule = registry.build("schedule", case.schedule, {size: case.eta})
    return gdlab.descend(
        case.objective, case.x0, method=registry.build("method", case.method, {}), schedule=rule,
        steps=case.steps, gtol=case.gtol, record=record, points=7, verdict=False, **more,
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_descent_ends_where_it_ends_whichever_steps_are_recorded(name: str) -> None:
    case = CASES[name]
    whole, *thinned = (descend(case, record) for record in ("all", "ends", "log"))
    if case.ends is not None:
        assert (whole.status, whole.steps) == case.ends
    for record in thinned:
        assert (record.status, record.reason, record.steps) == (
            whole.status, whole.reason, whole.steps,
        )  # fmt: skip
        np.testing.assert_array_equal(record.x, whole.x)
        np.testing.assert_array_equal(record.loss[-1], whole.loss[-1])
        np.testing.assert_array_equal(record.grad_norm[-1], whole.grad_norm[-1])
    if case.eta > 1e38 or case.objective.data:  # no numbers of single precision
        return
    single = [descend(case, record, precision="float32") for record in ("all", "ends")]
    assert single[0].steps == single[1].steps
    assert single[0].status == single[1].status
    np.testing.assert_array_equal(single[0].x, single[1].x)


@pytest.mark.parametrize("method", ["gradient", "heavy_ball"])
@pytest.mark.parametrize("dim", [2, 6])
def test_lanes_that_are_taken_again_leave_the_others_their_bits(dim: int, method: str) -> None:
    rule = gdlab.schedules.constant(1e-3)
    starts = np.linspace(0.1, 40.0, 5)[:, None] * np.ones(dim)

    def ends(x0: Any) -> Any:
        return gdlab.descend(
            ROSENBROCK(dim=dim), x0, method=registry.build("method", method, {}), schedule=rule,
            steps=300, record="ends", verdict=False,
        )  # fmt: skip

    together, alone = ends(starts), [ends(x) for x in starts]
    assert len(set(together.status)) == 2
    for i, record in enumerate(alone):
        assert (together[i].status, together[i].steps) == (record.status, record.steps)
        np.testing.assert_array_equal(together[i].x, record.x)


# What may be infinite or no number within any reach, and what may not.
NEVER: dict[str, Callable[[Any], Any]] = {
    "a branch that is no number": passing(np.nan),
    "a branch that is infinite": passing(np.inf),
    "a constant that is no number": lambda x: jax.lax.select(x[0] > 2, jnp.float64(jnp.nan), x[0]),
    "a logarithm": lambda x: jnp.sum(jnp.log(x)),
    "a hidden logarithm": hidden,
    "a root": lambda x: jnp.sqrt(x[0]),
    "a division": lambda x: x[0] / x[1],
    "a power": lambda x: x[0] ** -2,
    "a rule with an f of its own": anew,
    "a loop": lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y / (y - 1), x[0]),
    "what lies beyond an array": lambda x: jnp.sum(x.at[jnp.array([0, 9])].get(mode="fill")),
    "less than zero by rounding": lambda x: jnp.sqrt(jnp.sum((x - jnp.mean(x)) ** 2) - x[0] ** 2),
}
ALWAYS: dict[str, Callable[[Any], Any]] = {
    "a polynomial": lambda x: (x[0] - x[1] ** 2) ** 2 * 100 + x[2],
    "a root of squares": lambda x: jnp.sqrt(1 + jnp.sum(x * x)),
    "softplus": lambda x: jnp.sum(jax.nn.softplus(x)),
    "a narrow peak": lambda x: jnp.exp(-jnp.sum(x**2)) * jnp.cos(x[0]),
    "an exponential": lambda x: jnp.exp(x[0]),
    "a rational function": lambda x: x[0] / (1 + x[1] ** 2),
    "both branches": lambda x: jnp.where(x[0] > 0, x[0], jnp.tanh(x[0])),
    "a derivative that is none at 0": lambda x: jnp.where(x[0] > 0, jnp.sqrt(jnp.abs(x[0])), 0.0),
}


@numerics.computing()
def test_f_is_bounded_where_it_is_finite_and_nowhere_else() -> None:
    for dim in (3, 6):
        for f in NEVER.values():
            assert watch.reach_of(f, None, dim, np.dtype(float)) == (0, 0)
        for name, f in ALWAYS.items():
            reach, _ = watch.reach_of(f, None, dim, np.dtype(float))
            assert reach >= 32, name
    for f, dim in ((hidden, 1), (anew, 2), (passing(np.nan), 2)):
        assert watch.reach_of(f, None, dim, np.dtype("float32")) == (0, 0)


def test_most_objectives_are_bounded() -> None:
    """Of the catalogue all are, so that their steps do without f."""
    with numerics.computing():
        for name in registry.factories("objective"):
            o = registry.build("objective", name, {})
            data = o.data and {k: np.asarray(v) for k, v in o.data.items()}
            reach, most = watch.reach_of(o.f, data, o.dim, np.dtype(float))
            assert reach > np.abs(o.facts.domain if o.facts.domain is not None else 1).max(), name
            assert all(np.abs(a).max() <= most for a in (data or {}).values()), name


VECTOR = {"reduce_sum", "cumsum", "reduce_prod", "dot_general", "reduce_max", "reduce_min"}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": jnp.add, "sub": jnp.subtract, "neg": jnp.negative, "mul": jnp.multiply,
    "div": jnp.divide, "square": jnp.square, "abs": jnp.abs, "max": jnp.maximum,
    "min": jnp.minimum, "sign": jnp.sign, "exp": jnp.exp, "exp2": jnp.exp2, "expm1": jnp.expm1,
    "log": jnp.log, "log1p": jnp.log1p, "sqrt": jnp.sqrt, "cbrt": jnp.cbrt,
    "rsqrt": jax.lax.rsqrt, "logistic": jax.nn.sigmoid, "tanh": jnp.tanh, "erf": jax.lax.erf,
    "erfc": jax.lax.erfc, "sin": jnp.sin, "cos": jnp.cos, "atan": jnp.arctan, "atan2": jnp.arctan2,
    "floor": jnp.floor, "ceil": jnp.ceil, "round": jnp.round, "reduce_prod": jnp.prod,
    "reduce_sum": jnp.sum, "cumsum": jnp.cumsum, "dot_general": jnp.dot, "reduce_max": jnp.max,
    "reduce_min": jnp.min, "integer_pow": lambda a: a**3, "even": lambda a: a**4,
    "negative": lambda a: a**-3, "pow": lambda a, b: jnp.power(a, b), "self": lambda a: a * a,
    "select_n": lambda a, b: jnp.where(a > b, a, b), "norm": lambda a: jnp.dot(a, a),
    "outer": lambda a, b: jnp.outer(a, b) @ jnp.outer(b, a), "pad": lambda a: jnp.pad(a, 2),
    "clamp": lambda a: jax.lax.clamp(a.dtype.type(-1), a, a.dtype.type(1)),
    "whole": lambda a: a.astype(int) * 1.5,
    "counted": lambda a: a / (1 + jnp.arange(a.size)), "take": lambda a: a[::-1][1:],
    "gather": lambda a: jnp.asarray(a).at[jnp.array([0, 1])].get(mode="clip"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@numerics.computing()
def test_each_rule_holds_what_is_computed(name: str, dtype: str) -> None:
    f, rng = FUNCTIONS[name], np.random.default_rng(0)
    n = f.__code__.co_argcount if name in ("pow", "outer", "select_n") else 1
    if name in ("add", "sub", "mul", "div", "max", "min", "atan2", "dot_general"):
        n = 2
    held = 0
    for _ in range(60):
        ends = np.sort(rng.choice([-1, 1], (n, 2)) * 10 ** rng.uniform(-3, 2, (n, 2)))
        ends[rng.random((n, 2)) < 0.2] = 0.0
        ends.sort(axis=1)
        points = [rng.uniform(*e, (5, 8)).astype(dtype) for e in ends]
        for p, e in zip(points, ends, strict=True):
            p[0], p[1] = e.astype(dtype)
        traced = jax.make_jaxpr(f)(*(p[2] for p in points))
        sides = [(float(p.min()), float(p.max())) for p in points]
        try:
            (got,) = bounds.bounds(traced.jaxpr, traced.consts, sides, [True])
        except bounds.Unbounded:
            continue
        assert got is not None
        held += 1
        for row in zip(*points, strict=True):
            values = np.asarray(f(*row))
            assert np.isfinite(values).all()
            assert got[0] <= values.min() <= values.max() <= got[1], (got, values)
    assert held >= 5
    assert name not in bounds.RULES or name in str(traced)


def test_every_rule_is_held_against_numbers() -> None:
    moved = bounds.MOVES - {"select_n", "pad", "clamp", "gather", "reduce_max", "reduce_min"}
    assert set(bounds.RULES) - moved - set(FUNCTIONS) == {"add_any", "iota", "convert_element_type"}


def waves(x: Any) -> Any:
    """A square, and cosines of which the gradient knows nothing."""
    return jnp.sum(x * x) + jax.lax.stop_gradient(jnp.sum(jnp.cos(x)))


@pytest.mark.parametrize("dim", [2, 6])
def test_steps_that_are_not_recorded_do_without_f(dim: int, monkeypatch: Any) -> None:
    job = sweep.Job(
        of(waves, dim), gdlab.methods.gradient(), gdlab.schedules.constant(0.1),
        np.ones((1, dim)), 100, 0.0, sweep.record_marks(100),
    )  # fmt: skip

    def cosines() -> int:
        with numerics.computing():
            (group,) = plan.plan([job])
            width = pool.width(dim)
            lanes, _ = plan.stack([0], [job], np.array([width]))
            state = loops.start(group.program, lanes, np.ones((dim, width)))
            block = loops._Block(group.program, {}, lanes)
            one = jnp.ones(width)

            def free(state: Any) -> Any:
                return block.unless(state, jnp.ones((8, 1)), 0, one, one)

            return jax.jit(free).lower(state).compile().as_text().count(" cosine(")

    assert cosines() == 0
    monkeypatch.setattr(watch, "reach_of", lambda *_: (0.0, 0.0))
    assert cosines() > 0
