"""What a census found, as a table and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from gdlab.critical.euler import Euler
from gdlab.critical.proof.branch_and_prune import Proof
from gdlab.types import Verdict


@dataclass(eq=False)
class Census:
    """What a census found, and how surely.

    Attributes:
        objective: its name.
        domain: the box `[d, 2]`.
        points: verdicts, one a critical point (or set), lowest f first.
        hits: how many starts led to each.
        sets: how many distinct points of a degenerate set were seen; 1 for a point.
        starts: how many starts were made; `arrived` of them led to a critical point in the domain.
        since: starts since the last new point.
        exhausted: why the search ended before `patience` starts without a new point; "" if it did
            not.
        proof: what branch and prune proved; None where it was not tried.
        why: why nothing or not all is proved.
        euler: the check of the Euler characteristic.
        known, found, misclassified: of the objective's inventory (None: it has none).
        complete: whether that inventory is complete.
    """

    objective: str
    domain: Float[np.ndarray, "d 2"]
    points: list[Verdict]
    hits: list[int]
    sets: list[int]
    starts: int
    arrived: int
    since: int
    exhausted: str = ""
    proof: Proof | None = None
    why: str = ""
    euler: Euler = field(default_factory=Euler)
    known: int | None = None
    found: int = 0
    misclassified: int = 0
    complete: bool = False

    @property
    def exact(self) -> bool:
        """Whether the points are proved to be all critical points in the domain."""
        return self.proof is not None and self.proof.complete

    @property
    def unseen(self) -> tuple[float, float]:
        """Good and Turing's chance that the next start that arrives finds a new point, n_1 / N (at
        least the rule of three's bound 3 / N if n_1 = 0), and Chao's lower bound on how many points
        are unseen, n_1 (n_1 - 1) / (2 (n_2 + 1)).

        Reference: I. J. Good, Biometrika 40 (1953) 237; A. Chao, Biometrics 43 (1987) 783.
        """
        if self.exact:
            return 0.0, 0.0
        hits = np.array(self.hits)
        once, twice = int(np.sum(hits == 1)), int(np.sum(hits == 2))
        total = max(int(hits.sum()), 1)
        return min(max(once, 3) / total, 1.0), once * (once - 1) / (2 * (twice + 1))

    @property
    def table(self) -> pd.DataFrame:
        """One row a point: x0 ..., f, grad_norm, index, kind, nullity, hits, certified, reached."""
        d = len(self.domain)
        x = np.array([v.x for v in self.points]).reshape(-1, d)
        columns: dict[str, Any] = {f"x{i}": x[:, i] for i in range(d)}
        columns["f"] = np.array([v.value for v in self.points], float)
        columns["grad_norm"] = np.array([v.grad_norm for v in self.points], float)
        columns["index"] = pd.array([v.index for v in self.points], dtype="Int64")
        columns["kind"] = pd.Series([self._kind(k) for k in range(len(self.points))], dtype="str")
        columns["nullity"] = np.array([v.nullity for v in self.points], int)
        columns["hits"] = np.array(self.hits, int)
        columns["certified"] = np.array([v.certified for v in self.points], bool)
        columns["reached"] = pd.array([v.reached for v in self.points], dtype="Int64")
        table = pd.DataFrame(columns)
        table.attrs["summary"] = self.summary()
        return table

    def _kind(self, k: int) -> str:
        return "degenerate set" if self.sets[k] > 1 else self.points[k].kind

    def summary(self) -> str:
        """A short text: what is certified, what is numerical, the checks."""
        kinds = [self._kind(k) for k in range(len(self.points))]
        plural = {"minimum": "minima", "maximum": "maxima"}
        parts = [
            f"{n} {k if n == 1 else plural.get(k, k + ('s' if k != 'degenerate' else ''))}"
            for k in ("minimum", "saddle", "maximum", "degenerate", "degenerate set")
            if (n := kinds.count(k))
        ]
        box = " x ".join(f"[{low:g}, {high:g}]" for low, high in self.domain[:4])
        box += " x ..." if len(self.domain) > 4 else ""
        noun = "critical point" if len(self.points) == 1 else "critical points"
        lines = [f"{self.objective}: {len(self.points)} {noun} in {box}: {', '.join(parts)}"]
        proved = sum(v.certified for v in self.points)
        if self.exact:
            n = len(self.points)
            lines.append(f"certified: exactly {n} critical point{'s' * (n != 1)} in this box")
        else:
            lines.append(
                f"numerical: completeness is not proved ({self.why}); {proved} of "
                f"{len(self.points)} points certified one by one"
            )
            chance, more = self.unseen
            lines.append(
                f"unseen: the next start finds a new point with a chance of about {chance:.2g}; "
                f"at least {more:.0f} more by Chao's estimate"
            )
        lines.append(
            f"{self.starts:,} starts, {self.arrived:,} arrived, the last {self.since:,} found "
            f"nothing new{'; ' + self.exhausted if self.exhausted else ''}"
        )
        lines.append(str(self.euler))
        if self.known is not None:
            lines.append(
                f"inventory: {self.found} of {self.known} known points found"
                f"{'' if self.complete else ' (it is not complete)'}, "
                f"{self.misclassified} misclassified"
            )
        return "\n".join(lines)
