"""Rates and bounds: what theory promises, as pure functions of a few numbers.

k = L/mu is the condition number, distance = |x_0 - x*|, t the steps taken. A bound whose assumption
its own arguments break (eta above 1/L, steps that end within a pattern) raises a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import acosh, ceil, cosh, inf, log, log1p, pi, sqrt

import numpy as np
from jaxtyping import Float

SILVER = 1 + sqrt(2)

# The directional derivative.


def directional_derivative(grad_norm: float, angle: float) -> float:
    """u'g = |g| cos(angle) for a unit direction u at that angle to g (DLBook eq. 4.3, 4.4)."""
    return grad_norm * float(np.cos(angle))


def steepest_angle() -> float:
    """The angle at which the directional derivative is least: pi, u = -g/|g| (DLBook eq. 4.5)."""
    return pi


def descent_lemma(eta: float, L: float, grad_norm: float) -> float:
    """Least decrease of f in a step: eta (1 - L eta/2) |g|^2 (Nesterov 2004, sec. 1.2.3)."""
    return eta * (1 - L * eta / 2) * grad_norm**2


def armijo_least_step(eta0: float, c: float, shrink: float, L: float) -> float:
    """Least step that backtracking accepts: min(eta0, 2 (1 - c) shrink/L).

    By the descent lemma every eta <= 2 (1 - c)/L is acceptable, and the last trial refused was
    above it (Nocedal and Wright 2006, sec. 3.1).
    """
    return min(eta0, 2 * (1 - c) * shrink / L)


# Quadratics: contraction of |x - x*| in a step, in the limit.


def gradient_contraction(eta: float, spectrum: Float[np.ndarray, " d"]) -> float:
    """max |1 - eta lambda|: exact in one step for the gradient on a quadratic (Polyak 1964)."""
    return float(np.max(np.abs(1 - eta * np.asarray(spectrum))))


def best_contraction(L: float, mu: float) -> float:
    """(k - 1)/(k + 1): the least contraction of a constant step, at eta = 2/(L + mu)."""
    return (L - mu) / (L + mu)


def exact_contraction(L: float, mu: float) -> float:
    """((k - 1)/(k + 1))^2: of f - f* in an exact line search (Kantorovich; Luenberger sec. 8.6)."""
    return best_contraction(L, mu) ** 2


def heavy_ball_rate(L: float, mu: float) -> float:
    """(sqrt k - 1)/(sqrt k + 1), at m = rate^2, eta = 4/(sqrt L + sqrt mu)^2 (Polyak 1964)."""
    root = sqrt(L / mu)
    return (root - 1) / (root + 1)


def nesterov_tuned_rate(L: float, mu: float) -> float:
    """1 - 2/sqrt(3k + 1), at eta = 4/(3L + mu) (Lessard, Recht and Packard 2016, prop. 1)."""
    return 1 - 2 / sqrt(3 * L / mu + 1)


def heavy_ball_radius(eta: float, momentum: float, spectrum: Float[np.ndarray, " d"]) -> float:
    """Largest root modulus of z^2 - (1 + m - eta lambda) z + m: the rate for any eta and m."""
    return _largest_root(1 + momentum - eta * np.asarray(spectrum), momentum)


def nesterov_radius(eta: float, momentum: float, spectrum: Float[np.ndarray, " d"]) -> float:
    """Largest root modulus of z^2 - (1 + m)(1 - eta lambda) z + m (1 - eta lambda)."""
    kept = 1 - eta * np.asarray(spectrum)
    return _largest_root((1 + momentum) * kept, momentum * kept)


def _largest_root(b: Float[np.ndarray, " d"], c: Float[np.ndarray, " d"] | float) -> float:
    """Over pairs (b, c): the largest |z| with z^2 - b z + c = 0."""
    root = np.sqrt((b * b - 4 * np.asarray(c)).astype(complex))
    return float(np.max(np.abs(np.stack([(b + root) / 2, (b - root) / 2]))))


def chebyshev_factor(L: float, mu: float, n: int) -> float:
    """1/T_n((L + mu)/(L - mu)): of |x - x*| over n Chebyshev steps (Young 1953)."""
    return 1 / cosh(n * acosh((L + mu) / (L - mu)))


# Convex functions: bounds on f(x_t) - f*.


def convex_bound(L: float, eta: float, distance: float, t: int) -> float:
    """|x_0 - x*|^2/(2 eta t), eta <= 1/L; L |x_0 - x*|^2/(2t) at 1/L (Nesterov 2004, 2.1.5)."""
    _short(L, eta)
    return distance**2 / (2 * eta * t)


def sharp_convex_bound(L: float, eta: float, distance: float, t: int) -> float:
    """L |x_0 - x*|^2/(4 t eta L + 2), eta <= 1/L, which Huber's function attains.

    Drori and Teboulle (2014), thm. 3.1. `huber_width` is that function's width.
    """
    _short(L, eta)
    return L * distance**2 / (4 * t * eta * L + 2)


def _short(L: float, eta: float) -> None:
    if not 0 < eta * L <= 1 + 1e-12:
        raise ValueError(f"eta={eta:g}: the bound takes 0 < eta <= 1/L = {1 / L:g}")


def huber_width(L: float, total: float, distance: float) -> float:
    """distance/(2 L total + 1): width w of the Huber function hardest for steps of sum `total`.

    f = L x^2/2 for |x| <= w, L w |x| - L w^2/2 beyond. All steps are then taken on the slope, and
    x_t = distance (1 - L total/(2 L total + 1)) is the point where f is largest over all w.
    """
    return distance / (2 * L * total + 1)


def nesterov_convex_bound(L: float, eta: float, distance: float, t: int) -> float:
    """2 |x_0 - x*|^2/(eta (t + 1)^2), momentum t/(t + 3), eta <= 1/L.

    Su, Boyd and Candes (2014), eq. 2; Beck and Teboulle (2009), thm. 4.4.
    """
    _short(L, eta)
    return 2 * distance**2 / (eta * (t + 1) ** 2)


def silver_bound(L: float, distance: float, k: int) -> float:
    """L |x_0 - x*|^2/(1 + sqrt(4 rho^(2k) - 3)) after 2^k - 1 silver steps, rho = 1 + sqrt 2.

    Altschuler and Parrilo (2023), Acceleration by Stepsize Hedging II, thm. 1.1.
    """
    return L * distance**2 / (1 + sqrt(4 * SILVER ** (2 * k) - 3))


# Length of a long-step pattern -> (mean step s, Delta) that are certified in exact arithmetic: with
# D >= |x - x*| and gap = f(x) - f*, a pattern of t steps of mean s/L leads from gap to at most
#   gap - s t gap^2/(L D^2)   where   gap <= Delta L D^2.
# From a larger gap, D is made larger until gap = Delta L D^2, and what is left is
#   (1 - s t Delta) gap.
# A mean is a little below that of the steps where the certificate is.
LONG_STEPS: Mapping[int, tuple[float, float]] = {
    2: (2.2, 1e-2),
    3: (7.9 / 3, 1e-4),
    7: (3.1999999, 7.5e-5),
    15: (3.8599999, 2.5e-6),
    31: (4.6032258, 9.4e-8),
    63: (5.22526, 2.6e-7),
    127: (5.83463, 3.2e-8),
}


def long_step_bound(
    L: float, radius: float, pattern: int, t: int, gap: float | None = None
) -> float:
    """f(x_t) - f* after whole patterns of long steps: geometric at first, L D^2/(s t) in the limit.

    (1 - s p Delta)^i gap for the first i patterns of p steps, until this is Delta L D^2 or less;
    from that value v on, 1/(1/v + s p i/(L D^2)). Within a pattern f may rise far above gap, and
    for few patterns the bound is close to gap, as f is: on L x^2/2 the steps 2.9, 1.5 take 5 % off
    |x|.

    Args:
        radius: D >= |x - x*| for all x with f(x) <= f(x_0); |x_0 - x*| alone is not enough, since
            x may go away from x* on the way.
        pattern: p, the length of the pattern.
        t: steps, a multiple of p.
        gap: f(x_0) - f* (default: L D^2/2, which it cannot exceed).

    Raises:
        ValueError: there is no such pattern, or t is no multiple of it.

    Grimmer (2024), Provably Faster Gradient Descent via Long Steps, sec. 2 and table 1; Delta from
    the certificates published with it (github.com/bgrimmer/LongStepCertificates).
    """
    if pattern not in LONG_STEPS:
        raise ValueError(f"pattern={pattern}: takes one of {', '.join(map(str, LONG_STEPS))}")
    patterns, rest = divmod(t, pattern)
    if rest or t < 0:
        raise ValueError(f"t={t}: takes a multiple of the pattern's {pattern} steps")
    mean, delta = LONG_STEPS[pattern]
    scale, share = L * radius**2, mean * pattern * delta
    gap = scale / 2 if gap is None else min(gap, scale / 2)
    if gap <= 0:
        return 0.0
    slow = max(0, ceil(log(gap / (delta * scale)) / -log1p(-share)))
    if patterns <= slow:
        return gap * (1 - share) ** patterns
    begun = gap * (1 - share) ** slow
    return 1 / (1 / begun + mean * pattern * (patterns - slow) / scale)


def polyak_bound(L: float, distance: float, t: int) -> float:
    """2 L |x_0 - x*|^2/t, for the best of x_0 ... x_(t-1) (Hazan and Kakade 2019, thm. 1)."""
    return 2 * L * distance**2 / t


# Strongly convex and Polyak-Lojasiewicz functions: factors and bounds on f(x_t) - f*.


def nesterov_bound(L: float, mu: float, distance: float, t: int) -> float:
    """(1 - 1/sqrt k)^t (L + mu)/2 |x_0 - x*|^2, eta = 1/L (Nesterov 2004, thm. 2.2.3)."""
    return (1 - sqrt(mu / L)) ** t * (L + mu) / 2 * distance**2


def lojasiewicz_rate(L: float, mu: float) -> float:
    """1 - mu/L a step at eta = 1/L where |g|^2/2 >= mu (f - f*) (Karimi et al. 2016, thm. 1)."""
    return 1 - mu / L


def coordinate_rate(L: float, mu: float, d: int) -> float:
    """1 - mu/(d L) a step of greedy coordinate descent at eta = 1/L (Nutini et al. 2015, eq. 7)."""
    return 1 - mu / (d * L)


# Saddles.


def saddle_escape_time(eta: float, lambda_min: float, eps: float) -> float:
    """log(1/eps)/log(1 + eta |lambda_min|): steps from eps to 1 along the unstable direction.

    There x grows by 1 + eta |lambda_min| a step (Lee et al. 2016). Infinite for eps = 0.
    """
    return inf if eps == 0 else log(1 / eps) / log1p(eta * abs(lambda_min))
