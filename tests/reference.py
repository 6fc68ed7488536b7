"""Step rules as NumPy loops of a few lines, with a bound on what rounding can do to each step.

f, its gradient and its Hessian come from jax, point by point; everything else is NumPy. A rule is
a generator: it is sent what it may see and yields what it gives together with the error that it
may owe to rounding, by first-order error analysis. An error of infinity says that rounding decides
(a sign of nothing, a tie, a trial step at the edge of being acceptable): nothing is compared then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from gdlab.types import Facts, Objective

EPS = np.finfo(float).eps
ROUNDING = 64 * EPS  # of f and its derivatives, relative to the size of their terms
norm = np.linalg.norm


@partial(jax.jit, static_argnums=0)
def _all_at(f: Any, data: Any, x: Any) -> Any:
    at = f if data is None else partial(f, data)
    return *jax.value_and_grad(at)(x), jax.hessian(at)(x)


@dataclass(frozen=True)
class Point:
    """f, g and H at x, and bounds on the rounding errors of f and g, as if x had been rounded."""

    x: np.ndarray
    f: float
    g: np.ndarray
    H: np.ndarray

    @property
    def df(self) -> float:
        return ROUNDING * (1 + abs(self.f) + norm(self.g) * max(1, norm(self.x)))

    @property
    def dH(self) -> float:
        return ROUNDING * (1 + norm(self.H))

    @property
    def dg(self) -> float:
        return ROUNDING * norm(self.g) + self.dH * max(1, norm(self.x))


def oracle(objective: Objective) -> Callable[[np.ndarray], Point]:
    """x -> the objective's Point there."""
    return lambda x: Point(x, *map(np.asarray, _all_at(objective.f, objective.data, x)))


# Directions are sent a Point and yield (p, error of p).

Direction = Generator[Any, Point, None]


def gradient() -> Direction:
    at = yield
    while True:
        at = yield -at.g, at.dg


def sign(scaled: bool) -> Direction:
    at = yield
    while True:
        p, error = -np.sign(at.g), 0.0
        if scaled:
            p, error = p * abs(at.g).sum(), len(p) * at.dg
        at = yield p, error if (abs(at.g) > at.dg).all() else math.inf


def coordinate() -> Direction:
    at = yield
    while True:
        size = abs(at.g)
        i = int(np.argmax(size))
        p = np.zeros_like(at.g)
        p[i] = -at.g[i]
        at = yield p, at.dg if (np.delete(size, i) < size[i] - 2 * at.dg).all() else math.inf


def momentum(momentum: float, lookahead: bool = False) -> Direction:
    at = yield
    v, error = np.zeros_like(at.g), 0.0
    while True:
        v, error = momentum * v + at.g, momentum * error + at.dg
        p = -(at.g + momentum * v) if lookahead else -v
        at = yield p, at.dg + error


def adam(b1: float, b2: float, eps: float) -> Direction:
    at = yield
    m, v, t, error = np.zeros_like(at.g), np.zeros_like(at.g), 0, 0.0
    while True:
        t += 1
        m, v = b1 * m + (1 - b1) * at.g, b2 * v + (1 - b2) * at.g**2
        error = max(error, at.dg)
        root = np.sqrt(v / (1 - b2**t)) + eps
        # 1 - b2^t keeps few digits at first: b2 = 0.999 loses three of them.
        lost = EPS / (1 - b2**t) + EPS / (1 - b1**t)
        at = yield -(m / (1 - b1**t)) / root, norm(4 * error / root) + 4 * lost * math.sqrt(len(v))


def newton(damping: float) -> Direction:
    at = yield
    while True:
        h = at.H + damping * np.eye(len(at.x))
        least = np.linalg.svd(h, compute_uv=False)[-1]
        if least <= len(h) * at.dH:  # singular, as far as one can tell
            at = yield np.zeros_like(at.x), math.inf
        else:
            p = np.linalg.solve(h, -at.g)
            at = yield p, (at.dg + len(h) * at.dH * norm(p)) / least


METHODS: dict[str, Callable[..., Direction]] = {
    "gradient": gradient,
    "sign": sign,
    "coordinate": coordinate,
    "heavy_ball": momentum,
    "nesterov": partial(momentum, lookahead=True),
    "adam": adam,
    "newton": newton,
}


# Schedules are sent (Point, p, error of p) and yield (eta, its error, trial points so far).

Sizing = Generator[Any, "tuple[Point, np.ndarray, float]", None]


def _slope(at: Point, p: np.ndarray, dp: float) -> tuple[float, float]:
    return at.g @ p, norm(at.g) * dp + norm(p) * at.dg + ROUNDING * norm(at.g) * norm(p)


def sizes(eta: Callable[[int], float]) -> Sizing:
    yield
    t = 0
    while True:
        yield eta(t), 8 * EPS * abs(eta(t)), 0
        t += 1


def exact() -> Sizing:
    at, p, dp = yield
    while True:
        (slope, dslope), curvature = _slope(at, p, dp), p @ at.H @ p
        dcurvature = at.dH * norm(p) ** 2 + 2 * norm(at.H) * norm(p) * dp
        if abs(curvature) <= dcurvature:
            at, p, dp = yield 0.0, math.inf, 0
        elif curvature < 0:
            at, p, dp = yield math.inf, 0.0, 0
        else:
            error = (dslope + abs(slope) * dcurvature / curvature) / curvature
            at, p, dp = yield -slope / curvature, error, 0


def polyak(eta: float, f_star: float) -> Sizing:
    at, p, dp = yield
    while True:
        slope, dslope = _slope(at, p, dp)
        gap = max(at.f - f_star, 0.0)
        if abs(slope) <= dslope:
            at, p, dp = yield 0.0, math.inf, 0
        elif slope > 0:
            at, p, dp = yield 0.0, 0.0, 0
        else:
            error = (at.df + ROUNDING * abs(f_star) + gap * dslope / -slope) / -slope
            at, p, dp = yield eta * gap / -slope, eta * error, 0


def armijo(
    see: Callable[[np.ndarray], Point],
    eta0: float,
    c: float,
    shrink: float,
    max_evals: int,
    grow: float | None,
) -> Sizing:
    at, p, dp = yield
    last, spent = 0.0, 0
    while True:
        slope, dslope = _slope(at, p, dp)
        eta = min(eta0, (grow or math.inf) * last) if last > 0 else eta0
        taken, decided = 0.0, abs(slope) > dslope
        for _ in range(max_evals if slope < 0 else 0):
            spent += 1
            there = see(at.x + eta * p)
            rise = there.f - at.f
            edge = at.df + there.df + eta * (dslope + norm(there.g) * dp)
            # Where f is level to within its noise, its slope decides: not compared here.
            if not (abs(rise - c * eta * slope) > edge and abs(rise) > edge):
                decided &= not math.isfinite(there.f)
            if rise <= c * eta * slope and math.isfinite(there.f):
                taken = eta
                break
            eta *= shrink
        last = taken
        at, p, dp = yield taken, 0.0 if decided else math.inf, spent


def secant(eta0: float, rule: Callable[..., tuple[float, float]]) -> Sizing:
    """eta from s, y and what is remembered: the last step and its ratio to the one before."""
    before, _, _ = yield
    at, _, _ = yield eta0, 0.0, 0
    eta, ratio, error = eta0, math.inf, 0.0
    while True:
        s, y, dy = at.x - before.x, at.g - before.g, at.dg + before.dg
        if s @ s > 0:
            if norm(y) > dy:
                new, relative = rule(s, y, dy, eta, ratio)
            else:
                new, relative = eta, math.inf
            ratio, eta, error = new / eta, new, error + relative
        before = at
        at, _, _ = yield eta, error * eta, 0


def barzilai_borwein(eta0: float, variant: str) -> Sizing:
    def rule(s: Any, y: Any, dy: float, eta: float, _: float) -> tuple[float, float]:
        error = norm(s) * dy / abs(s @ y) + 2 * dy / norm(y)
        if abs(s @ y) <= norm(s) * dy:
            return eta, math.inf
        if s @ y < 0:
            return eta, 0.0
        return (s @ s / (s @ y) if variant == "long" else s @ y / (y @ y)), error

    return secant(eta0, rule)


def adgd(eta0: float) -> Sizing:
    def rule(s: Any, y: Any, dy: float, eta: float, ratio: float) -> tuple[float, float]:
        return min(math.sqrt(1 + ratio) * eta, norm(s) / norm(y) / 2), 2 * dy / norm(y)

    return secant(eta0, rule)


def _unit(unit: str, facts: Facts) -> float:
    return {"absolute": lambda: 1.0, "1/L": lambda: 1 / facts.L}[unit]()


def _open(size: Callable[..., float]) -> Callable[..., Sizing]:
    def make(see: Any, facts: Facts, eta: float, unit: str, **numbers: Any) -> Sizing:
        return sizes(lambda t: eta * _unit(unit, facts) * size(t, **numbers))

    return make


def _cosine(t: int, horizon: float, final: float, warmup: int) -> float:
    if t < warmup:
        return (t + 1) / (warmup + 1)
    share = min((t - warmup) / (horizon - warmup), 1)
    return final + (1 - final) * math.cos(math.pi * share / 2) ** 2


def _polynomial(t: int, horizon: float, final: float, power: float) -> float:
    return final + (1 - final) * max(0.0, 1 - t / horizon) ** power


def _silver(t: int) -> float:
    """1 + rho^(v - 1), 2^v the largest power of two that divides t + 1."""
    return 1 + (1 + math.sqrt(2)) ** (((t + 1) & -(t + 1)).bit_length() - 2)


def _long_steps(t: int, pattern: int) -> float:
    assert pattern == 7
    return [1.5, 2.2, 1.5, 12.0, 1.5, 2.2, 1.5][t % 7]


def chebyshev(see: Any, facts: Facts, cycle: int, order: str) -> Sizing:
    assert (cycle, order) == (16, "fractal")
    places = [1, 16, 8, 9, 4, 13, 5, 12, 2, 15, 7, 10, 3, 14, 6, 11]
    L, mu = facts.L, facts.mu
    return sizes(
        lambda t: 2 / (L + mu - (L - mu) * math.cos((places[t % 16] - 0.5) * math.pi / 16))
    )


# Name in conf/schedule -> (oracle, facts, numbers of the YAML file) -> sizes.
SCHEDULES: dict[str, Callable[..., Sizing]] = {
    "constant": _open(lambda t: 1.0),
    "inverse_time": _open(lambda t, decay, power: (1 + decay * t) ** -power),
    "exponential": _open(lambda t, rate, period: math.exp(math.log(rate) * t / period)),
    "step_decay": _open(lambda t, rate, period: rate ** (t // period)),
    "cosine": _open(_cosine),
    "polynomial": _open(_polynomial),
    "silver": _open(_silver),
    "long_steps": _open(_long_steps),
    "chebyshev": chebyshev,
    "exact": lambda see, facts: exact(),
    "polyak": lambda see, facts, eta, f_star: polyak(
        eta, facts.f_star if f_star is None else f_star
    ),
    "backtracking": lambda see, facts, **numbers: armijo(see, **numbers),
    "barzilai_borwein": lambda see, facts, **numbers: barzilai_borwein(**numbers),
    "adgd": lambda see, facts, eta0: adgd(eta0),
}


@dataclass(frozen=True)
class Step:
    """A step of the loop from a given x_t: where it leads, and how far rounding may bend it."""

    at: Point
    x_next: np.ndarray
    eta: float
    f_evals: int
    eta_error: float
    x_error: float


def follow(
    objective: Objective, method: Mapping[str, Any], schedule: Mapping[str, Any], path: np.ndarray
) -> list[Step]:
    """The loop's step from each x_t of a path `[T, d]`, by the loop's own memory.

    Starting from the path's x_t keeps chaos, which doubles an error at every step, from hiding
    what is compared: the rule, in each of its steps. Ends where rounding decides.
    """
    see = oracle(objective)
    numbers = {k: v for k, v in method.items() if k != "name"}
    direction = METHODS[method["name"]](**numbers)
    numbers = {k: v for k, v in schedule.items() if k != "name"}
    sizing = SCHEDULES[schedule["name"]](see, objective.facts, **numbers)
    next(direction), next(sizing)
    steps = []
    with np.errstate(all="ignore"):
        for x in path:
            at = see(x)
            if not (math.isfinite(at.f) and np.isfinite(at.g).all() and np.isfinite(at.H).all()):
                break
            p, dp = direction.send(at)
            if not math.isfinite(dp):
                break
            eta, deta, spent = sizing.send((at, p, dp))
            error = abs(eta) * dp + deta * norm(p) + 8 * EPS * (norm(x) + abs(eta) * norm(p))
            if not math.isfinite(error):
                break
            steps.append(Step(at, x + eta * p, eta, spent, deta, error))
    return steps
