"""Every method with every schedule, step by step against NumPy; line searches keep their word."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import driver
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax_cases
import pytest
from driver import descend

import gdlab
from gdlab import inits, methods, objectives, registry, schedules
from gdlab.errors import MissingFact
from gdlab.types import Facts

# Three lanes descend on a quadratic (w = 1) and three on Rosenbrock's function (w = 0).
W = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
X0 = np.array([[15.0, 1.0, -2.0, -1.2, 0.3, 2.0], [-5.0, 0.7, 2.5, 1.0, -0.4, 1.5]])
FACTS = Facts(L=5.0, mu=1.0, f_star=0.0, quadratic=True)
STEPS = 24
H = np.array([[3.0, 2.0], [2.0, 3.0]])


def both(data: Any, x: Any) -> Any:
    """w x'Hx/2 + (1 - w) Rosenbrock(x)."""
    bowl = 0.5 * (3 * x[0] ** 2 + 4 * x[0] * x[1] + 3 * x[1] ** 2)
    valley = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    return data["w"] * bowl + (1 - data["w"]) * valley


def numpy_f(w: float, x: np.ndarray) -> float:
    return x @ H @ x / 2 if w else 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def numpy_g(w: float, x: np.ndarray) -> np.ndarray:
    if w:
        return H @ x
    bend = x[1] - x[0] ** 2
    return np.array([-400 * x[0] * bend - 2 * (1 - x[0]), 200 * bend])


def numpy_h(w: float, x: np.ndarray) -> np.ndarray:
    if w:
        return H
    return np.array([[1200 * x[0] ** 2 - 400 * x[1] + 2, -400 * x[0]], [-400 * x[0], 200.0]])


# Directions, as generators: they are sent (w, x) and yield p.


def plain(direction: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Iterator[Any]]:
    def rule() -> Iterator[Any]:
        p = None
        while True:
            w, x = yield p
            p = direction(numpy_g(w, x))

    return rule


def greedy(g: np.ndarray) -> np.ndarray:
    p = np.zeros(2)
    i = 0 if abs(g[0]) >= abs(g[1]) else 1
    p[i] = -g[i]
    return p


def remembering(m: Callable[[int], float], lookahead: bool) -> Callable[[], Iterator[Any]]:
    def rule() -> Iterator[Any]:
        p, v, t = None, np.zeros(2), 0
        while True:
            w, x = yield p
            g = numpy_g(w, x)
            v = m(t - 1) * v + g
            p = -(m(t) * v + g) if lookahead else -v
            t += 1

    return rule


def numpy_adam() -> Iterator[Any]:
    p, m, v, t = None, np.zeros(2), np.zeros(2), 0
    while True:
        w, x = yield p
        g = numpy_g(w, x)
        t += 1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = -(m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def numpy_newton() -> Iterator[Any]:
    p = None
    while True:
        w, x = yield p
        p = -np.linalg.solve(numpy_h(w, x) + 0.5 * np.eye(2), numpy_g(w, x))


METHODS = {
    "gradient": (methods.gradient(), plain(lambda g: -g)),
    "heavy_ball": (methods.heavy_ball(0.8), remembering(lambda t: 0.8, False)),
    "heavy_ball optimal": (
        methods.heavy_ball("optimal"),
        remembering(lambda t: ((math.sqrt(5) - 1) / (math.sqrt(5) + 1)) ** 2, False),
    ),
    "nesterov": (methods.nesterov(0.8), remembering(lambda t: 0.8, True)),
    "nesterov convex": (
        methods.nesterov("convex"),
        remembering(lambda t: max(t, 0) / (max(t, 0) + 3), True),
    ),
    "sign": (methods.sign(), plain(lambda g: -np.sign(g))),
    "sign scaled": (methods.sign(scaled=True), plain(lambda g: -abs(g).sum() * np.sign(g))),
    "coordinate": (methods.coordinate(), plain(greedy)),
    "adam": (methods.adam(), numpy_adam),
    "newton": (methods.newton(0.5), numpy_newton),
}


# Schedules, as generators: they are sent (t, w, x, p) and yield (eta, trial points so far).


def sizes(eta: Callable[[int], float]) -> Callable[[], Iterator[Any]]:
    def rule() -> Iterator[Any]:
        out = None
        while True:
            t, *_ = yield out
            out = eta(t), 0

    return rule


def numpy_exact() -> Iterator[Any]:
    out = None
    while True:
        _, w, x, p = yield out
        curvature = p @ numpy_h(w, x) @ p
        out = (-(numpy_g(w, x) @ p) / curvature if curvature > 0 else np.inf), 0


def numpy_armijo(eta0: float, c: float, shrink: float, most: int, grow: float) -> Any:
    def rule() -> Iterator[Any]:
        out, last, spent = None, 0.0, 0
        while True:
            _, w, x, p = yield out
            f, slope = numpy_f(w, x), numpy_g(w, x) @ p
            eta, taken = min(eta0, grow * last) if last > 0 else eta0, 0.0
            for _ in range(most if slope < 0 else 0):
                spent += 1
                after, slope_after = numpy_f(w, x + eta * p), numpy_g(w, x + eta * p) @ p
                level = abs(after - f) <= 64 * np.finfo(float).eps * abs(f)
                by_slope = slope_after <= (2 * c - 1) * slope
                if by_slope if level else after <= f + c * eta * slope:
                    taken = eta
                    break
                eta *= shrink
            last, out = taken, (taken, spent)

    return rule


def numpy_polyak() -> Iterator[Any]:
    out = None
    while True:
        _, w, x, p = yield out
        slope = numpy_g(w, x) @ p
        out = (numpy_f(w, x) / -slope if slope < 0 else 0.0), 0


def numpy_secant(first: float, rule: Callable[..., float]) -> Callable[[], Iterator[Any]]:
    def generator() -> Iterator[Any]:
        _, w, x, _ = yield None
        before, eta, theta = x, first, math.inf
        while True:
            _, w, x, _ = yield eta, 0
            s, y = x - before, numpy_g(w, x) - numpy_g(w, before)
            new = rule(s, y, eta, theta) if s @ s > 0 else eta
            theta, eta, before = new / eta, new, x

    return generator


CHEBYSHEV = [2 / (6 - 4 * math.cos((k - 0.5) * math.pi / 8)) for k in (1, 8, 4, 5, 2, 7, 3, 6)]
RULER = [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0, 4] * 2
SCHEDULES = {
    "constant": (schedules.constant(0.002), sizes(lambda t: 0.002)),
    "constant 1/L": (schedules.constant(0.01, "1/L"), sizes(lambda t: 0.01 / 5)),
    "constant 2/(L+mu)": (schedules.constant(0.01, "2/(L+mu)"), sizes(lambda t: 0.01 / 3)),
    "constant heavy": (
        schedules.constant(0.01, "4/(sqrt(L)+sqrt(mu))^2"),
        sizes(lambda t: 0.04 / (math.sqrt(5) + 1) ** 2),
    ),
    "constant tuned": (schedules.constant(0.01, "4/(3L+mu)"), sizes(lambda t: 0.01 / 4)),
    "inverse_time": (
        schedules.inverse_time(0.002, 0.5, power=0.7),
        sizes(lambda t: 0.002 / (1 + t / 2) ** 0.7),
    ),
    "exponential": (
        schedules.exponential(0.002, 0.3, 5),
        sizes(lambda t: 0.002 * math.exp(math.log(0.3) * t / 5)),
    ),
    "step_decay": (schedules.step_decay(0.002, 0.3, 5), sizes(lambda t: 0.002 * 0.3 ** (t // 5))),
    "cosine": (
        schedules.cosine(0.002, horizon=20, final=0.1, warmup=4),
        sizes(
            lambda t: (
                0.002
                * (
                    (t + 1) / 5
                    if t < 4
                    else 0.1 + 0.9 * math.cos(math.pi * min(t - 4, 16) / 32) ** 2
                )
            )
        ),
    ),
    "polynomial": (
        schedules.polynomial(0.002, horizon=20, final=0.1, power=2),
        sizes(lambda t: 0.002 * (0.1 + 0.9 * max(0, 20 - t) ** 2 / 400)),
    ),
    "silver": (
        schedules.silver(0.01),
        sizes(lambda t: 0.002 * (1 + (1 + math.sqrt(2)) ** (RULER[t] - 1))),
    ),
    "long_steps": (
        schedules.long_steps(7, 0.01),
        sizes(lambda t: 0.002 * [1.5, 2.2, 1.5, 12.0, 1.5, 2.2, 1.5][t % 7]),
    ),
    "chebyshev": (schedules.chebyshev(8), sizes(lambda t: CHEBYSHEV[t % 8])),
    "exact": (schedules.exact(), numpy_exact),
    "backtracking": (
        schedules.backtracking(0.7, c=0.1, shrink=0.4),
        numpy_armijo(0.7, 0.1, 0.4, 50, math.inf),
    ),
    "backtracking warm": (
        schedules.backtracking(2.0, c=1e-3, shrink=0.6, grow=1.9),
        numpy_armijo(2.0, 1e-3, 0.6, 50, 1.9),
    ),
    "polyak": (schedules.polyak(), numpy_polyak),
    "barzilai_borwein": (
        schedules.barzilai_borwein(1e-3),
        numpy_secant(1e-3, lambda s, y, eta, _: s @ s / (s @ y) if s @ y > 0 else eta),
    ),
    "barzilai_borwein short": (
        schedules.barzilai_borwein(1e-3, "short"),
        numpy_secant(1e-3, lambda s, y, eta, _: s @ y / (y @ y) if s @ y > 0 else eta),
    ),
    "adgd": (
        schedules.adgd(1e-3),
        numpy_secant(
            1e-3,
            lambda s, y, eta, theta: min(
                math.sqrt(1 + theta) * eta, math.sqrt(s @ s) / math.sqrt(y @ y) / 2
            ),
        ),
    ),
}


def numpy_descent(direction: Any, sizing: Any, w: float, path: np.ndarray) -> Any:
    """From each x_t of a path: x_{t+1}, eta_t and trial points, by NumPy's own memory.

    Ends where |g| <= 1e-6, where rounding decides, or where x has left the ball of radius 100.
    Starting from the path's x_t keeps chaos (silver steps on Rosenbrock's function double an
    error at each step) from hiding what is compared: the rule, in each of its steps.
    """
    direction, sizing = direction(), sizing()
    next(direction), next(sizing)
    xs, etas, spent = [], [], []
    for t, x in enumerate(path[:-1]):
        if not np.linalg.norm(numpy_g(w, x)) > 1e-6 or not np.linalg.norm(x) < 100:
            break
        p = direction.send((w, x))
        eta, evals = sizing.send((t, w, x, p))
        xs.append(x + eta * p), etas.append(eta), spent.append(evals)
    return np.array(xs).reshape(-1, 2), np.array(etas), np.array(spent)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", METHODS)
def test_a_rule_agrees_with_a_numpy_loop(method: str, schedule: str) -> None:
    rule, direction = METHODS[method]
    sized, sizing = SCHEDULES[schedule]
    got = descend(both, {"w": W}, X0, rule, sized, STEPS, FACTS)
    compared = 0
    for lane, w in enumerate(W):
        if schedule == "exact" and not w:
            continue
        xs, etas, spent = numpy_descent(direction, sizing, w, got.x[:, :, lane])
        n = len(etas)
        np.testing.assert_allclose(got.x[1 : n + 1, :, lane], xs, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.step_size[:n, lane], etas, rtol=1e-12)
        np.testing.assert_array_equal(got.f_evals[:n, lane], spent)
        compared += n
    assert compared >= 6


@pytest.mark.parametrize("momentum", [0.8, "optimal", "tuned", "convex"])
def test_nesterov_is_the_textbook_two_sequence_form(momentum: Any) -> None:
    got = descend(
        both, {"w": W}, X0, methods.nesterov(momentum), schedules.constant(1e-4), STEPS, FACTS
    )
    k = 5.0
    named = {
        "optimal": (math.sqrt(k) - 1) / (math.sqrt(k) + 1),
        "tuned": (math.sqrt(3 * k + 1) - 2) / (math.sqrt(3 * k + 1) + 2),
    }
    for lane, w in enumerate(W):
        y = z = X0[:, lane]
        for t in range(STEPS):
            np.testing.assert_allclose(got.x[t, :, lane], y, rtol=1e-12, atol=1e-12)
            m = t / (t + 3) if momentum == "convex" else named.get(momentum, momentum)
            after = y - 1e-4 * numpy_g(w, y)
            y, z = after + m * (after - z), after


def test_heavy_ball_is_polyaks_two_step_form() -> None:
    got = descend(both, {"w": W}, X0, methods.heavy_ball(0.8), schedules.constant(1e-4), STEPS)
    for lane, w in enumerate(W):
        before = x = X0[:, lane]
        for t in range(STEPS):
            np.testing.assert_allclose(got.x[t, :, lane], x, rtol=1e-12, atol=1e-12)
            before, x = x, x - 1e-4 * numpy_g(w, x) + 0.8 * (x - before)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (schedules.backtracking(0.7), schedules.backtracking(1.0, 0.3, 0.8, 9, 2.0)),
        (schedules.cosine(0.1), schedules.silver(0.3, "absolute")),
        (schedules.polyak(), schedules.polyak(0.5, f_star=-1.0)),
    ],
)
def test_other_numbers_need_no_other_program(first: Any, second: Any) -> None:
    count = []
    for rule, m in ((first, 0.5), (second, "optimal")):
        descend(both, {"w": W}, X0, methods.heavy_ball(m), rule, STEPS, FACTS)
        count.append(driver.compilations)
    assert count[0] == count[1]


def test_numbers_differ_from_lane_to_lane() -> None:
    facts = [Facts(L=L, mu=1.0) for L in (5.0, 6.0, 7.0, 1e3, 2e3, 3e3)]
    together = descend(
        both, {"w": W}, X0, methods.nesterov("optimal"), schedules.chebyshev(4), 8, facts
    )
    for lane, fact in enumerate(facts):
        alone = descend(
            both, {"w": W[[lane]]}, X0[:, [lane]],
            methods.nesterov("optimal"), schedules.chebyshev(4), 8, fact,
        )  # fmt: skip
        np.testing.assert_allclose(together.x[:, :, lane], alone.x[:, :, 0], rtol=1e-12)


# Line searches.


def assert_armijo(
    f: Callable[[np.ndarray], float],
    g: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    p: np.ndarray,
    eta: float,
    c: float,
) -> None:
    """f(x + eta p) <= f(x) + c eta p'g, to within the rounding of f."""
    assert eta > 0
    slack = 64 * np.finfo(float).eps * abs(f(x))
    assert f(x + eta * p) <= f(x) + c * eta * (p @ g(x)) + slack


@pytest.mark.parametrize("grow", [None, 1.0, 3.0])
@pytest.mark.parametrize(
    ("c", "shrink", "eta0"), [(1e-4, 0.5, 1.0), (0.3, 0.9, 0.1), (0.9, 0.1, 8)]
)
def test_backtracking_keeps_armijo_and_counts(
    c: float, shrink: float, eta0: float, grow: float | None
) -> None:
    schedule = schedules.backtracking(eta0, c, shrink, max_evals=200, grow=grow)
    rule = optax.chain(optax.scale(-1.0), schedule.transform(**schedule.params))
    checked = evaluations = 0

    def count(_: Any) -> None:
        nonlocal evaluations
        evaluations += 1

    for w in (1.0, 0.0):

        def f(x: Any, w: float = w) -> Any:
            jax.debug.callback(count, x[0])
            return both({"w": w}, x)

        @jax.jit
        def update(g: Any, state: Any, x: Any, value: Any, f: Any = f) -> Any:
            return rule.update(g, state, x, value=value, grad=g, value_fn=f)

        evaluations, x = 0, jnp.array([-1.2, 1.0])
        state = rule.init(x)
        for _ in range(15):
            value, g = numpy_f(w, np.asarray(x)), numpy_g(w, np.asarray(x))
            u, state = update(g, state, x, value)
            eta = float(state[1].step_size)
            assert_armijo(
                lambda x, w=w: numpy_f(w, x),
                lambda x, w=w: numpy_g(w, x),
                np.asarray(x),
                -g,
                eta,
                c,
            )
            np.testing.assert_array_equal(u, -eta * g)
            assert eta <= eta0
            x, checked = x + u, checked + 1
        jax.effects_barrier()
        assert evaluations == int(state[1].f_evals) >= 15
    assert checked == 30


def test_backtracking_reaches_the_last_digits() -> None:
    """Where f is level to its last place, the slope decides: |g| still falls to 1e-10."""

    def high(data: Any, x: Any) -> Any:
        return 1e3 + both(data, x)

    got = descend(
        high, {"w": W}, X0, methods.gradient(), schedules.backtracking(1.0, grow=2.0), 500
    )
    for lane in range(3):
        assert np.linalg.norm(numpy_g(1.0, got.x[-1, :, lane])) < 1e-10
    rise = np.diff(got.value, axis=0)
    assert np.all(rise <= 64 * np.finfo(float).eps * got.value[:-1])


def log_barrier(x: Any) -> Any:
    return jnp.sum(x - jnp.log(x))


@pytest.mark.parametrize(
    ("case", "x", "p", "steps", "evals"),
    [
        ("uphill", [2.0, 2.0], [1.0, 1.0], 0, 0),
        ("level", [2.0, 1.0], [0.0, 1.0], 0, 0),
        ("no number", [2.0, 2.0], [np.nan, 1.0], 0, 0),
        ("beyond the domain, then back", [2.0, 2.0], [-8.0, -8.0], 1, 4),
        ("no step is small enough", [2.0, 2.0], [-1e300, -1e300], 0, 20),
        ("infinite", [2.0, 2.0], [-np.inf, -1.0], 0, 20),
    ],
)
def test_backtracking_on_bad_directions(
    case: str, x: list[float], p: list[float], steps: int, evals: int
) -> None:
    schedule = schedules.backtracking(max_evals=20)
    rule = schedule.transform(**schedule.params)
    x, p = jnp.array(x), jnp.array(p)
    value, g = jax.value_and_grad(log_barrier)(x)
    u, state = jax.jit(
        lambda: rule.update(p, rule.init(x), x, value=value, grad=g, value_fn=log_barrier)
    )()
    assert (state.step_size > 0) == bool(steps), case
    assert int(state.f_evals) == evals
    assert bool(jnp.all(jnp.isfinite(x + u)))
    assert bool(log_barrier(x + u) <= value)


def by_norm(x: Any) -> Any:
    """|x|^2, whose gradient is 0/0 at 0 by way of the norm."""
    return jnp.linalg.norm(x) ** 2


def by_parts(x: Any) -> Any:
    """(x1 - 1)^2 + x2, with a square root that is not asked for at x1 <= 1 but has a slope there.

    Forwards its derivative is 0 there, backwards 0 times infinity.
    """
    spare = jnp.where(x[0] > 1, 0 * jnp.sqrt(x[0] - 1), 0.0)
    return (x[0] - 1) ** 2 + spare + x[1]


@pytest.mark.parametrize(
    ("f", "x", "p"), [(by_norm, [2.0, 2.0], [-4.0, -4.0]), (by_parts, [3.0, 0.0], [-4.0, -1.0])]
)
def test_backtracking_takes_no_trial_without_a_gradient(
    f: Callable[[Any], Any], x: list[float], p: list[float]
) -> None:
    """The trial with eta = 1/2 is the best there is, but the descent would end there."""
    rule = schedules.backtracking().transform(eta0=0.5, c=1e-4, shrink=0.5, max_evals=9, grow=2.0)
    x, p = jnp.array(x), jnp.array(p)
    value, g = jax.value_and_grad(f)(x)
    assert f(x + p / 2) < value
    assert not np.isfinite(jax.grad(f)(x + p / 2)).all()
    u, state = rule.update(p, rule.init(x), x, value=value, grad=g, value_fn=f)
    assert float(state.step_size) == 0.25
    assert np.isfinite(jax.grad(f)(x + u)).all()


def test_polyak_refuses_a_minimum_above_the_known_one() -> None:
    """It would stand still where f reaches it; where no minimum is known, it is believed."""
    rule = schedules.polyak(f_star=0.5)
    with pytest.raises(ValueError, match=r"f_star=0.5 takes a minimum, .* falls to 0; leave"):
        rule.params["f_star"](FACTS)
    for facts in (Facts(), Facts(f_star=0.5), Facts(f_star=0.7)):
        assert rule.params["f_star"](facts) == 0.5
    with pytest.raises(MissingFact, match=r"f_star=0\.5 takes a minimum, and booth"):
        gdlab.descend(objectives.booth(), [3.0, 1.0], schedule=rule)


def test_exact_search_on_a_saddle_falls_without_bound() -> None:
    rule = schedules.exact().transform(quadratic=1.0)
    x, f = jnp.array([0.5, 2.0]), lambda x: x[0] ** 2 - x[1] ** 2
    g = jax.grad(f)(x)
    _, state = rule.update(-g, rule.init(x), x, value=f(x), grad=g, value_fn=f)
    assert math.isinf(state.step_size)
    _, state = rule.update(0 * g, rule.init(x), x, value=f(x), grad=0 * g, value_fn=f)
    assert state.step_size == 0
    assert state.hvp_evals == 1


def test_secant_rules_where_nothing_is_learnt() -> None:
    """On a slope without curvature y = 0 and |s|/|y| is infinite: AdGD grows, by its own ratio."""
    got = descend(slope, {"w": W}, X0, methods.gradient(), schedules.barzilai_borwein(0.1), 5)
    np.testing.assert_array_equal(got.step_size, 0.1)
    got = descend(slope, {"w": W}, X0, methods.gradient(), schedules.adgd(0.1), 12)
    theta, eta = 1.0, [0.1, 0.1]
    while len(eta) < 12:
        eta.append(math.sqrt(1 + theta) * eta[-1])
        theta = eta[-1] / eta[-2]
    np.testing.assert_allclose(got.step_size[:, 0], eta, rtol=1e-12)


def slope(data: Any, x: Any) -> Any:
    return data["w"] + x[0] + x[1]


# Words.


MOMENTUM = {"heavy_ball": "optimal", "nesterov": "tuned"}


@pytest.mark.parametrize(
    ("kind", "name", "params", "facts", "message"),
    [
        ("schedule", "constant", {"unit": "1/L"}, Facts(), "constant with unit 1/L needs L"),
        ("schedule", "cosine", {"unit": "2/(L+mu)"}, Facts(L=1.0), "cosine with unit 2/(L+mu)"),
        ("schedule", "exact", {}, Facts(), "exact needs a quadratic objective"),
        ("schedule", "polyak", {}, Facts(), "polyak needs f_star"),
        ("schedule", "chebyshev", {}, Facts(L=1.0), "chebyshev needs mu"),
        ("schedule", "silver", {}, Facts(), "silver with unit 1/L needs L"),
        *(
            ("method", name, {"momentum": m}, Facts(L=1.0), f"{name} with momentum {m} needs mu")
            for name, m in MOMENTUM.items()
        ),
    ],
)
def test_a_missing_fact_is_named(
    kind: str, name: str, params: dict[str, Any], facts: Facts, message: str
) -> None:
    rule = registry.build(kind, name, params)
    asked = {"scale": getattr(rule, "scale", 1.0), **rule.params}
    with pytest.raises(MissingFact) as error:
        [value(facts) for value in asked.values() if callable(value)]
    assert str(error.value).startswith(message)
    assert "; this objective " in str(error.value)


@pytest.mark.parametrize(
    ("kind", "name", "params", "key"),
    [
        ("schedule", "constant", {"eta": 0.0}, "eta"),
        ("schedule", "constant", {"eta": -1}, "eta"),
        ("schedule", "constant", {"eta": math.nan}, "eta"),
        ("schedule", "constant", {"eta": "fast"}, "eta"),
        ("schedule", "constant", {"unit": "1/mu"}, "unit"),
        ("schedule", "inverse_time", {"decay": -0.1}, "decay"),
        ("schedule", "inverse_time", {"power": 0}, "power"),
        ("schedule", "exponential", {"rate": 1.5}, "rate"),
        ("schedule", "step_decay", {"period": 0}, "period"),
        ("schedule", "cosine", {"horizon": 10, "warmup": 10}, "horizon"),
        ("schedule", "cosine", {"final": 2}, "final"),
        ("schedule", "polynomial", {"horizon": math.inf}, "horizon"),
        ("schedule", "long_steps", {"pattern": 5}, "pattern"),
        ("schedule", "chebyshev", {"cycle": 12}, "cycle"),
        ("schedule", "chebyshev", {"cycle": 0}, "cycle"),
        ("schedule", "backtracking", {"c": 1}, "c"),
        ("schedule", "backtracking", {"shrink": 0}, "shrink"),
        ("schedule", "backtracking", {"max_evals": 0}, "max_evals"),
        ("schedule", "backtracking", {"grow": 0.5}, "grow"),
        ("schedule", "polyak", {"eta": 0}, "eta"),
        ("schedule", "polyak", {"f_star": math.nan}, "f_star"),
        ("schedule", "adgd", {"eta0": 0}, "eta0"),
        ("schedule", "barzilai_borwein", {"variant": "medium"}, "variant"),
        ("method", "heavy_ball", {"momentum": 1.0}, "momentum"),
        ("method", "nesterov", {"momentum": "best"}, "momentum"),
        ("method", "adam", {"b1": 1}, "b1"),
        ("method", "adam", {"eps": 0}, "eps"),
        ("method", "newton", {"damping": -1}, "damping"),
    ],
)
def test_a_bad_number_is_named(kind: str, name: str, params: dict[str, Any], key: str) -> None:
    with pytest.raises(registry.UsageError, match=f"{key}.*=.*") as error:
        registry.build(kind, name, params)
    assert "\n" not in str(error.value)
    with pytest.raises(registry.UsageError) as called:
        getattr({"schedule": schedules, "method": methods}[kind], name)(**params)
    assert str(called.value) == str(error.value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: schedules.constant(0.1, unit="1/l"),
            r"schedule\.unit=1/l: takes 'absolute'",
        ),
        (
            lambda: schedules.constant(np.ones(2)),
            r"eta=\[1\.0, 1\.0\]: takes a valid number",
        ),
        (lambda: schedules.constant(0.1, "1/L", 3), "schedule=constant: takes 2 arguments, got 3"),  # type: ignore[call-arg]
        (lambda: schedules.constant(0.1, eta=0.2), r"schedule\.eta=0.2: is given twice"),
        (
            lambda: schedules.constant(ete=0.2),  # type: ignore[call-arg]
            r"schedule\.ete=0.2: .*; did you mean eta",
        ),
        (lambda: inits.point(), r"init\.x is missing: point takes float"),  # type: ignore[call-arg]
        (lambda: inits.uniform(samples=1.5), r"init\.samples=1.5: takes a valid integer"),
        (lambda: objectives.monomial(5), r"objective\.power=5: takes 2, 3 or 4"),
    ],
)
def test_a_call_from_python_is_checked_as_a_command_line_is(
    call: Callable[[], Any], says: str
) -> None:
    with pytest.raises(registry.UsageError, match=says):
        call()


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (
            np.ones(9),
            r"schedule mine: sizes takes a function of the steps",
        ),
        (lambda t: np.ones(9)[t], r"sizes is asked for the steps t = 0 to 9 and is too short"),
        (lambda t: 0.1, r"gives an array of shape \(\), float64; takes 1"),
        (lambda t: np.full((len(t), 2), 0.1), r"gives an array of shape \(\d+, 2\)"),
        (lambda t: 1j * t, "complex128; takes 1"),
    ],
)
def test_step_sizes_that_are_none_are_refused_in_one_line(sizes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        gdlab.descend(
            objectives.booth(), [1.0, 1.0], schedule=gdlab.Schedule("mine", sizes=sizes), steps=9
        )
    assert "\n" not in str(error.value)


def test_arrays_and_numbers_of_numpy_are_taken_as_lists_and_numbers() -> None:
    assert schedules.constant(np.float32(0.5)) == schedules.constant(0.5)
    assert objectives.quadratic(spectrum=np.array([1.0, 2.0])).facts.L == 2.0
    assert objectives.rosenbrock(dim=np.int64(3)).dim == 3


@pytest.mark.parametrize("kind", ["method", "schedule"])
def test_every_rule_is_documented_and_equal_to_itself(kind: str) -> None:
    own = {n: f for n, f in registry.factories(kind).items() if f.__module__.startswith("gdlab.")}
    assert len(own) >= 7
    for name, factory in own.items():
        for section in ("Needs:", "Guarantee:", "Reference:"):
            assert section in factory.__doc__, f"{name} lacks {section}"
        keys = optax_cases.NEEDED.get(name, {})
        made = factory(**keys)
        assert made == factory(**keys)
        hash((made.transform, getattr(made, "sizes", None)))
