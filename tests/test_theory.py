"""What theory promises is what descent does, on the functions that attain the bounds.

Each case returns (measured, promised); where the bound is attained they are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from driver import descend
from scipy.special import eval_chebyt
from sklearn.datasets import load_breast_cancer

from gdlab import methods, schedules, theory
from gdlab.schedules.chebyshev import fractal_order
from gdlab.types import Facts

GRADIENT = methods.gradient()


def bowl(data: Any, x: Any) -> Any:
    """sum lambda_i x_i^2/2."""
    return 0.5 * jnp.sum(data["lam"] * x * x)


def turned(data: Any, x: Any) -> Any:
    """(x - 1)'H(x - 1)/2 with H dense, so that rounding errors reach every eigenvector."""
    return 0.5 * (x - 1) @ data["H"] @ (x - 1)


def tilted(data: Any, x: Any) -> Any:
    """x'Hx/2, H = [[3, 2], [2, 3]]: eigenvalue 5 along (1, 1), 1 along (1, -1)."""
    return 1.5 * x[0] ** 2 + 2 * x[0] * x[1] + 1.5 * x[1] ** 2 + 0 * data["w"]


def huber(data: Any, x: Any) -> Any:
    w, a = data["w"], jnp.abs(x[0])
    return jnp.where(a <= w, a * a / 2, w * a - w * w / 2)


def wavy(data: Any, x: Any) -> Any:
    """x^2 + 3 sin^2 x: not convex, but Polyak-Lojasiewicz with L = 8, mu >= 1/32."""
    return x[0] ** 2 + 3 * jnp.sin(x[0]) ** 2 + 0 * data["w"]


def lanes(values: Any) -> np.ndarray:
    return np.asarray(values, float)[:, None]


def on_bowl(spectrum: Any, x0: Any, method: Any, schedule: Any, steps: int) -> Any:
    spectrum = np.asarray(spectrum, float)
    facts = Facts(L=spectrum.max(), mu=spectrum.min(), f_star=0.0, quadratic=True)
    return descend(bowl, {"lam": lanes(spectrum)}, lanes(x0), method, schedule, steps, facts)


def on_huber(w: float, schedule: Any, steps: int, method: Any = GRADIENT) -> Any:
    one = np.ones((1, 1))
    return descend(huber, {"w": [w]}, one, method, schedule, steps, Facts(L=1.0, f_star=0.0))


# Attained bounds.


def constant_step(eta: float) -> tuple[Any, Any]:
    """|x_i| shrinks by |1 - eta lambda_i|; the largest is the contraction."""
    got = on_bowl([1, 4, 5], [1.0, 1.0, 1.0], GRADIENT, schedules.constant(eta), 1)
    return np.abs(got.x[1]).max(), theory.gradient_contraction(eta, np.array([1.0, 4.0, 5.0]))


def best_constant_step() -> tuple[Any, Any]:
    got = on_bowl([1, 5], [1.0, 1.0], GRADIENT, schedules.constant(1.0, "2/(L+mu)"), 1)
    return np.abs(got.x[1, :, 0]), [theory.best_contraction(5, 1)] * 2


def exact_line_search() -> tuple[Any, Any]:
    """Kantorovich's worst start: x_i proportional to 1/lambda_i."""
    got = on_bowl([1, 5], [5.0, 1.0], GRADIENT, schedules.exact(), 6)
    return got.value[1:] / got.value[:-1], theory.exact_contraction(5, 1)


def chebyshev(n: int, order: str) -> tuple[Any, Any]:
    """The error at lambda = mu after a cycle is 1/T_n."""
    got = on_bowl([1, 100], [1.0, 1.0], GRADIENT, schedules.chebyshev(n, order), n)
    factor = theory.chebyshev_factor(100, 1, n)
    assert math.isclose(factor, 1 / eval_chebyt(n, 101 / 99), rel_tol=1e-12)
    return np.abs(got.x[n, :, 0]), [factor, factor]


def huber_constant(t: int, eta: float) -> tuple[Any, Any]:
    got = on_huber(theory.huber_width(1.0, t * eta, 1.0), schedules.constant(eta), t)
    return got.value[t], theory.sharp_convex_bound(1.0, eta, 1.0, t)


def descent_lemma(eta: float) -> tuple[Any, Any]:
    """Attained where all curvature is L."""
    got = on_bowl([5.0], [3.0], GRADIENT, schedules.constant(eta), 1)
    return got.value[0] - got.value[1], theory.descent_lemma(eta, 5.0, 15.0)


def saddle_escape() -> tuple[Any, Any]:
    """x grows by 1 + eta |lambda| a step: from eps it passes 1 after the ceiling of the time."""
    eps, eta = 1e-8, 0.1
    got = descend(
        bowl, {"lam": lanes([1, -2])}, lanes([1.0, eps]), GRADIENT, schedules.constant(eta), 150
    )
    return np.argmax(got.x[:, 1, 0] >= 1), math.ceil(theory.saddle_escape_time(eta, -2.0, eps))


def polyak_on_a_parabola() -> tuple[Any, Any]:
    """(lambda x^2/2)/(lambda x)^2 = 1/(2 lambda): x halves."""
    got = on_bowl([7.0], [1.0], GRADIENT, schedules.polyak(), 10)
    return got.x[:, 0, 0], 0.5 ** np.arange(11)


def newton_on_a_quadratic() -> tuple[Any, Any]:
    got = on_bowl([1, 100], [3.0, -2.0], methods.newton(), schedules.constant(1.0), 1)
    return got.x[1, :, 0], [0.0, 0.0]


ATTAINED = [
    *((constant_step, (eta,)) for eta in (0.1, 1 / 3, 0.39, 0.41)),
    (best_constant_step, ()),
    (exact_line_search, ()),
    *((chebyshev, (n, "fractal")) for n in (1, 2, 4, 8, 16, 32)),
    *((chebyshev, (n, order)) for n in (3, 7) for order in ("ascending", "descending")),
    *((huber_constant, (t, eta)) for t in (1, 5, 40) for eta in (0.3, 1.0)),
    *((descent_lemma, (eta,)) for eta in (0.1, 0.2, 0.5)),
    (saddle_escape, ()),
    (polyak_on_a_parabola, ()),
    (newton_on_a_quadratic, ()),
]


@pytest.mark.parametrize(("case", "args"), ATTAINED, ids=lambda v: getattr(v, "__name__", str(v)))
def test_the_bound_is_attained(case: Callable[..., tuple[Any, Any]], args: tuple[Any, ...]) -> None:
    measured, promised = case(*args)
    promised = np.broadcast_to(np.asarray(promised, float).T, np.shape(np.squeeze(measured)))
    np.testing.assert_allclose(np.squeeze(measured), promised, rtol=1e-11, atol=1e-14)


# Bounds that hold (and are not wasteful: the last number is how close descent comes).


def worst_over_widths(schedule: Any, steps: int, method: Any = GRADIENT) -> np.ndarray:
    """The largest f over Huber functions of many widths, from x_0 = 1."""
    widths = np.geomspace(1e-4, 1, 400)
    got = descend(
        huber, {"w": widths}, np.ones((1, 400)), method, schedule, steps, Facts(L=1.0, f_star=0.0)
    )
    return got.value.max(axis=1)


def nesterov_values(method: Any, spectrum: Any, x0: Any, steps: int) -> np.ndarray:
    """f at z_{t+1} = x_t - g_t/L, where the theorems hold, for t = 0 .. steps."""
    got = on_bowl(spectrum, x0, method, schedules.constant(1.0, "1/L"), steps)
    lam = lanes(spectrum)
    z = got.x * (1 - lam / lam.max())
    return 0.5 * np.sum(lam * z**2, axis=(1, 2))


def bounds() -> dict[str, tuple[Any, Any, float]]:
    t = range(1, 64)
    cases: dict[str, tuple[Any, Any, float]] = {}
    gradient = worst_over_widths(schedules.constant(1.0, "1/L"), 63)[1:]
    cases["gradient"] = gradient, [theory.convex_bound(1.0, 1.0, 1.0, k) for k in t], 0.4
    ends = [2**k - 1 for k in range(1, 7)]
    silver = worst_over_widths(schedules.silver(), 63)[ends]
    cases["silver"] = silver, [theory.silver_bound(1.0, 1.0, k) for k in range(1, 7)], 0.4
    lam = np.geomspace(1e-4, 1, 20)
    x0 = np.ones(20) / math.sqrt(20)
    convex = nesterov_values(methods.nesterov("convex"), lam, x0, 63)
    cases["nesterov convex"] = (
        convex, [theory.nesterov_convex_bound(1.0, 1.0, 1.0, k + 1) for k in range(64)], 1e-2,
    )  # fmt: skip
    strong = nesterov_values(methods.nesterov("optimal"), [1, 30, 100], [1.0, 0, 0], 63)
    cases["nesterov optimal"] = (
        strong, [theory.nesterov_bound(100, 1, 1.0, k + 1) for k in range(64)], 1e-3,
    )  # fmt: skip
    polyak = np.minimum.accumulate(worst_over_widths(schedules.polyak(), 63))[1:]
    cases["polyak"] = polyak, [theory.polyak_bound(1.0, 1.0, k) for k in t], 1e-3
    return cases


cached_bounds = lru_cache(bounds)


@pytest.mark.parametrize(
    "name", ["gradient", "silver", "nesterov convex", "nesterov optimal", "polyak"]
)
def test_the_bound_holds(name: str) -> None:
    measured, promised, share = cached_bounds()[name]
    assert np.all(measured <= np.asarray(promised) * (1 + 1e-12))
    assert np.max(measured / np.asarray(promised)) >= share


# Worst cases over all functions of a class, |x_0 - x*| = 1 and L = 1: semidefinite programs of
# PEPit, solved by Clarabel to about 1e-7. mu is 0.1 for the strongly convex.
WORST = [
    *((theory.convex_bound, (1.0, eta, 1.0, t), worst) for eta, t, worst in (
        (0.3, 1, 0.3125), (1.0, 1, 0.1666667), (1.0, 3, 0.0714286), (1.0, 8, 0.0294118),
    )),
    *((theory.sharp_convex_bound, (1.0, eta, 1.0, t), worst) for eta, t, worst in (
        (0.3, 1, 0.3125), (0.3, 8, 0.0862069), (1.0, 3, 0.0714286), (1.0, 8, 0.0294118),
    )),
    *((theory.silver_bound, (1.0, 1.0, k), worst) for k, worst in (
        (1, 0.1306019), (2, 0.0469182), (3, 0.0184215), (4, 0.0074693),
    )),
    *((theory.nesterov_convex_bound, (1.0, 1.0, 1.0, t), worst) for t, worst in (
        (1, 0.1666667), (2, 0.1), (5, 0.0357143), (9, 0.0151515),
    )),
    *((theory.nesterov_bound, (1.0, 0.1, 1.0, t), worst) for t, worst in (
        (1, 0.1494465), (2, 0.0612288), (5, 0.0229326), (9, 0.0035061),
    )),
    (theory.exact_contraction, (1.0, 0.1), 0.6694215),
    (theory.lojasiewicz_rate, (1.0, 0.1), 0.81),
    # L |x_0 - x*|^2/(mean t), which was taken for a bound, is 5.8, 12.9 and 21.5 times below.
    (theory.long_step_bound, (1.0, 1.0, 2, 8), 0.3317102),
    (theory.long_step_bound, (1.0, 1.0, 3, 12), 0.4083252),
    (theory.long_step_bound, (1.0, 1.0, 7, 14), 0.4802980),
    # One pattern from a gap of Delta L D^2, from which the quadratic decrease begins.
    (theory.long_step_bound, (1.0, 10.0, 2, 2, 1.0), 0.9555544),
    (theory.long_step_bound, (1.0, 100.0, 3, 3, 1.0), 0.9992098),
]  # fmt: skip


@pytest.mark.parametrize(("bound", "args", "worst"), WORST, ids=lambda v: getattr(v, "__name__", v))
def test_no_function_is_worse_than_the_bound(bound: Any, args: Any, worst: float) -> None:
    assert worst <= bound(*args) + 1e-7


@pytest.mark.parametrize("pattern", [2, 3, 7, 15])
def test_long_steps_keep_their_bound_after_whole_patterns(pattern: int) -> None:
    """On Huber functions of all widths, the parabola among them; and close to it in the end."""
    ends = np.unique(np.geomspace(1, 6000 // pattern, 12).astype(int)) * pattern
    widths = np.append(np.geomspace(1e-5, 1, 60), 1e3)
    facts = Facts(L=1.0, f_star=0.0)
    rule, one = schedules.long_steps(pattern), np.ones((1, len(widths)))
    got = descend(huber, {"w": widths}, one, GRADIENT, rule, int(ends[-1]), facts)
    gap = got.value[0]
    promised = np.array(
        [[theory.long_step_bound(1.0, 1.0, pattern, int(t), v) for v in gap] for t in ends]
    )
    assert np.all(got.value[ends] <= promised * (1 + 1e-9))
    assert np.max(got.value[ends] / promised) > 0.99
    far = theory.long_step_bound(1.0, 1.0, pattern, pattern * 10**8)
    assert math.isclose(far * theory.LONG_STEPS[pattern][0] * pattern * 10**8, 1.0, rel_tol=1e-3)


@pytest.mark.parametrize(
    ("bound", "args", "says"),
    [
        (theory.long_step_bound, (1.0, 1.0, 7, 10), "t=10: takes a multiple of the pattern's 7"),
        (theory.long_step_bound, (1.0, 1.0, 5, 10), "pattern=5: takes one of 2, 3, 7"),
        (theory.convex_bound, (2.0, 0.6, 1.0, 3), "eta=0.6: the bound takes 0 < eta <= 1/L = 0.5"),
        (theory.sharp_convex_bound, (1.0, 1.5, 1.0, 3), "eta=1.5: the bound takes"),
        (theory.nesterov_convex_bound, (1.0, 1.5, 1.0, 3), "eta=1.5: the bound takes"),
    ],
)
def test_no_bound_is_given_where_none_holds(bound: Any, args: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bound(*args)


def test_lojasiewicz() -> None:
    """Karimi, Nutini and Schmidt's example: the rate holds with mu = 1/32."""
    x0 = np.linspace(-6, 6, 601)[None]
    got = descend(wavy, {"w": np.zeros(601)}, x0, GRADIENT, schedules.constant(1 / 8), 1)
    ratio = got.value[1] / np.maximum(got.value[0], 1e-300)
    assert ratio.max() <= theory.lojasiewicz_rate(8, 1 / 32)
    # One step from the worst start, published as 0.9553318202.
    assert 0.955 < ratio.max() <= 0.9553318202 + 1e-8


def test_coordinate_descent_shrinks_f() -> None:
    got = on_bowl(
        [1, 3, 5], [1.0, 2.0, 0.5], methods.coordinate(), schedules.constant(1.0, "1/L"), 60
    )
    ratio = got.value[1:] / got.value[:-1]
    assert ratio.max() <= theory.coordinate_rate(5, 1, 3)


def test_armijo_steps_are_not_small() -> None:
    schedule = schedules.backtracking(3.0, c=0.2, shrink=0.5)
    got = on_bowl([1, 4, 5], [1.0, -2.0, 1.0], GRADIENT, schedule, 40)
    assert got.step_size.min() >= theory.armijo_least_step(3.0, 0.2, 0.5, 5.0)
    assert got.step_size.min() < 3.0


@pytest.mark.parametrize(
    ("method", "schedule", "rate"),
    [
        ("gradient", schedules.constant(1.0, "2/(L+mu)"), theory.best_contraction(100, 1)),
        (
            "heavy_ball",
            schedules.constant(1.0, "4/(sqrt(L)+sqrt(mu))^2"),
            theory.heavy_ball_rate(100, 1),
        ),
        ("nesterov", schedules.constant(1.0, "4/(3L+mu)"), theory.nesterov_tuned_rate(100, 1)),
    ],
)
def test_rates_on_a_spectrum_of_1_to_100(method: str, schedule: Any, rate: float) -> None:
    """The published rates; a double root adds a factor t, hence the tolerance."""
    published = {"gradient": 0.98019802, "heavy_ball": 0.81818182, "nesterov": 0.88472192}
    assert math.isclose(rate, published[method], abs_tol=1e-8)
    momentum = {"heavy_ball": "optimal", "nesterov": "tuned"}.get(method)
    rule = getattr(methods, method)(**({"momentum": momentum} if momentum else {}))
    steps = {"gradient": 1000, "heavy_ball": 150, "nesterov": 240}[method]
    got = on_bowl(np.arange(1, 101), np.ones(100), rule, schedule, steps)
    norm = np.linalg.norm(got.x[:, :, 0], axis=1)
    measured = (norm[-1] / norm[steps // 2]) ** (1 / (steps - steps // 2))
    assert math.isclose(measured, rate, abs_tol=1e-8 if method == "gradient" else 1e-2)
    assert measured >= rate - 1e-8


@pytest.mark.parametrize(("eta", "momentum"), [(0.02, 0.5), (0.01, 0.9), (0.025, 0.3)])
def test_radii_are_the_eigenvalues_of_the_two_step_map(eta: float, momentum: float) -> None:
    """Against the companion matrices of (x_{t+1}, x_t), eigenvalue by eigenvalue of H."""
    spectrum = np.array([1.0, 30.0, 100.0])
    m = momentum
    ball = [np.array([[1 + m - eta * lam, -m], [1, 0]]) for lam in spectrum]
    nag = [(1 - eta * lam) * np.array([[1 + m, -m], [0, 0]]) + [[0, 0], [1, 0]] for lam in spectrum]
    for matrices, radius in ((ball, theory.heavy_ball_radius), (nag, theory.nesterov_radius)):
        largest = max(np.abs(np.linalg.eigvals(a)).max() for a in matrices)
        assert math.isclose(radius(eta, m, spectrum), largest, rel_tol=1e-7)
    # At Polyak's numbers every root has modulus sqrt(m).
    rate = theory.heavy_ball_rate(100, 1)
    assert math.isclose(theory.heavy_ball_radius(4 / 121, rate**2, spectrum), rate, rel_tol=1e-7)


# Published numbers.


def test_textbook_figures() -> None:
    """Goodfellow, Bengio and Courville, figs. 4.1 and 4.6 and eq. 4.9, to 1e-12."""
    to_axes = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    worst = to_axes @ [1 / 5, 1.0]
    x0 = np.stack([worst, [15.0, -5.0]], axis=1)
    facts = Facts(L=5.0, mu=1.0, quadratic=True)
    got = descend(tilted, {"w": np.zeros(2)}, x0, GRADIENT, schedules.exact(), 10, facts)
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(got.value[1:, 0] / got.value[:-1, 0], 4 / 9, **close)
    np.testing.assert_allclose(got.step_size[:, 0], 1 / 3, **close)
    np.testing.assert_allclose(got.x[2:, :, 0] / got.x[:-2, :, 0], 4 / 9, **close)
    np.testing.assert_allclose(got.value[1, 1] / got.value[0, 1], 0.2756244616709733, **close)
    np.testing.assert_allclose(got.step_size[0, 1], 0.2248062015503876, **close)
    np.testing.assert_array_equal(got.hvp_evals[:, 0], np.arange(1, 11))
    g = np.einsum("ij,tjb->tib", [[3, 2], [2, 3]], got.x)
    np.testing.assert_allclose(np.sum(g[1:] * g[:-1], axis=1), 0, atol=1e-11)

    fixed = {0.1: 0.9, 1 / 3: 2 / 3, 0.39: 0.95, 0.41: 1.05}
    for eta, contraction in fixed.items():
        assert math.isclose(
            theory.gradient_contraction(eta, np.array([1.0, 5.0])), contraction, abs_tol=1e-12
        )

    half = on_bowl([1.0], [2.0], GRADIENT, schedules.constant(0.1), 10)
    np.testing.assert_allclose(half.x[10, 0, 0], 0.6973568802, **close)


def test_least_directional_derivative() -> None:
    """Over all angles u'g is least, -|g|, at pi: for directions on a grid of the circle too."""
    g = np.array([3.0, -4.0])
    angles = np.linspace(0, 2 * math.pi, 3601)
    slopes = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ g
    u = np.array([math.cos(angles[slopes.argmin()]), math.sin(angles[slopes.argmin()])])
    np.testing.assert_allclose(u, -g / 5, atol=2e-3)
    assert theory.directional_derivative(5.0, theory.steepest_angle()) == -5.0
    assert slopes.min() >= -5.0
    towards_g = np.arctan2(g[1], g[0])
    expected = [theory.directional_derivative(5.0, a) for a in angles - towards_g]
    np.testing.assert_allclose(slopes, expected, atol=1e-12)


def test_published_chebyshev_factors_and_order() -> None:
    published = {4: 0.746367602, 8: 0.386063435, 16: 0.0805232833, 32: 0.00325254433}
    for n, factor in published.items():
        assert math.isclose(theory.chebyshev_factor(100, 1, n), factor, rel_tol=1e-8)
    assert fractal_order(8).tolist() == [1, 8, 4, 5, 2, 7, 3, 6]


@pytest.mark.parametrize("order", ["ascending", "descending", "fractal"])
def test_the_fractal_order_survives_rounding(order: str) -> None:
    """128 Chebyshev steps at condition number 1e4: in order, rounding errors grow past 1."""
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]
    H = (q * np.geomspace(1, 1e4, 40)) @ q.T
    got = descend(
        turned,
        {"H": H[:, :, None]},
        np.zeros((40, 1)),
        GRADIENT,
        schedules.chebyshev(128, order),
        128,
        Facts(L=1e4, mu=1.0),
    )
    promised = theory.chebyshev_factor(1e4, 1, 128)
    kept = np.linalg.norm(got.x[-1] - 1) <= promised * np.linalg.norm(got.x[0] - 1)
    assert kept == (order == "fractal")


def test_published_long_steps() -> None:
    """Grimmer's table 1: the mean step, and the speed-up over 1/L on Huber's function."""
    mean = [2.2, 2.633333, 3.2, 3.86, 4.603226, 5.225397, 5.834646]
    speed = [2.19985, 2.63313, 3.19972, 3.85964, 4.60278, 5.22486, 5.83403]
    for length, m, s in zip((2, 3, 7, 15, 31, 63, 127), mean, speed, strict=True):
        schedule = schedules.long_steps(length)
        h = schedule.sizes(np.arange(length))
        assert math.isclose(h.mean(), m, rel_tol=1e-6)
        np.testing.assert_array_equal(h, h[::-1] if length > 2 else h)
        steps = length * (4000 // length)
        width = theory.huber_width(1.0, steps * h.mean(), 1.0)
        end = on_huber(width, schedule, steps).value[-1, 0]
        plain = theory.sharp_convex_bound(1.0, 1.0, 1.0, steps)
        assert math.isclose(plain / end, s, rel_tol=5e-4)


def test_published_adgd_on_breast_cancer() -> None:
    """Malitsky and Mishchenko's experiment: steps until f - f* <= 1e-6."""
    A, b = load_breast_cancer(return_X_y=True)
    A = (A - A.mean(axis=0)) / A.std(axis=0)
    largest = np.linalg.eigvalsh(A.T @ A / len(b))[-1] / 4
    ridge = largest / (10 * len(b))

    def logistic(data: Any, w: Any) -> Any:
        z = A @ w
        return jnp.mean(jnp.logaddexp(0, z) - b * z) + (ridge / 2 + 0 * data["w"]) * jnp.sum(w * w)

    facts = Facts(L=largest + ridge, mu=ridge, f_star=0.05480886001900609)
    wanted = {
        "nesterov": (884, methods.nesterov("convex"), schedules.constant(1.0, "1/L")),
        "adgd": (226, GRADIENT, schedules.adgd()),
        "polyak": (108, GRADIENT, schedules.polyak()),
    }
    for count, method, schedule in wanted.values():
        got = descend(logistic, {"w": [0.0]}, np.zeros((30, 1)), method, schedule, 1000, facts)
        steps = int(np.argmax(got.value[:, 0] - facts.f_star < 1e-6))
        assert math.isclose(steps, count, rel_tol=0.02)
