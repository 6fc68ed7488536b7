"""Adversaries of the proofs: functions and boxes with known answers, in which nothing false may be
proved. Where a proof is possible it must be found, too, or these tests would pass without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import exact
import jax
import jax.numpy as jnp
import jaxtyping
import mpmath
import numpy as np
import pytest

from gdlab.critical.census import take_census
from gdlab.critical.proof import interval as iv
from gdlab.critical.proof.branch_and_prune import Proof, prune
from gdlab.critical.proof.enclosure import Enclosure
from gdlab.critical.proof.inertia import morse_index
from gdlab.critical.proof.interval import Interval
from gdlab.critical.proof.krawczyk import certify
from gdlab.critical.proof.primitives import UNARY, NotCertifiable
from gdlab.critical.proof.smoothness import JUMP, KINK, POLE, SMOOTH
from gdlab.critical.verdict import judge
from gdlab.objectives.softplus import softplus
from gdlab.types import Objective

# No warning of NumPy's leaves a proof.
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes are not checked where that takes ten times as long as what is tested."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# 1. Polynomials of floating-point coefficients, against Sturm's theorem in fractions.


def horner(c: Any, x: Any) -> Any:
    total = c[-1] * jnp.ones_like(x)
    for k in range(c.shape[0] - 2, -1, -1):
        total = total * x + c[k]
    return total


def polynomial_of(data: Mapping[str, Any], x: Any) -> Any:
    return horner(data["c"], x[0])


def integral(p: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], p / np.arange(1, len(p) + 1)])


def from_roots(roots: Any) -> np.ndarray:
    return np.polynomial.polynomial.polyfromroots(roots)


def polynomial_cases(seed: int, n: int) -> list[tuple[np.ndarray, float, float]]:
    """Coefficients and a box: simple, double, near and complex roots, units from 1e-12 to 1e12,
    borders at a root or one ulp beside."""
    rng = np.random.default_rng(seed)
    cases = []
    for k in range(n):
        degree = int(rng.integers(1, 8))
        roots = rng.uniform(-2, 2, degree)
        if k % 5 == 1:
            roots[-1] = roots[0] + 10.0 ** -rng.integers(1, 10)
        if k % 5 == 2:
            roots = np.round(roots * 4) / 4  # multiple ones among them
        p = from_roots(roots)
        if k % 5 == 3:
            p = rng.normal(size=degree + 1)
        unit, size = 10.0 ** rng.integers(-12, 13, 2) if k % 2 else (1.0, 1.0)
        c = integral(p) / unit ** np.arange(len(p) + 1) * unit * size
        low, high = -2.3 * unit, 2.4 * unit
        if k % 4 == 0:
            low = float(np.min(roots) * unit)
            low = float(np.nextafter(low, rng.choice([-np.inf, low, np.inf])))
        if k % 8 == 0:
            high = float(np.max(roots) * unit)
            high = float(np.nextafter(high, rng.choice([-np.inf, high, np.inf])))
        cases.append((c, min(low, high - 0.1 * unit), high))
    return cases


def held_against_sturm(c: np.ndarray, low: float, high: float) -> bool:
    """Whether the census of the polynomial is complete; fails if anything proved is false."""
    proof = prune(Objective(polynomial_of, 1, {"c": c}), np.array([[low, high]]))
    slope = exact.derivative(exact.polynomial(c))
    for (a, b), index in zip(proof.roots[:, 0], proof.index, strict=True):
        assert exact.count(slope, a, b) == 1
        assert (exact.value(slope, a) > 0) == (exact.value(slope, b) < 0) == (index == 1)
        assert index in (0, 1)
    if proof.complete:
        assert len(proof.roots) == exact.count(slope, low, high)
    return proof.complete


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("seed", "n"), [(0, 40), pytest.param(1, 400, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_polynomials(seed: int, n: int) -> None:
    cases = polynomial_cases(seed, n)
    complete = [held_against_sturm(*case) for case in cases]
    assert np.mean(complete) > 0.5


@pytest.mark.usefixtures("unchecked")
def test_a_border_an_ulp_beside_a_root_ends() -> None:
    rng = np.random.default_rng(7)
    for _ in range(4):
        roots = rng.uniform(-1, 1, 7)
        c, root = integral(from_roots(roots)), float(roots.min())
        for low in (np.nextafter(root, -2), root, np.nextafter(root, 2)):
            held_against_sturm(c, float(low), 1.5)
            held_against_sturm(c, -1.5, float(low))


# 2. Products of a circle and a line, and polynomials in slanted coordinates.


def circle_and_line(data: Mapping[str, Any], x: Any) -> Any:
    a, b, cos, sin, r, h, size = data["p"]
    u, v = cos * (x[0] - a) + sin * (x[1] - b), cos * (x[1] - b) - sin * (x[0] - a)
    return size * (u * u + v * v - r * r) * (v - h)


@pytest.mark.usefixtures("unchecked")
def test_circles_and_lines() -> None:
    """(u^2 + v^2 - r^2)(v - h): two points, and two where the line meets the circle."""
    rng, complete = np.random.default_rng(3), 0
    for k in range(12):
        a, b, angle, r = rng.uniform([-1, -1, 0, 0.5], [1, 1, 6.28, 2])
        h = r * (1.0 if k % 6 == 5 else rng.choice([0.2, 0.7, 0.999, 1.001, 1.5]))
        size = 10.0 ** rng.integers(-12, 13)
        p = np.array([a, b, math.cos(angle), math.sin(angle), r, h, size])
        proof = prune(Objective(circle_and_line, 2, {"p": p}), np.array([[-5.0, 5.1]] * 2))
        if k % 6 == 5:  # tangent, but for rounding: the two are one
            assert len(proof.roots) <= 4
            continue
        complete += proof.complete
        if proof.complete:
            assert len(proof.roots) == (4 if h < r else 2)
            assert sorted(proof.index) == ([0, 1, 1, 2] if h < r else [1, 1])[
                : len(proof.roots)
            ] or (h > r and len(proof.roots) == 2)
    assert complete >= 8


def slanted(data: Mapping[str, Any], x: Any) -> Any:
    return horner(data["p"], x[0] + 2 * x[1]) + horner(data["q"], x[0] - x[1])


@pytest.mark.usefixtures("unchecked")
def test_slanted_products() -> None:
    """P(x + 2y) + Q(x - y) has a point for each pair of roots of P' and Q'."""
    rng, complete = np.random.default_rng(4), 0
    for _ in range(6):
        p, q = (integral(from_roots(rng.uniform(-1, 1, 3))) for _ in range(2))
        proof = prune(Objective(slanted, 2, {"p": p, "q": q}), np.array([[-3.0, 3.1]] * 2))
        slopes = [exact.derivative(exact.polynomial(c)) for c in (p, q)]
        complete += proof.complete
        if proof.complete:
            assert len(proof.roots) == math.prod(exact.count(s, -9, 9) for s in slopes)
    assert complete >= 4


# 3. Trigonometric functions, against the closed form.


def wave(data: Mapping[str, Any], x: Any) -> Any:
    k, b = data["k"], data["b"]
    return jnp.sin(k * x[0]) + b * x[0]


def test_waves() -> None:
    """sin(kx) + bx: cos(kx) = -b/k, twice a period where |b| < k."""
    rng, complete = np.random.default_rng(5), 0
    for i in range(20):
        k = float(rng.uniform(0.5, 8)) * 10.0 ** (rng.integers(-6, 7) if i % 2 else 0)
        b = k * float(rng.choice([0, 0.3, -0.8, 0.999, 1.001, 2]))
        low, high = sorted(rng.uniform(-12, 12, 2) / k)
        proof = prune(
            Objective(wave, 1, {"k": np.array(k), "b": np.array(b)}), np.array([[low, high]])
        )
        truth = 0
        if abs(b) < k:
            angle = mpmath.acos(-mpmath.mpf(b) / mpmath.mpf(k))
            for m in range(-5, 6):
                for sign in (1, -1):
                    truth += low <= (sign * angle + 2 * mpmath.pi * m) / mpmath.mpf(k) <= high
        complete += proof.complete
        if proof.complete:
            assert len(proof.roots) == truth
    assert complete >= 18


# 4. What is not smooth, not f's derivative, or not known: no proof may be complete, and nothing
# at the given points may be certified.

Z = Callable[[Any], Any]


@jax.custom_jvp
def wrong_slope(z: Any) -> Any:
    return z**2


wrong_slope.defjvp(lambda p, t: (p[0] ** 2, 2 * (p[0] - 0.25) * t[0]))


@jax.custom_vjp
def wrong_back(z: Any) -> Any:
    return z**2


wrong_back.defvjp(lambda z: (z**2, z), lambda z, g: (3 * (z - 0.25) * g,))


@jax.custom_jvp
def wrong_curvature(z: Any) -> Any:
    return z**2


@jax.custom_jvp
def twice(z: Any) -> Any:
    return 2 * z


twice.defjvp(lambda p, t: (2 * p[0], -2 * t[0]))
wrong_curvature.defjvp(lambda p, t: (p[0] ** 2, twice(p[0]) * t[0]))


@jax.custom_jvp
def wrong_softplus(z: Any) -> Any:
    return jnp.logaddexp(z, 0.0) - 0.5 * z


wrong_softplus.defjvp(lambda p, t: (wrong_softplus(p[0]), (p[0] - 0.25) * t[0]))


# Operation for operation `softplus`, with another derivative: taken for `softplus` itself.
mistaken = jax.custom_jvp(softplus.fun)
mistaken.defjvp(lambda p, t: (mistaken(p[0]), 2 * t[0]))


@jax.custom_gradient
def wrong_gradient(z: Any) -> Any:
    return z**2, lambda g: 2 * (z - 0.25) * g


# Function of z = x - shift, points z at which nothing is certified.
NOT_PROVED: dict[str, tuple[Z, list[float]]] = {
    # f itself jumps, without a trace in its gradient
    "where constants": (lambda z: z**2 - jnp.where(z > 0, 1.0, 0.0), [0.0]),
    "where data": (lambda z: z**2 + jnp.where(z >= 0, jnp.ones(3), 0.0)[1], [0.0]),
    "sign": (lambda z: z**2 - jnp.sign(z), [0.0]),
    "bool to float": (lambda z: z**2 - (z > 0).astype(float), [0.0]),
    "bool arithmetic": (lambda z: z**2 - ((z > 0) & (z < 1)) * 1.0, [0.0]),
    "not": (lambda z: z**2 - 1.0 * ~(z > 0), [0.0]),
    "equal": (lambda z: z**2 - 1.0 * (z == 0), [0.0]),
    "unequal": (lambda z: z**2 + 1.0 * (z != 0), [0.0]),
    "any": (lambda z: z**2 + jnp.any(jnp.stack([z, z - 3]) > 0) * 1.0, [0.0]),
    "all": (lambda z: z**2 + jnp.all(jnp.stack([z, z + 3]) > 0) * 1.0, [0.0]),
    "heaviside": (lambda z: z**2 - jnp.heaviside(z, 0.0), [0.0]),
    "steps of steps": (lambda z: z**2 - jnp.sign(jnp.sign(z) + 0.5), [0.0]),
    "hidden in exp": (lambda z: z**2 * jnp.exp(jnp.where(z > 0, 1.0, 0.0)), [0.0]),
    "counted": (lambda z: z**2 + jnp.sum(jnp.array([-1.0, 0.0, 1.0]) < z), [0.0]),
    "nan is swallowed": (lambda z: z**2 + jnp.where(jnp.log(z) < 0, 1.0, 0.0), [0.0]),
    "undefined is swallowed": (lambda z: z**2 + jnp.where(jnp.sqrt(z) >= 0, 1.0, 0.0), [0.0]),
    "is finite": (lambda z: z**2 + jnp.isfinite(1 / z) * 1.0, [0.0]),
    "pole is swallowed": (lambda z: z**2 + jnp.arctan(1 / z), []),
    "pole in tanh": (lambda z: z**2 + jnp.tanh(1 / z), []),
    # steps of numbers
    "int": (lambda z: (z - z.astype(int) - 1e-5) ** 2, [0.0]),
    "int32": (lambda z: (z - z.astype(jnp.int32) - 0.5) ** 2, [0.0]),
    "uint8": (lambda z: z**2 + (z + 1).astype(jnp.uint8), [0.0]),
    "int arithmetic": (lambda z: z**2 + (2 * z.astype(int) - 1) * 1.0, [-1.0, 1.0]),
    "floor": (lambda z: (z - jnp.floor(z) - 0.5) ** 2, [0.0]),
    "ceil": (lambda z: (z - jnp.ceil(z) + 0.5) ** 2, [0.0]),
    "round": (lambda z: (z - jnp.round(z)) ** 2, [0.5]),
    "trunc": (lambda z: (z - jnp.trunc(z) - 0.5) ** 2, [1.0]),
    "half up": (lambda z: z**2 + jax.lax.round(z + 0.5), [0.0]),
    "mod": (lambda z: (jnp.mod(z, 1.0) - 0.5) ** 2, [0.0, 0.5]),
    "argmax": (lambda z: z**2 + jnp.argmax(jnp.stack([z, 0 * z])), [0.0]),
    "argmin": (lambda z: z**2 + jnp.argmin(jnp.stack([z, 0 * z])), [0.0]),
    "sort": (lambda z: z**2 + jnp.sort(jnp.stack([z, -z]))[0], [0.0]),
    "searchsorted": (lambda z: z**2 + jnp.searchsorted(jnp.array([0.0, 1.0]), z), [0.0]),
    "cond": (lambda z: z**2 + jax.lax.cond(z > 0, lambda: 1.0, lambda: 0.0), [0.0]),
    "switch": (lambda z: z**2 + jax.lax.switch((z > 0) * 1, [lambda: 1.0, lambda: 0.0]), [0.0]),
    "while": (lambda z: z**2 + jax.lax.while_loop(lambda s: s < z, lambda s: s + 1, 0.0), [0.0]),
    "gather": (lambda z: z**2 + jnp.array([1.0, 2.0])[(z > 0).astype(int)], [0.0]),
    "select of three": (
        lambda z: z**2 + jax.lax.select_n((z > 0).astype(jnp.int32), 0 * z, 0 * z + 1, 0 * z),
        [0.0],
    ),
    "one hot": (lambda z: z**2 + jax.nn.one_hot((z > 0).astype(int), 2)[1], [0.0]),
    "clamped": (lambda z: z**2 + jax.lax.clamp(0.0, z, 1.0), [0.0, 1.0]),
    # kinks
    "abs": (lambda z: jnp.abs(z) + z**2, [0.0]),
    "two bowls": (lambda z: z**2 - 0.01 * jnp.abs(z), [0.0]),
    "max": (lambda z: jnp.maximum(z, -2 * z), [0.0]),
    "min": (lambda z: z**2 + jnp.minimum(z, -z) * 0.1, [0.0]),
    "reduce max": (lambda z: jnp.max(jnp.stack([z, -z, z - 1])), [0.0]),
    "relu": (lambda z: jax.nn.relu(z) - 0.5 * z, [0.0]),
    "leaky relu": (lambda z: jax.nn.leaky_relu(z) - 0.5 * z, [0.0]),
    "half smooth": (lambda z: jnp.where(z > 0, z**2, 2 * z**2), [0.0]),
    "huge curvature": (lambda z: jnp.where(z > 0, z**2, 1e9 * z**2), [0.0]),
    "cubed": (lambda z: jnp.abs(z) ** 1.5, [0.0]),
    "root": (lambda z: jnp.sqrt(z**2), [0.0]),
    "cube root": (lambda z: jnp.cbrt(z**2), [0.0]),
    "norm": (lambda z: jnp.linalg.norm(jnp.stack([z, 2 * z])), [0.0]),
    "clip": (lambda z: jnp.clip(z, -0.5, 0.5) ** 2 - 0.1 * z**2, [0.5, -0.5]),
    "hard tanh": (lambda z: jax.nn.hard_tanh(z) ** 2, [1.0]),
    # derivatives that are not those of f
    "wrong slope": (lambda z: wrong_slope(z), [0.25]),
    "wrong back": (lambda z: wrong_back(z), [0.25]),
    "wrong softplus": (lambda z: wrong_softplus(z), [0.25]),
    "wrong gradient": (lambda z: wrong_gradient(z), [0.25]),
    "stopped": (lambda z: z**2 + jax.lax.stop_gradient(z), [0.0]),
    "stopped product": (lambda z: z * jax.lax.stop_gradient(z) - 0.5 * z, [0.5]),
    # number types and operations without an exact form
    "float32": (lambda z: z**2 + z.astype(jnp.float32).astype(float), [0.0]),
    "float16": (lambda z: z**2 + z.astype(jnp.float16).astype(float), [0.0]),
    "bfloat16": (lambda z: z**2 + z.astype(jnp.bfloat16).astype(float), [0.0]),
    "float8": (lambda z: z**2 + z.astype(jnp.float8_e4m3fn).astype(float), [0.0]),
    "reduced": (lambda z: z**2 + jax.lax.reduce_precision(z, 8, 7), [0.0]),
    "inverted int": (lambda z: z**2 * ~jnp.int32(-5), [0.0]),
    "divided int": (lambda z: z**2 * (jnp.int32(7) // jnp.int32(2)), [0.0]),
    "int overflow": (lambda z: z**2 * (jnp.int8(100) + jnp.int8(100)), [0.0]),
    "int power": (lambda z: z**2 * jnp.int32(3) ** 30, [0.0]),
    "shifted int": (lambda z: z**2 * (jnp.int32(1) << 31), [0.0]),
    "bits": (
        lambda z: z**2 + jax.lax.bitcast_convert_type(z, jnp.int64).astype(float) * 1e-30,
        [0.0],
    ),
    "next after": (lambda z: jnp.nextafter(z, 1.0) ** 2, [0.0]),
    "callback": (
        lambda z: z**2
        + jax.pure_callback(np.sign, jax.ShapeDtypeStruct((), float), jax.lax.stop_gradient(z)),
        [0.0],
    ),
    "infinite": (lambda z: z**2 + 0 * jnp.where(z > 0, jnp.inf, 0.0), [0.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PROVED)
def test_nothing_false_is_proved(name: str) -> None:
    f, points = NOT_PROVED[name]
    for shift in (0.0, 0.3):
        objective = Objective(lambda x, shift=shift: f(x[0] - shift), 1)
        domain = np.array([[-1.7, 2.1]]) + shift
        try:
            proof = prune(objective, domain, seconds=2)
            proved = certify(objective, np.array(points).reshape(-1, 1) + shift, 1e-6)
        except NotCertifiable:
            continue
        assert not proved.any()
        # A wrong rule may leave a proof about f itself, which has its minimum at 0.
        if proof.complete:
            assert name.split()[0] in ("wrong", "stopped"), name
            assert len(proof.roots) == 1
            middle = {"stopped": -0.5, "stopped product": 0.25}.get(name, 0.0)
            assert proof.roots[0, 0, 0] <= middle + shift <= proof.roots[0, 0, 1]


# What looks like the above and is proved.
PROVED: dict[str, tuple[Z, int]] = {
    "decided choice": (lambda z: jnp.where(z > -5, z**2, z), 1),
    "integers": (lambda z: z**2 * jnp.int32(3) + z * jnp.arange(4).sum(), 1),
    "converted data": (lambda z: z**2 * jnp.float32(0.5).astype(float), 1),
    "softplus": (lambda z: jax.nn.softplus(z) - 0.3 * z, 1),
    "logaddexp": (lambda z: jnp.logaddexp(z, -z), 1),
    "softplus of logistic": (lambda z: softplus(z) - 0.3 * z, 1),
    "its body with a wrong rule": (lambda z: mistaken(z) - 0.3 * z, 1),
    "right rule": (lambda z: wrong_curvature(z), 1),
    "square of abs": (lambda z: jnp.abs(z**2 + 0.1), 1),
    "dominated max": (lambda z: jnp.maximum(z**2, z - 9), 1),
    "kink without a point": (lambda z: z**2 + 5 * z + jnp.abs(z), 0),
    "tail": (lambda z: z**2 + 1 / (z + 4), 1),
    "power": (lambda z: (z + 4) ** 1.5 - 3 * z, 1),
    "erf": (lambda z: jax.scipy.special.erf(z) ** 2, 1),
    "arcs": (lambda z: jnp.arcsinh(z) ** 2 + jnp.arcsin(z / 4) ** 2, 1),
    "unused": (lambda z: z**2 + 0 * jnp.sum(jnp.zeros(0)), 1),
    "product": (lambda z: jnp.prod(jnp.stack([z, z, z + 9])), 1),
    "dead code": (lambda z: (jnp.sort(jnp.stack([z, -z])), z**2)[1], 1),
}


@pytest.mark.parametrize("name", PROVED)
def test_what_only_looks_like_it_is_proved(name: str) -> None:
    f, n = PROVED[name]
    objective = Objective(lambda x: f(x[0] - 0.3), 1)
    proof = prune(objective, np.array([[-1.4, 2.4]]))
    assert proof.complete
    assert len(proof.roots) == n
    assert (proof.index >= 0).all()


# 5. Data with NaN and infinity.


def filled(data: Mapping[str, Any], x: Any) -> Any:
    missing = jnp.isnan(data["y"])
    y = jnp.where(missing, 3.0 * x[0], data["y"])
    return jnp.sum((x[0] ** 2 - y) ** 2)


def spoilt(data: Mapping[str, Any], x: Any) -> Any:
    return x[0] ** 2 + jnp.sum(jnp.tanh(data["y"])) * 0


def test_missing_values_are_filled_or_refused() -> None:
    data = {"y": np.array([1.0, np.nan, 2.0])}
    objective = Objective(filled, 1, data)
    x = np.linspace(-2, 2, 41)[:, None]
    g = Enclosure(objective).g(x - 1e-9, x + 1e-9)
    true = jax.vmap(jax.grad(objective))(x)
    assert np.all((g.lo <= true) & (true <= g.hi))
    proof = prune(objective, np.array([[-2.0, 2.1]]))
    # (x^2 - 1)^2 + (x^2 - 2)^2 + (x^2 - 3x)^2
    slope = [0, 2 * (-6 + 9), 3 * -6, 4 * 3]
    assert len(proof.roots) == exact.count(exact.polynomial(slope), -2.0, 2.1)
    by_zero = Objective(lambda data, x: x[0] ** 2 + 0 * x[0] / data["c"], 1, {"c": np.zeros(1)[0]})
    assert not prune(by_zero, np.array([[-1.0, 1.1]])).complete  # f is not a number anywhere
    for y in (np.nan, np.inf):
        with pytest.raises(NotCertifiable, match="inf or nan"):
            prune(Objective(spoilt, 1, {"y": np.array([y])}), np.array([[-1.0, 1.1]]))


# 6. Random expressions, against samples.

STEPS: list[Z] = [jnp.sign, jnp.floor, lambda z: 1.0 * (z > 0.2), lambda z: z.astype(int) * 1.0]
BENDS: list[Z] = [jnp.abs, lambda z: jnp.maximum(z, 0.3), jax.nn.relu, lambda z: jnp.clip(z, -1, 1)]
CURVES: list[Z] = [
    jnp.sin, jnp.tanh, jnp.square, lambda z: z**3, jax.nn.softplus, lambda z: jnp.exp(-z * z),
    lambda z: 1 / (1 + z * z), lambda z: jnp.sqrt(1 + z * z), lambda z: jnp.log(2 + jnp.cos(z)),
    jnp.arctan, lambda z: jnp.where(z > 0.1, z, z * z), lambda z: jnp.cbrt(z),
]  # fmt: skip


def expression(rng: np.random.Generator) -> Z:
    """A sum of products of compositions, some of them not smooth."""
    terms = []
    for _ in range(rng.integers(1, 4)):
        chain = []
        for _ in range(rng.integers(1, 4)):
            kind = CURVES if rng.random() < 0.7 else BENDS if rng.random() < 0.6 else STEPS
            chain.append((kind[rng.integers(len(kind))], *rng.normal(size=2)))
        terms.append((chain, rng.normal(), rng.random() < 0.3))

    def f(z: Any) -> Any:
        total = 0.1 * z * z
        for chain, weight, times in terms:
            value = z
            for part, a, b in chain:
                value = part(a * value + b)
            total = total * value if times else total + weight * value
        return total

    return f


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("seed", "n"), [(11, 30), pytest.param(12, 300, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_random_expressions(seed: int, n: int) -> None:
    """A complete proof means as many changes of sign of the slope as points, and no jump."""
    rng, complete = np.random.default_rng(seed), 0
    grid = np.linspace(-2.0, 2.1, 20_001)
    for _ in range(n):
        f = expression(rng)
        objective = Objective(lambda x, f=f: f(x[0]), 1)
        proof = prune(objective, np.array([[grid[0], grid[-1]]]), seconds=1)
        if not proof.complete:
            continue
        complete += 1
        value, slope = (np.asarray(a) for a in jax.vmap(jax.value_and_grad(f))(grid))
        inside = np.flatnonzero(np.sign(slope[1:]) != np.sign(slope[:-1]))
        assert len(inside) == len(proof.roots) + np.sum(slope == 0)
        step = np.abs(np.diff(value))
        most = np.maximum(np.abs(slope[1:]), np.abs(slope[:-1])) * (grid[1] - grid[0])
        assert np.all(step <= 3 * most + 1e-6)
    assert complete >= n // 5


# 7. The parts of a proof.


@pytest.mark.parametrize("name", ["erf", "asin", "acos", "asinh", "acosh", "atanh", "exp2"])
def test_elementary_functions_hold_the_exact_value(name: str) -> None:
    rule = {"exp2": lambda x: mpmath.power(2, x)}.get(name) or getattr(mpmath, name)
    x = np.random.default_rng(1).uniform(-0.999, 0.999, 300)
    x = np.concatenate([x, x * 1e-8])
    x = 1.0001 + np.abs(x) if name == "acosh" else x
    out = UNARY[name](Interval(x, x))
    for lo, hi, point in zip(out.lo, out.hi, x, strict=True):
        true = rule(mpmath.mpf(point))
        assert lo <= true <= hi
        assert hi - lo <= 1e-13 * (1 + abs(true))


@pytest.mark.parametrize(
    ("f", "low", "high", "level"),
    [
        (lambda z: jnp.exp(z) * z, -1, 1, SMOOTH),
        (lambda z: jnp.abs(z), 0, 1, SMOOTH),
        (lambda z: jnp.abs(z), -1, 1, KINK),
        (lambda z: jnp.sqrt(z * z + 1), -1, 1, SMOOTH),
        (lambda z: jnp.sqrt(z * z), -1, 1, KINK),
        (lambda z: 1 / z, -1, 1, POLE),
        (lambda z: jnp.log(z), 0, 1, POLE),
        (lambda z: jnp.arctan(1 / z), -1, 1, JUMP),
        (lambda z: jnp.floor(z), 0.5, 1, JUMP),
        (lambda z: jnp.floor(z), 1, 1.5, SMOOTH),
        (lambda z: jnp.where(z > 0, z, 0.0), -1, 1, JUMP),
        (lambda z: jnp.where(z > 0, z, 0.0), 0.1, 1, SMOOTH),
        (lambda z: jnp.maximum(z, 5.0), -1, 1, SMOOTH),
        (lambda z: jnp.where(z > 0, jnp.abs(z), 1 / z), 0.5, 1, SMOOTH),
        (lambda z: z**0.5, 0.5, 1, SMOOTH),
        (lambda z: z**1.5, -0.5, 1, POLE),
    ],
)
def test_levels(f: Z, low: float, high: float, level: int) -> None:
    enclosure = Enclosure(Objective(lambda x: f(x[0]), 1))
    lo, hi = np.array([[low]], float), np.array([[high]], float)
    assert enclosure.level(lo, hi).tolist() == [level]


def test_the_index_is_that_of_the_matrix() -> None:
    """S'DS for regular S has as many negative eigenvalues as D; units differ by up to 1e12."""
    rng, sure = np.random.default_rng(2), 0
    for k in range(200):
        d = int(rng.integers(1, 9))
        D = rng.choice([-1.0, 1.0], d) * rng.uniform(0.5, 2, d)
        S = np.linalg.qr(rng.normal(size=(d, d)))[0] * 10.0 ** rng.integers(-6, 7, d)
        H = S.T @ (D[:, None] * S)
        H = 0.5 * (H + H.T)
        wide = 1e-9 * np.abs(H) if k % 2 else np.zeros_like(H)
        index = morse_index(Interval((H - wide)[None], (H + wide)[None]))[0]
        sure += index >= 0
        assert index in (-1, np.sum(D < 0))
    assert sure > 150
    wide = np.array([[[1.0, -2.0], [-2.0, 1.0]]]), np.array([[[1.0, 2.0], [2.0, 1.0]]])
    assert morse_index(Interval(*wide)).tolist() == [-1]
    assert morse_index(Interval(np.full((1, 2, 2), -np.inf), np.full((1, 2, 2), np.inf))) == [-1]


def test_an_enclosure_of_f_holds_f() -> None:
    objective = Objective(lambda x: jnp.sin(x[0]) * x[1] + jnp.where(x[0] > 0, 1.0, 0.0), 2)
    rng = np.random.default_rng(0)
    lo = rng.uniform(-1, 1, (50, 2))
    hi = lo + rng.uniform(0, 0.5, (50, 2))
    out = Enclosure(objective).f(lo, hi)
    assert out.shape == (50,)
    for t in (0.0, 0.4, 1.0):
        value = np.asarray(jax.vmap(objective)(lo + t * (hi - lo)))
        assert np.all((out.lo <= value) & (value <= out.hi))


# 8. Verdicts and censuses.


def say(f: Z, z: float) -> Any:
    return judge(Objective(lambda x: f(x[0]), 1), np.array([[z]]), "converged", 1e-6)[0]


@pytest.mark.parametrize(
    ("f", "z", "words"),
    [
        (lambda z: z**2 - jnp.where(z > 0, 1.0, 0.0), 0.0, "f jumps here"),
        (lambda z: z**2 - jnp.where(z > 1e-9, 1.0, 0.0), 0.0, "may have a jump"),
        (wrong_slope, 0.25, "derivative rule (wrong_slope) is not that of f"),
        (wrong_back, 0.25, "derivative rule (wrong_back) is not that of f"),
    ],
)
def test_a_verdict_says_what_speaks_against_it(f: Z, z: float, words: str) -> None:
    v = say(f, z)
    assert words in v.note
    assert not v.certified
    assert not v.stable or v.kind == "not_critical"


def test_a_wrong_curvature_is_replaced_by_that_of_f() -> None:
    v = say(wrong_curvature, 0.0)
    assert (v.kind, v.certified) == ("minimum", True)


def rightly(z: Any) -> Any:
    return jax.nn.softplus(z) - 0.5 * z + jax.nn.relu(z + 9) - jax.lax.stop_gradient(z * 0) - z


@jax.custom_jvp
def mirrored(z: Any) -> Any:
    return 3 + z**2


mirrored.defjvp(lambda p, t: (3 + p[0] ** 2, -2 * p[0] * t[0]))


def halved(z: Any) -> Any:
    """z^2 + z with 8 bits of z: f goes on falling at -1/2, where its gradient is 0."""
    return z**2 + z.astype(jnp.bfloat16).astype(float)


@pytest.mark.parametrize("d", [4, 40, 600])
@pytest.mark.parametrize(
    ("f", "at", "right"),
    [(wrong_slope, 0.25, False), (wrong_back, 0.25, False), (wrong_gradient, 0.25, False),
     (wrong_softplus, 0.25, False), (rightly, 0.0, True), (mirrored, 0.0, False),
     (lambda z: jax.nn.relu(z + 1) ** 4 - 4 * z, 0.0, True), (halved, -0.5, False),
     (lambda z: jax.lax.reduce_precision(z, 8, 7) + z**2, -0.5, False),
     (lambda z: z.astype(jnp.float8_e4m3fn).astype(float) + z**2, -0.5, False),
     (lambda z: z**2 * jnp.float32(0.1).astype(float), 0.0, True)],
)  # fmt: skip
def test_a_gradient_is_held_against_f(f: Z, at: float, right: bool, d: int) -> None:
    objective = Objective(lambda x: f(x[0]) + jnp.sum(x[1:] ** 2), d)
    x = np.zeros((1, d))
    x[0, 0] = at
    (v,) = judge(objective, x, "converged", certified=False)
    assert v.stable == right
    assert ("not that of f" in v.note) != right


@jax.custom_jvp
def rise_of_square(z: Any) -> Any:
    return 2 * z


rise_of_square.defjvp(lambda p, t: (2 * p[0], -2 * t[0]))


@jax.custom_jvp
def bent(z: Any) -> Any:
    """z^2 with its own gradient, whose derivative is another's."""
    return z**2


bent.defjvp(lambda p, t: (p[0] ** 2, rise_of_square(p[0]) * t[0]))


@pytest.mark.parametrize("d", [4, 40, 600])
def test_a_hessian_is_held_against_the_gradient(d: int) -> None:
    objective = Objective(lambda x: 1e-4 * bent(x[0]) + 10 * jnp.sum(x[1:] ** 2), d)
    (v,) = judge(objective, np.zeros((1, d)), "converged", certified=False)
    assert not v.stable or v.kind == "minimum"
    assert "not that of f" in v.note or v.kind == "minimum"


@pytest.mark.parametrize(
    "undefined",
    [lambda a: jnp.exp(a) - jnp.exp(a), lambda a: a * a - a * a],
)
def test_what_overflows_may_be_no_number(undefined: Z) -> None:
    """f = x^2 + 5 x^3, since inf - inf is filled in; not x^2."""

    def f(data: Mapping[str, Any], x: Any) -> Any:
        filled_in = jnp.isnan(undefined(data["a"]))
        return x[0] ** 2 + jnp.where(filled_in, 5 * x[0] ** 3, 0.0)

    proof = prune(Objective(f, 1, {"a": np.float64(1e200)}), np.array([[-4.0, 4.1]]), seconds=2)
    assert not proof.complete


def test_a_proof_settles_what_rounding_does_not() -> None:
    """Eigenvalues 2e10 and 2: the smaller one is within the rounding error of the other."""
    f = Objective(
        lambda x: 1e10 * x[0] ** 2 + (x[1] ** 2 - 1) ** 2 + 1e5 * x[0] * (x[1] ** 2 - 1), 2
    )
    kinds = [(v.kind, v.certified) for v in take_census(f, [(-1e-3, 1.1e-3), (-2, 2.1)]).points]
    assert sorted(kinds) == [("minimum", True), ("minimum", True), ("saddle", True)]


@pytest.mark.parametrize(
    ("f", "domain", "n", "words"),
    [
        (lambda z: z**2 - jnp.where(z > 0, 1.0, 0.0), (-1, 1.3), 0, "may have a jump"),
        (lambda z: (z - z.astype(int) - 1e-5) ** 2, (0.3, 1.00002), 1, "may have a jump"),
        (wrong_slope, (-1, 1.1), 1, "its own derivative rule (wrong_slope)"),
        (lambda z: jnp.where(z == 0, 1.0, jnp.sin(z) / z), (-3, 3.1), None, "may have a jump"),
        (lambda z: z**2 + jnp.mod(z, 1.0), (-1, 1.1), None, "no interval form of rem"),
    ],
)
def test_a_census_claims_nothing_false(
    f: Z, domain: tuple[float, float], n: int | None, words: str
) -> None:
    result = take_census(Objective(lambda x: f(x[0]), 1), [domain], patience=512, seconds=3)
    assert not result.exact
    assert words in result.summary()
    assert result.euler.holds is not True
    assert n is None or len(result.points) == n


def whole(proof: Proof) -> int:
    return len(proof.roots) if proof.complete else -1


def test_boxes_of_zero_and_ulp_width_are_no_trouble() -> None:
    objective = Objective(polynomial_of, 1, {"c": np.array([0.0, 0.0, 1.0])})
    one = np.nextafter(1.0, 2.0)
    assert whole(prune(objective, np.array([[1.0, one]]))) == 0
    assert whole(prune(objective, np.array([[-5e-324, 1.0]]))) in (-1, 1)
    assert whole(prune(objective, np.array([[5e-324, 1.0]]))) in (-1, 0)
    assert iv.exact(np.zeros(1)).shape == (1,)
