"""The Euler characteristic as a check on a census.

The signs (-1)^index of the critical points in a box add up to the degree of the gradient on its
border (Poincare and Hopf): 1 where the gradient points outward everywhere, (-1)^d where inward.
In two dimensions the degree is the winding number of the gradient along the border, whatever
its direction; in one, (sign f'(b) - sign f'(a)) / 2.

Reference: J. W. Milnor, Topology from the Differentiable Viewpoint, 1965, sec. 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from gdlab import numerics
from gdlab.critical.derivatives import Derivatives
from gdlab.types import Objective, Verdict

SAMPLES = 1024  # on each face


@dataclass(frozen=True)
class Euler:
    """The check.

    Attributes:
        total: sum of (-1)^index over the points; None if a degenerate point has no index.
        degree: of the gradient on the border; None where it could not be found.
        how: how the degree was found, or why not.
        rest: the isolated points' sum, where degenerate points must account for the difference.
    """

    total: int | None = None
    degree: int | None = None
    how: str = "not checked"
    rest: int | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the sum is the degree; None if one of them is unknown."""
        return None if self.total is None or self.degree is None else self.total == self.degree

    def __str__(self) -> str:
        if self.degree is None:
            return f"Euler characteristic: no check ({self.how})"
        if self.total is None:
            missing = self.degree - (self.rest or 0)
            return (
                f"Euler characteristic: degree {self.degree} on the border ({self.how}); "
                f"degenerate points, kinks or jumps must count {missing:+d}"
            )
        words = (
            "holds"
            if self.holds
            else "does NOT hold: points are missing, or f is not smooth everywhere"
        )
        return (
            f"Euler characteristic: sum of (-1)^index = {self.total}, degree on the border "
            f"{self.degree} ({self.how}): {words}"
        )


@numerics.computing()
def euler_check(
    objective: Objective,
    box: Float[np.ndarray, "d 2"],
    points: Sequence[Verdict],
    kinks: bool = False,
) -> Euler:
    """Compares the points' signs with the gradient on the border.

    Args:
        kinks: whether f may have points without a gradient, which count as well.
    """
    signs = [(-1) ** int(v.index or 0) for v in points if not v.nullity]
    degenerate = kinks or len(signs) < len(points)

    def g(x: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        nobody = np.zeros(len(x), int)
        return Derivatives([objective], nobody).gradients(x, nobody)[1]

    degree, how = _degree(g, box)
    return Euler(None if degenerate else sum(signs), degree, how, sum(signs))


def _degree(g: Callable[[np.ndarray], np.ndarray], box: np.ndarray) -> tuple[int | None, str]:
    d = len(box)
    if d == 1:
        low, high = np.sign(g(box.T.copy())[:, 0])
        if low == 0 or high == 0 or np.isnan(low + high):
            return None, "a critical point on the border"
        return int(high - low) // 2, "slopes at the ends"
    outward = _along_normals(g, box)
    if not np.isfinite(outward).all():
        return None, "the gradient is not finite on the border"
    if np.all(outward > 0):
        return 1, "gradient outward in samples of every face"
    if np.all(outward < 0):
        return (-1) ** d, "gradient inward in samples of every face"
    if d == 2:
        return _winding(g, box)
    return None, "the gradient is outward on a part of the border only"


def _along_normals(g: Callable[[np.ndarray], np.ndarray], box: np.ndarray) -> np.ndarray:
    """The gradient's component along the outward normal, at samples of every face."""
    d = len(box)
    base = box[:, 0] + qmc.Sobol(d, seed=0).random(SAMPLES) * (box[:, 1] - box[:, 0])
    out = []
    for axis in range(d):
        for side in (0, 1):
            x = base.copy()
            x[:, axis] = box[axis, side]
            out.append((1 if side else -1) * g(x)[:, axis])
    return np.concatenate(out)


def _winding(g: Callable[[np.ndarray], np.ndarray], box: np.ndarray) -> tuple[int | None, str]:
    """Turns of the gradient along the border, sampled until no turn between neighbours is large."""
    t = np.linspace(0.0, 4.0, 4 * SAMPLES + 1)
    for _ in range(12):
        v = g(_border(t, box))
        if not np.isfinite(v).all() or np.any(np.linalg.norm(v, axis=1) == 0):
            return None, "the gradient vanishes or is not finite on the border"
        angle = np.arctan2(v[:, 1], v[:, 0])
        turn = np.mod(np.diff(angle) + np.pi, 2 * np.pi) - np.pi
        large = np.flatnonzero(np.abs(turn) > np.pi / 3)
        if not len(large):
            return round(float(turn.sum() / (2 * np.pi))), "winding number of the gradient"
        if len(t) > 200_000:
            break
        t = np.sort(np.concatenate([t, 0.5 * (t[large] + t[large + 1])]))
    return None, "the gradient turns too fast, or vanishes, on the border"


def _border(t: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Around the rectangle, counterclockwise: one side for each unit of t."""
    side, s = np.minimum(t.astype(int), 3), t - np.minimum(t.astype(int), 3)
    u = np.choose(side, [s, np.ones_like(s), 1 - s, np.zeros_like(s)])
    v = np.choose(side, [np.zeros_like(s), s, np.ones_like(s), 1 - s])
    return box[:, 0] + np.stack([u, v], axis=1) * (box[:, 1] - box[:, 0])
