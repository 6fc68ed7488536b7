"""No false certificate, no false kind that is called stable, global only where it is true.

Points and functions whose nature is known from closed forms, from matrices of given inertia, or
from the theory of linear networks; most of them are chosen to deceive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from gdlab import registry
from gdlab.critical.cycles import periods
from gdlab.critical.rules import CRITICAL
from gdlab.critical.verdict import judge
from gdlab.types import CriticalPoints, Facts, Objective, Verdict

MINIMUM, MAXIMUM, DEGENERATE = "minimum", "maximum", "degenerate"
PLATEAU, NOWHERE = "plateau", "not_critical"


@dataclass(frozen=True)
class Case:
    """A point of f and what is true of it.

    Attributes:
        truth: the kind; `saddle 2` for one of index 2; `rough` where f has no Hessian there.
        said: kinds that a verdict may give: the truth, or that it does not know.
        is_global: the truth, where `f_star` is given.
    """

    name: str
    f: Callable[..., Any]
    x: Any
    truth: str
    said: tuple[str, ...] = ()
    f_star: float | None = None
    is_global: bool | None = None
    gtol: float = 1e-6
    words: str = ""


def is_true(v: Verdict, truth: str) -> bool:
    if truth.startswith("saddle"):
        return v.kind == "saddle" and v.index == int(truth.split()[1])
    if truth == "rough":
        return v.kind == NOWHERE or (v.kind == DEGENERATE and v.index is None)
    return v.kind == truth


def assert_honest(v: Verdict, case: Case) -> None:
    if v.certified:
        assert is_true(v, case.truth), f"{case.name}: certified {v.label}"
        assert case.truth not in (DEGENERATE, PLATEAU, NOWHERE, "rough"), case.name
    if v.stable and v.kind in CRITICAL:
        assert is_true(v, case.truth), f"{case.name}: stable {v.label}"
    if v.is_global:
        assert case.is_global is True, f"{case.name}: global with f = {v.value}"
    if v.is_global is False:
        assert case.is_global is False, f"{case.name}: not global with f = {v.value}"
    allowed = case.said or (case.truth.split()[0],)
    assert is_true(v, case.truth) or v.kind in allowed, f"{case.name}: {v.label} ({v.note})"
    assert case.words in v.note, f"{case.name}: {v.note}"


def verdict_of(case: Case) -> Verdict:
    x = np.atleast_1d(np.asarray(case.x, float))
    objective = Objective(case.f, len(x), facts=Facts(f_star=case.f_star))
    (v,) = judge(objective, x, "converged", case.gtol)
    return v


def well(x: Any) -> Any:
    return (x**2 - 1) ** 2


GLOBAL = [
    Case("stiff well", lambda x: 5e7 * x[1] ** 2 + well(x[0]) + 0.02 * (x[0] - 1) ** 2,
         [-0.98984, 0.0], MINIMUM, f_star=0.0, is_global=False, gtol=1.0),
    Case("stiff well, its bottom", lambda x: 5e7 * x[1] ** 2 + well(x[0]) + 0.02 * (x[0] - 1) ** 2,
         [1.0, 0.0], MINIMUM, f_star=0.0, is_global=True),
    Case("small gap", lambda x: 500 * x[1] ** 2 + well(x[0]) + 1e-7 * (x[0] - 1) ** 2,
         [-1.0, 0.0], MINIMUM, f_star=0.0, is_global=False),
    Case("tilt of 1e-10", lambda x: well(x[0]) + 1e-10 * x[0], [1.0], MINIMUM,
         f_star=-1e-10, is_global=False),
    Case("tilt of 1e-10, its bottom", lambda x: well(x[0]) + 1e-10 * x[0], [-1.0], MINIMUM,
         f_star=-1e-10, is_global=True),
    Case("raised quartic", lambda x: 1e-12 * ((x[0] - 1) ** 4 + 1), [1.0], DEGENERATE,
         f_star=0.0, is_global=False),
    Case("quartic", lambda x: 1e-12 * (x[0] - 1) ** 4, [1.0], DEGENERATE, f_star=0.0,
         is_global=True),
    Case("cancelled", lambda x: (1e12 + well(x[0]) + 1e-5 * (x[0] - 1) ** 2) - 1e12, [-1.0],
         MINIMUM, (PLATEAU, NOWHERE, DEGENERATE), f_star=0.0, is_global=False),
    *(Case(f"cancelled, {lift:g}", lambda x, a=lift: (a + well(x[0]) + 1e-10 * x[0]) - a, [1.0],
           MINIMUM, f_star=-1e-10, is_global=False) for lift in (1e3, 1e6, 1e7)),
    Case("cancelled, steep",
         lambda x: (1e12 + 1e7 * well(x[0]) + 2.5e-5 * (x[0] - 1) ** 2) - 1e12, [-1.0], MINIMUM,
         f_star=0.0, is_global=False, gtol=1.0),
    *(Case(f"filled by {name}", lambda x, hole=hole: (x[0] + 1) ** 2 * (x[0] - 2) ** 2
           + jnp.where(hole(x[0]), 5.0, 0.0), [-1.0], MINIMUM, f_star=0.0, is_global=False)
      for name, hole in (("isnan", lambda z: jnp.isnan(jnp.sqrt(z - 0.5))),
                         ("isfinite", lambda z: ~jnp.isfinite(jnp.log(z))))),
    Case("lifted", lambda x: 1e8 + well(x[0]) + 1e-3 * (x[0] - 1) ** 2, [-0.99975], MINIMUM,
         f_star=1e8, is_global=False, gtol=1e-3),
    Case("least squares", lambda x: (x[0] * x[1] - 0.3) ** 2, [0.5, 0.6], DEGENERATE,
         f_star=0.0, is_global=True),
    Case("maximum at f_star", lambda x: -(x[0] ** 2), [0.0], MAXIMUM, f_star=0.0),
]  # fmt: skip
SIZES = [1e-300, 1e-200, 1e-100, 1e-12, 1.0, 1e12, 1e100, 1e200, 1e290]
for size in SIZES:
    for at, low in ((1.0, False), (-1.0, True)):
        GLOBAL.append(
            Case(f"tilt, {size:g}, {at:g}", lambda x, s=size: s * (well(x[0]) + 1e-3 * x[0]),
                 [at - 1.25e-4], MINIMUM, f_star=size * -1.0000156e-3,
                 is_global=low if low else False, gtol=size)
        )  # fmt: skip


def sector(x: Any) -> Any:
    return x[0] ** 2 > x[1] ** 2


def quadrants(x: Any) -> Any:
    square = x[0] ** 2 + x[1] ** 2
    return jnp.where(x[0] * x[1] > 0, square - 5 * x[0] * x[1], square)


ORIGIN = [0.0, 0.0]
ROUGH = [
    Case("|x^2 - y^2|", lambda x: jnp.abs(x[0] ** 2 - x[1] ** 2), ORIGIN, "rough"),
    Case("sectors of x^2 - y^2/2",
         lambda x: jnp.where(sector(x), x[0] ** 2 - x[1] ** 2 / 2, x[1] ** 2 - x[0] ** 2 / 2),
         ORIGIN, "rough"),
    Case("quadrants", lambda x: quadrants(x), ORIGIN, "rough"),
    Case("max - 2 min",
         lambda x: jnp.maximum(x[0] ** 2, x[1] ** 2) - 2 * jnp.minimum(x[0] ** 2, x[1] ** 2),
         ORIGIN, "rough"),
    *(Case(f"|x_1^2 - the others|, d = {d}", lambda x: jnp.abs(x[0] ** 2 - jnp.sum(x[1:] ** 2)),
           [0.0] * d, "rough") for d in (3, 10, 20, 150)),
    Case("|xy|", lambda x: jnp.abs(x[0] * x[1]) + x[0] ** 2, ORIGIN, "rough"),
    Case("|x^2 - y^2| beside a stiff direction",
         lambda x: jnp.abs(x[0] ** 2 - x[1] ** 2) + 1e6 * x[2] ** 2, [0.0, 0.0, 0.0], "rough"),
    Case("quadrants beside a stiff direction", lambda x: quadrants(x) + 1e9 * jnp.sum(x[2:] ** 2),
         [0.0] * 6, "rough"),
    Case("x|x|", lambda x: x[0] * jnp.abs(x[0]), [0.0], "rough"),
    Case("|x|^1.5", lambda x: jnp.abs(x[0]) ** 1.5, [0.0], "rough"),
    Case("|x|", lambda x: jnp.abs(x[0]), [0.0], "rough"),
    Case("|x| + |y|", lambda x: jnp.abs(x).sum(), ORIGIN, "rough"),
    Case("max(x, -2x)", lambda x: jnp.maximum(x[0], -2 * x[0]), [0.0], "rough"),
    Case("norm", lambda x: jnp.sqrt(x[0] ** 2 + x[1] ** 2 + 1e-300), ORIGIN, "rough"),
    Case("relu^2", lambda x: jax.nn.relu(x[0]) ** 2 + jnp.abs(x[0]) * x[0] / 3, [0.0], "rough"),
    Case("two parabolas", lambda x: jnp.where(x[0] > 0, 3 * x[0] ** 2, x[0] ** 2), [0.0], "rough"),
    Case("three sectors", lambda x: jnp.where(
        x[1] > jnp.abs(x[0]), 2 * x[1] ** 2 - x[0] ** 2, x[0] ** 2), ORIGIN, "rough"),
    Case("step down", lambda x: x[0] ** 2 - jnp.where(x[0] > 0, 1.0, 0.0), [0.0], "rough"),
    Case("sign", lambda x: x[0] ** 2 + jnp.sign(x[0]), [0.0], "rough"),
    Case("indicator", lambda x: x[0] ** 2 - (x[0] > 0).astype(float), [0.0], "rough"),
    Case("floor", lambda x: x[0] ** 2 + jnp.floor(x[0]), [0.0], "rough"),
    *(Case(f"kink {off} aside", lambda x: jnp.where(x[0] < -1, (x[0] + 1) ** 2, x[0] ** 2 - 1),
           [-1 - off], "rough") for off in (0.0, 5e-15, 2e-14, 3e-13)),
    *(Case(f"jump {off} aside", lambda x: x[0] * jnp.mod(x[0], 1.0), [-1 - off], "rough")
      for off in (0.0, 5e-15, 2e-14, 3e-13)),
    Case("floor of a shift", lambda x: (x[0] - 1) ** 2 - 0.25 * jnp.floor(x[0]), [1.0], "rough"),
    Case("round", lambda x: (x[0] - 0.5) ** 2 + jnp.round(x[0]), [0.5], "rough"),
    Case("|x|^3", lambda x: jnp.abs(x[0]) ** 3, [0.0], DEGENERATE),
    Case("|x|^3 + x^2", lambda x: jnp.abs(x[0]) ** 3 + x[0] ** 2, [0.0], MINIMUM),
    Case("relu^4 + x^2", lambda x: jax.nn.relu(x[0]) ** 4 + x[0] ** 2, [0.0], MINIMUM),
    Case("huber", lambda x: jnp.where(jnp.abs(x[0]) < 1, x[0] ** 2, 2 * jnp.abs(x[0]) - 1), [0.0],
         MINIMUM),
    Case("max beside", lambda x: jnp.maximum(x[0] - 3, 0.0) + x[0] ** 2, [0.0], MINIMUM),
    Case("logaddexp", lambda x: jnp.logaddexp(x[0], -x[0]), [0.0], MINIMUM),
    Case("softplus", lambda x: jax.nn.softplus(x[0]) - 0.5 * x[0], [0.0], MINIMUM),
    Case("cos far out", lambda x: jnp.cos(x[0]), [1e7 * np.pi], MAXIMUM),
    Case("cos between", lambda x: -jnp.cos(x[0]), [2e6 * np.pi], MINIMUM),
    Case("narrow root", lambda x: jnp.sqrt(x[0] ** 2 + 1e-20), [0.0], MINIMUM),
    Case("narrow root, moved", lambda x: jnp.sqrt(x[0] ** 2 + 1e-16), [1e-12], MINIMUM,
         gtol=1e-3),
    Case("sinc", lambda x: jnp.sinc(x[0]), [0.0], MAXIMUM),
    Case("sinc, beside", lambda x: jnp.sinc(x[0]), [1e-9], MAXIMUM),
    *(Case(f"sinc(x) cos(2x), from {far}", lambda x: jnp.sinc(x[0]) * jnp.cos(2 * x[0]), [far],
           MAXIMUM) for far in (0.0, 1e-5)),
    *(Case(f"product of sincs, from {far}", lambda x: jnp.sinc(x[0]) * jnp.sinc(x[1]), [far, far],
           MAXIMUM) for far in (0.0, 1e-5, 0.1)),
    Case("sinc, from afar", lambda x: jnp.sinc(x[0]), [0.1], MAXIMUM),
    Case("sin(x) / x", lambda x: jnp.where(x[0] == 0, 1.0, jnp.sin(x[0]) / x[0]), [1e-5], MAXIMUM,
         (DEGENERATE,)),
    Case("wrinkle", lambda x: jnp.maximum(x[0], -9.0) ** 2 / 2 + 3e-18 * jnp.cos(1e9 * x[0]),
         [0.0], MAXIMUM, (DEGENERATE,)),
    Case("quotient", lambda x: x[0] ** 2 / (1 + x[0] ** 2), [0.0], MINIMUM),
    Case("x^8", lambda x: x[0] ** 8, [0.1], DEGENERATE),
    Case("x^20", lambda x: x[0] ** 20, [0.3], DEGENERATE),
    Case("x^4 + y^2", lambda x: x[0] ** 4 + x[1] ** 2, [1e-3, 1e-9], DEGENERATE),
    Case("x^3", lambda x: x[0] ** 3, [1e-4], DEGENERATE),
    Case("soft valley", lambda x: 0.5 * x[0] ** 2 + 0.5e-14 * x[1] ** 2, [0.0, 1.0], MINIMUM),
    Case("soft valley, beside", lambda x: 0.5 * x[0] ** 2 + 0.5e-14 * x[1] ** 2, [1e-9, 0.5],
         MINIMUM),
    Case("soft ridge", lambda x: 0.5 * x[0] ** 2 - 0.5e-14 * x[1] ** 2, [0.0, 1e-3], "saddle 1"),
    Case("underflow", lambda x: 1e-300 * x[0] ** 4, [1e-3], DEGENERATE, (PLATEAU,)),
    Case("underflow, quadratic", lambda x: 1e-290 * x[0] ** 2, [1e-9], MINIMUM),
    Case("drop under a stiff direction", lambda x: 1e12 * x[1] ** 2 - 1e-7 * x[0], [1.0, 0.0],
         NOWHERE, (PLATEAU,)),
    Case("slope under rounding", lambda x: x[0] ** 2 + 1e-13 * x[1], [0.0, 2.0], NOWHERE,
         (PLATEAU,)),
    Case("exp tail", lambda x: jnp.exp(-x[0]), [25.0], NOWHERE, (PLATEAU,)),
    Case("gauss tail", lambda x: -jnp.exp(-(x[0] ** 2)), [6.0], NOWHERE, (PLATEAU,)),
    Case("inverse tail", lambda x: 1 / x[0], [1e4], NOWHERE, (PLATEAU,)),
    Case("log tail", lambda x: jnp.log1p(x[0] ** -2), [1e4], NOWHERE, (PLATEAU,)),
    Case("logistic tail", lambda x: jnp.log1p(jnp.exp(-x[0])), [22.0], NOWHERE, (PLATEAU,)),
    Case("tail and well", lambda x: jnp.exp(-x[0]) + x[1] ** 2, [24.0, 1e-9], NOWHERE, (PLATEAU,)),
    Case("inflection", lambda x: x[0] ** 3 + 1e-7 * x[0], [0.0], NOWHERE, (PLATEAU,)),
    Case("near fold", lambda x: x[0] ** 3 / 3 + 1e-10 * x[0], [1e-6], NOWHERE, (PLATEAU,)),
    Case("fold", lambda x: x[0] ** 3 / 3 - 1e-6 * x[0], [1e-3], MINIMUM),
    Case("monkey saddle", lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1e-5, 1e-5], DEGENERATE),
    Case("flat", lambda x: 0.0 * x[0], [1.0], PLATEAU),
    Case("circle of minima", lambda x: (x[0] ** 2 + x[1] ** 2 - 1) ** 2, [0.6, 0.8], DEGENERATE),
    Case("Rosenbrock, 1e9", lambda x: 1e9 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, [1.0, 1.0],
         MINIMUM, (DEGENERATE,)),
    Case("Rosenbrock, 1e6", lambda x: 1e6 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, [1.0, 1.0],
         MINIMUM),
]  # fmt: skip


def test_a_cone_may_lie_between_all_directions() -> None:
    """f = -|x|^2 within 0.6 degrees of a line that no sampled direction meets."""

    def f(x: Any) -> Any:
        along, across = x[0] + 0.309336 * x[1], x[1] - 0.309336 * x[0]
        return jnp.where(across**2 < 1e-4 * along**2, -1.0, 1.0) * (x[0] ** 2 + x[1] ** 2)

    case = Case("cone", f, ORIGIN, "rough", (MINIMUM,))
    assert_honest(verdict_of(case), case)


def test_an_inventory_has_one_lowest_value() -> None:
    """Both minima of the inventory are f_star to 1e-10; they differ by 0.004."""

    def f(x: Any) -> Any:
        return 1e8 + well(x[0]) + 1e-3 * (x[0] - 1) ** 2

    low = brentq(lambda x: 4 * x * (x * x - 1) + 2e-3 * (x - 1), -1.1, -0.9, xtol=1e-15)
    x = np.array([[low], [1.0]])
    known = CriticalPoints(x, np.array([float(f([low])), 1e8]), np.array([0, 0]))
    objective = Objective(f, 1, facts=Facts(f_star=1e8, critical_points=known))
    upper, lowest = judge(objective, x, "converged", 1e-2)
    assert (upper.reached, upper.is_global) == (0, None)
    assert (lowest.reached, lowest.is_global) == (1, True)


@pytest.mark.parametrize("case", GLOBAL + ROUGH, ids=lambda case: case.name)
def test_points_of_known_nature(case: Case) -> None:
    assert_honest(verdict_of(case), case)


def test_a_descent_that_stopped_at_a_kink_does_not_lead_anywhere() -> None:
    (v,) = judge(Objective(lambda x: jnp.abs(x[0]), 1), np.zeros((1, 1)) + 1e-9, "budget")
    assert v.kind == NOWHERE
    assert "polishing leads" not in v.note


def test_a_point_at_rounding_level_has_arrived_whatever_the_tolerance() -> None:
    f = Objective(lambda x: (x[0] * x[1] - 0.3) ** 2, 2, facts=Facts(f_star=0.0))
    (v,) = judge(f, np.array([[0.5, 0.6 + 1e-15]]), "budget", 0.0)
    assert (v.kind, v.nullity, v.is_global) == (DEGENERATE, 1, True)


def test_a_descent_at_rest_has_arrived_though_a_soft_direction_is_left() -> None:
    f = Objective(lambda x: 0.5 * x[0] ** 2 + 0.5e-9 * x[1] ** 2, 2)
    (v,) = judge(f, np.array([[0.0, 1e-8]]), "budget", 0.0)
    assert (v.kind, v.moved) == (MINIMUM, 1e-8)
    (v,) = judge(f, np.array([[0.0, 1e-5]]), "budget", 0.0)
    assert v.kind == NOWHERE


def test_no_minimum_where_the_gradient_has_no_root() -> None:
    """f' = x^2 - 2000 x + c > 0 by less than its rounding error; then with two roots."""

    def f(data: Any, x: Any) -> Any:
        return x[0] ** 3 / 3 - 1000 * x[0] ** 2 + data["c"] * x[0]

    x = 1000 + np.linspace(-5e-5, 5e-5, 200)[:, None]
    none = Objective(f, 1, {"c": np.float64(np.nextafter(1e6, 2e6))})
    for v in judge(none, x, "converged", 1e-6):
        assert not (v.stable and v.kind in ("minimum", "maximum", "saddle"))
        assert not v.certified
    two = Objective(f, 1, {"c": np.float64(1e6 - 1.0)})
    low, high = judge(two, np.array([[1001.0], [999.0]]), "converged", 1e-6)
    assert (low.kind, high.kind) == (MINIMUM, MAXIMUM)


def quadratic(data: Any, x: Any) -> Any:
    z = x - data["c"]
    return 0.5 * z @ (data["A"] @ z)


def spectrum(d: int, condition: float, negative: int, null: int) -> np.ndarray:
    values = np.logspace(0, -np.log10(condition), d)
    values[:negative] *= -1
    if null:
        values[-null:] = 0.0
    return values


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 13, 21, 40])
def test_quadratics_of_given_inertia(d: int) -> None:
    rng = np.random.default_rng(d)
    objectives, truths, x = [], [], []
    for condition in (1.0, 1e6, 1e12):
        for negative, null in {(0, 0), (d, 0), (d // 2, 0), (d // 3, d // 2), (0, d // 4)}:
            for size in (1e-280, 1.0, 1e280):
                if null and condition > 1e6:
                    continue  # a null eigenvalue must lie apart from the others
                Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
                A = size * (Q * spectrum(d, condition, negative, null)) @ Q.T
                c = rng.uniform(-2, 2, d)
                objectives.append(Objective(quadratic, d, {"A": 0.5 * (A + A.T), "c": c}))
                kind = MINIMUM if negative == 0 else MAXIMUM if negative == d else "saddle"
                truths.append((DEGENERATE if null else kind, negative, null))
                x.append(c + 1e-10 * rng.standard_normal(d))
    gtol = [1e-6 * max(float(np.abs(o.data["A"]).max()), 1e-300) for o in objectives]
    verdicts = judge(objectives, np.array(x), "converged", gtol, owner=np.arange(len(x)))
    for v, truth in zip(verdicts, truths, strict=True):
        assert (v.kind, v.index, v.nullity) == truth
        assert v.stable or v.nullity == 0


def graded(data: Any, x: Any) -> Any:
    return 0.5 * jnp.sum(data["h"] * x * x) + 0.1 * jnp.prod(x)


@pytest.mark.parametrize("ratio", [1e4, 1e8, 1e12, 1e14])
def test_variables_of_very_different_size(ratio: float) -> None:
    h = np.array([ratio, 1.0, -1.0, ratio**0.5])
    for sign, truth in ((1.0, "saddle 1"), (-1.0, "saddle 3")):
        objective = Objective(graded, 4, {"h": sign * h})
        (v,) = judge(objective, np.full((1, 4), 1e-10), "converged", 1e-2 * ratio)
        assert_honest(v, Case("graded", graded, v.x, truth))
        assert is_true(v, truth)


T = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1,
              689.1, 760.0])  # fmt: skip
Y = np.array([10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40,
              75.47, 81.78])  # fmt: skip


def misra1a(x: Any) -> Any:
    return jnp.sum((Y - x[0] * (1 - jnp.exp(-x[1] * T))) ** 2)


def test_misra1a_of_nist_is_a_minimum() -> None:
    """Certified values of NIST's Misra1a: 238.94212918, 5.5015643181e-4, residuals 0.12455138894.

    Its Hessian has the eigenvalues 2.8e-3 and 1.6e11.
    """
    x = np.array([[2.3894212918e02, 5.5015643181e-04]])
    (v,) = judge(Objective(misra1a, 2), x, "converged", 1.0)
    assert v.kind == MINIMUM
    assert abs(v.value - 0.12455138894) < 1e-10


def linear_net(data: Any, x: Any) -> Any:
    p, q = data["X"].shape[0], data["Y"].shape[0]
    h = x.shape[0] // (p + q)
    A, B = x[: q * h].reshape(q, h), x[q * h :].reshape(h, p)
    return jnp.mean(jnp.sum((data["Y"] - A @ (B @ data["X"])) ** 2, axis=0))


def reduced_rank(X: np.ndarray, Y: np.ndarray, h: int, which: list[int]) -> np.ndarray:
    """A critical point of the two-layer linear network: the projection on some eigenvectors.

    Reference: P. Baldi and K. Hornik, Neural Networks 2 (1989) 53, facts 1 to 4.
    """
    W = Y @ X.T @ np.linalg.inv(X @ X.T)
    S = W @ X @ Y.T
    U = np.linalg.eigh(0.5 * (S + S.T))[1][:, ::-1][:, which]
    A = np.zeros((len(Y), h))
    A[:, : len(which)] = U
    return np.concatenate([A.ravel(), (A.T @ W).ravel()])


def test_critical_points_of_a_linear_autoencoder() -> None:
    """Six pairs of four principal directions: one the minimum, the others saddles; all of them
    manifolds of dimension 4, the orbits of GL(2)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4, 150)) * np.array([[2.0], [0.5], [1.1], [0.25]])
    X = np.linalg.qr(rng.standard_normal((4, 4)))[0] @ X
    objective = Objective(linear_net, 16, {"X": X, "Y": X}, ("X", "Y"))
    pairs = [[i, j] for i in range(4) for j in range(i)]
    x = np.array([reduced_rank(X, X, 2, pair) for pair in pairs])
    for noise in (0.0, 1e-9):
        moved = x + noise * rng.standard_normal(x.shape)
        for v, (i, j) in zip(judge(objective, moved, "converged", 1e-6), pairs, strict=True):
            better = sum(k < i for k in range(4) if k not in (i, j))
            better += sum(k < j for k in range(4) if k not in (i, j))
            assert (v.kind, v.nullity, v.index) == (DEGENERATE, 4, better)
            assert v.stable


def test_minima_of_linear_networks_on_noisy_targets() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        X = rng.standard_normal((3, 30))
        Y = rng.standard_normal((2, 3)) @ X + 0.1 * rng.standard_normal((2, 30))
        objective = Objective(linear_net, 10, {"X": X, "Y": Y}, ("X", "Y"))
        x = reduced_rank(X, Y, 2, [0, 1]) + 1e-15 * rng.standard_normal(10)
        M = np.eye(2) + 0.3 * rng.standard_normal((2, 2))
        A, B = x[:4].reshape(2, 2) @ M, np.linalg.inv(M) @ x[4:].reshape(2, 3)
        (v,) = judge(objective, np.concatenate([A.ravel(), B.ravel()])[None], "converged", 1e-8)
        assert (v.kind, v.nullity, v.index, v.stable) == (DEGENERATE, 4, 0, True)


LARGE = 600


def diagonal(data: Any, x: Any) -> Any:
    return 0.5 * jnp.sum(data["h"] * x * x)


def test_more_dimensions_than_a_dense_hessian_takes() -> None:
    rng = np.random.default_rng(2)
    h = np.logspace(0, -6, LARGE)
    signed = h * np.where(np.arange(LARGE) % 2, 1.0, -1.0)
    hole, dent = h.copy(), signed.copy()
    hole[300:320], dent[300:302] = 0.0, 0.0
    zero = np.zeros(LARGE)
    table = [
        (h, MINIMUM, 0, 0), (-h, MAXIMUM, LARGE, 0), (signed, "saddle", LARGE // 2, 0),
        (hole, DEGENERATE, 0, 20), (dent, DEGENERATE, 299, 2), (zero, PLATEAU, None, 0),
    ]  # fmt: skip
    for values, kind, index, null in table:
        objective = Objective(diagonal, LARGE, {"h": values})
        for x in (zero, 1e-9 * rng.standard_normal(LARGE)):
            (v,) = judge(objective, x[None], "converged", 1e-6)
            assert (v.kind, v.index) == (kind, index), (kind, v.label, v.note)
            assert v.nullity == null
            assert v.stable


NEAR = 1e-4 * np.random.default_rng(4).uniform(0.5, 1.0, LARGE)
ROUGH_LARGE = [case for case in ROUGH if case.truth == "rough" and case.x in ([0.0], ORIGIN)]


@pytest.mark.parametrize("case", ROUGH_LARGE, ids=lambda case: case.name)
def test_what_is_rough_in_few_dimensions_is_rough_in_many(case: Case) -> None:
    k = len(case.x)
    (v,) = judge(
        Objective(lambda x: case.f(x[:k]) + 1e3 * jnp.sum(x[k:] ** 2), LARGE),
        np.zeros((1, LARGE)), "converged", 1e-6,
    )  # fmt: skip
    assert is_true(v, "rough")


@pytest.mark.parametrize(
    ("f", "x", "truth"),
    [(lambda x: jnp.sum(x**3), NEAR, DEGENERATE), (lambda x: jnp.sum(x**4), NEAR, DEGENERATE),
     (lambda x: jnp.sum(x**4), 0 * NEAR, DEGENERATE), (lambda x: 1e-9 * jnp.sum(x), NEAR, PLATEAU),
     (lambda x: jnp.sum(x[1:] ** 2) + 1e-9 * x[0], 0 * NEAR, PLATEAU),
     (lambda x: jnp.sum(jax.nn.softplus(x) - 0.5 * x), 0 * NEAR, MINIMUM)],
)  # fmt: skip
def test_flat_points_in_many_dimensions(f: Any, x: np.ndarray, truth: str) -> None:
    (v,) = judge(Objective(f, LARGE), x[None], "converged", 1e-6)
    assert v.kind == truth
    assert v.nullity == (LARGE if truth == DEGENERATE else 0)


def test_a_wide_linear_network_is_degenerate_and_global() -> None:
    rng = np.random.default_rng(3)
    for h in (14, 60):
        X = rng.standard_normal((5, 20))
        W = rng.standard_normal((5, 5))
        A = rng.standard_normal((5, h)) / np.sqrt(h)
        B = np.linalg.lstsq(A, W, rcond=None)[0]
        objective = Objective(
            linear_net, 10 * h, {"X": X, "Y": W @ X}, ("X", "Y"), facts=Facts(f_star=0.0)
        )
        (v,) = judge(objective, np.concatenate([A.ravel(), B.ravel()])[None], "converged", 1e-6)
        assert (v.kind, v.index, v.is_global) == (DEGENERATE, 0, True)
        assert v.nullity == 10 * h - 25


@pytest.mark.slow
def test_counts_by_lanczos_are_lower_bounds() -> None:
    d = 3000
    h = np.linspace(1.0, 2.0, d)
    table = [(h, MINIMUM, 0, 0), (-h, MAXIMUM, d, 0), (np.r_[-h[:9], h[9:]], "saddle", 6, 0),
             (np.r_[np.zeros(1023), h[1023:]], DEGENERATE, 0, 1),
             (np.r_[-h[:1000], np.zeros(3), h[1003:]], DEGENERATE, 6, 1)]  # fmt: skip
    for values, kind, index, null in table:
        objective = Objective(diagonal, d, {"h": values})
        (v,) = judge(objective, np.zeros((1, d)), "converged")
        assert (v.kind, v.method) == (kind, "lanczos")
        assert v.index >= min(index, 1)
        assert v.nullity >= null
        assert ("at least" in v.note) == (kind in ("saddle", DEGENERATE))


@pytest.mark.parametrize(
    ("factor", "period"),
    [(-1.0, 2), (-1 - 1e-9, 0), (-1 + 1e-9, 0), (-1 - 1e-12, 0), (-1 - 1e-6, 0), (-0.9, 0)],
)
def test_a_drift_is_no_cycle(factor: float, period: int) -> None:
    tail = 0.7 * factor ** np.arange(49.0)
    assert set(periods(tail[None, :, None])[0]) == {period}


def test_rosenbrock_in_four_dimensions_is_not_global_at_its_other_minimum() -> None:
    objective = registry.build("objective", "rosenbrock", {"dim": 4, "b": 1e9})
    (v,) = judge(objective, np.array([[-0.79, 0.63, 0.397, 0.157]]), "converged", 1e9)
    assert v.is_global is not True or v.value < 1e-9


def test_nothing_is_warned_of() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for f, x in (
            (lambda x: jnp.log(x[0]), [0.0]),
            (lambda x: jnp.sqrt(x[0]), [0.0]),
            (lambda x: 1e308 * x[0] ** 2 * 10, [1.0]),
            (lambda x: 1 / x[0], [0.0]),
        ):
            judge(Objective(f, 1), np.array([x]), "converged")
