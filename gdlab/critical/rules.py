"""The rules of a verdict: minimum, maximum, saddle, degenerate, plateau, or no critical point.

They look at what has been measured of a point and nothing else; the first that applies counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from gdlab.critical.breaks import WORDS, Breaks

CRITICAL = ("minimum", "maximum", "saddle", "degenerate")
NOT_CRITICAL = "not_critical"
UNDECIDED = "undecided"  # of quick verdicts alone
Rows = Bool[np.ndarray, " m"]


@dataclass
class Case:
    """What the rules look at, one row a point.

    Attributes:
        finite: f, its gradient and its Hessian are finite at the end point.
        breaks: what jumps there.
        arrived: the descent had come to its end there, by its own tolerance or by rounding.
        small: the gradient of the end point is small.
        constant, faded: f is constant throughout a neighbourhood; it only levels out.
        critical: there is a critical point beside the end point.
        negative, null: how many eigenvalues are negative, and zero, beyond their error.
        dim: d.
    """

    finite: tuple[Rows, Rows, Rows]
    breaks: Breaks
    arrived: Rows
    small: Rows
    constant: Rows
    faded: Rows
    critical: Rows
    negative: Int[np.ndarray, " m"]
    null: Int[np.ndarray, " m"]
    dim: int


def rules(c: Case) -> list[tuple[Rows, str, str]]:
    """The verdict, rule by rule: where it applies, the kind, the note. The first one counts."""
    f_finite, g_finite, H_finite = c.finite
    no_hessian = ~H_finite | c.breaks.hessian
    always = np.ones(len(c.small), bool)
    return [
        (~f_finite, NOT_CRITICAL, "f is not finite here"),
        (c.breaks.value, NOT_CRITICAL, WORDS["f"]),
        (c.breaks.gradient, NOT_CRITICAL, WORDS["gradient"]),
        (~g_finite, NOT_CRITICAL, "the gradient is not a number here"),
        (no_hessian & ~c.small, NOT_CRITICAL, "the gradient is not small here"),
        (~c.arrived, NOT_CRITICAL, ""),
        (no_hessian, "degenerate", WORDS["Hessian"]),
        (c.constant, "plateau", "gradient and Hessian are zero throughout a neighbourhood"),
        (~c.critical & ~c.small, NOT_CRITICAL, "the gradient is not small here"),
        (~c.critical | c.faded, "plateau",
         "the gradient is small, but there is no critical point beside it"),
        (c.null > 0, "degenerate", ""),
        (c.negative == 0, "minimum", ""),
        (c.negative == c.dim, "maximum", ""),
        (always, "saddle", ""),
    ]  # fmt: skip
