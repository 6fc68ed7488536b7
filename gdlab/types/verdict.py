"""What an end point is, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

KINDS = (
    "minimum",
    "maximum",
    "saddle",
    "degenerate",
    "plateau",
    "cycle",
    "diverged",
    "not_critical",
    "undecided",
)


@dataclass(frozen=True)
class Verdict:
    """What an end point is, and the evidence.

    Attributes:
        kind: one of `KINDS`. `plateau`: the gradient is small but polishing leaves the
            neighbourhood. `not_critical`: descent had not converged. `undecided`: a quick verdict
            does not know.
        index: Morse index, number of certainly negative Hessian eigenvalues; None unless critical.
        x: the polished point `[d]` (the end point itself where polishing failed).
        value: f at `x`.
        grad_norm: ||grad f|| at `x`; `grad_norm_before` at the end point as descent left it.
        moved: distance from the end point to `x`.
        eigenvalues: of the Hessian at `x`, ascending `[d]` (extreme ones only where
            `method == "lanczos"`).
        eigenvalue_error: bound on the error of each eigenvalue.
        nullity: number of eigenvalues within the error of zero.
        is_global: True/False where the facts decide it, else None.
        reached: position in the objective's known critical points, None where none is near.
        period: of a cycle.
        stable: the verdict is the same with tolerances ten times larger and smaller.
        certified: an interval Krawczyk test proved that exactly one critical point lies nearby.
        method: "dense", "lanczos", "quick" or "none" (how the eigenvalues were found).
        note: one sentence for a person, where something needs saying.
    """

    kind: str
    x: Float[np.ndarray, " d"]
    value: float
    grad_norm: float
    grad_norm_before: float
    index: int | None = None
    moved: float = 0.0
    eigenvalues: Float[np.ndarray, " m"] | None = None
    eigenvalue_error: float = 0.0
    nullity: int = 0
    is_global: bool | None = None
    reached: int | None = None
    period: int | None = None
    stable: bool = True
    certified: bool = False
    method: str = "dense"
    note: str = ""

    @property
    def label(self) -> str:
        """For tables and tags: `minimum`, `saddle of index 1`, `degenerate (nullity 2)` ..."""
        if self.kind == "saddle":
            return f"saddle of index {self.index}"
        if self.kind == "degenerate":
            return f"degenerate (nullity {self.nullity})"
        if self.kind == "cycle":
            return f"cycle of period {self.period}"
        return self.kind.replace("_", " ")
