"""What a descent leaves: its record, its end point, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gdlab.types.verdict import Verdict

STATUSES = ("converged", "budget", "diverged")
# Why a descent ended. Of `budget`, what holds still is said only where its last step did not move
# x; `steps` is that it still moved, or that nobody looked.
REASONS = {
    "gtol": "the gradient is as small as gtol",
    "steps": "the steps are used up",
    "schedule": "the schedule has ended: its step sizes are 0",
    "search": "the rule finds no step: its step size is 0",
    "direction": "the method gives no direction: its step is 0",
    "rounding": "the step is lost in the rounding of x",
    "f": "f is not finite",
    "gradient": "the gradient is not finite",
    "f and gradient": "f and the gradient are not finite",
}


# Recorded at each recorded step, in this order, for every descent. At step t they describe x_t
# and the step that is about to be taken from it.
COLUMNS = (
    "step",
    "loss",
    "grad_norm",
    "step_size",
    "gap",
    "distance",
    "slope",
    "angle",
    "f_evals",
    "grad_evals",
    "hvp_evals",
)


@dataclass(frozen=True, eq=False)
class Record:
    """One descent. Step 0 is the initialization; the last row is the end point.

    Attributes:
        columns: `COLUMNS` (and further probes) -> `[T]`. `gap` = loss - f_star and `distance` to
            the nearest known minimizer are NaN where the facts lack them; `slope` = u'g/|u| is
            the directional derivative along the step (eq. 4.3), `angle` in radians between the
            step and -g (eq. 4.4); `f_evals`, `grad_evals`, `hvp_evals` count what was spent to
            reach x_t.
        path: x at each recorded step `[T, d]`, kept where d <= 3, else None.
        x: the end point `[d]`.
        status: `converged` (||grad|| <= gtol), `budget` (steps used up) or `diverged` (f or the
            gradient is not finite; the last row is the first bad step).
        verdict: what the end point is.
        reason: why it ended, one of `REASONS`.
    """

    columns: Mapping[str, np.ndarray]
    x: Float[np.ndarray, " d"]
    status: str
    path: Float[np.ndarray, "T d"] | None = None
    verdict: Verdict | None = None
    reason: str = ""

    @property
    def ending(self) -> str:
        """Why it ended, in words: `the gradient is not finite at step 12`."""
        words = REASONS.get(self.reason, "")
        return f"{words} at step {self.steps}" if self.status == "diverged" and words else words

    def __getattr__(self, name: str) -> np.ndarray:
        # A copy is asked for names like __setstate__ before it has any columns.
        columns = self.__dict__.get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(f"Record has no {name!r}; it has {list(columns)}")

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self.columns["step"][-1])

    def final(self, name: str) -> float:
        """Last recorded value of a column."""
        return float(self.columns[name][-1])


@dataclass(frozen=True, eq=False)
class Records:
    """n descents side by side; `records[i]` is one `Record`.

    Attributes:
        columns: name -> `[n, T]`, rows beyond `length[i]` are meaningless padding.
        path: `[n, T, d]` or None.
        length: rows of each `[n]`.
        x: end points `[n, d]`.
        status: `[n]` strings.
        verdicts: one each, or None if not asked for.
        tail: iterates after the last recorded step, of descents that used up their steps
            `[n, m, d]` (NaN for the others), or None: evidence of cycles.
        reason: why each ended `[n]`, of `REASONS`; None where nobody asked.
    """

    columns: Mapping[str, np.ndarray]
    length: Int[np.ndarray, " n"]
    x: Float[np.ndarray, "n d"]
    status: np.ndarray
    path: Float[np.ndarray, "n T d"] | None = None
    verdicts: Sequence[Verdict] | None = None
    tail: Float[np.ndarray, "n m d"] | None = None
    reason: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Record:
        rows = int(self.length[i])
        return Record(
            columns={name: values[i, :rows] for name, values in self.columns.items()},
            x=self.x[i],
            status=str(self.status[i]),
            path=None if self.path is None else self.path[i, :rows],
            verdict=None if self.verdicts is None else self.verdicts[i],
            reason="" if self.reason is None else str(self.reason[i]),
        )

    @property
    def steps(self) -> Int[np.ndarray, " n"]:
        """Steps taken by each, `[n]`."""
        return self.columns["step"][np.arange(len(self)), self.length - 1].astype(np.int64)

    def final(self, name: str) -> np.ndarray:
        """Last recorded value of a column, `[n]`."""
        return self.columns[name][np.arange(len(self)), self.length - 1]

    def part(self, lanes: slice, verdicts: Sequence[Verdict] | None = None) -> Records:
        """Some of the descents, as views of these arrays."""
        return Records(
            columns={name: values[lanes] for name, values in self.columns.items()},
            length=self.length[lanes],
            x=self.x[lanes],
            status=self.status[lanes],
            path=None if self.path is None else self.path[lanes],
            verdicts=verdicts,
            tail=None if self.tail is None else self.tail[lanes],
            reason=None if self.reason is None else self.reason[lanes],
        )
