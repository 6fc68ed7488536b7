"""How far each lane of a chunk is: the steps that it took, what was seen, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from gdlab.types import Records

# A segment ends where lanes may leave: where the step count has doubled, from here on.
FIRST_SEGMENT = 128
MOST_ROWS = 4096  # of a segment
TAIL = 48  # three rounds of the longest cycle that is looked for


class Progress:
    """What is known of the lanes between segments.

    Args:
        x0: starts `[d, n]`, in the descent's precision.
        marks: the steps that are recorded, ascending from 0.
        f_star: `[n]`, NaN where it is not known.

    Attributes:
        columns: name -> `[n, K, ...]`, as far as they were seen.
        length, end: the row and the step that a lane ended with.
        going: which lanes still go on.
        above: whose gradient at the end was above the tolerance.
    """

    def __init__(
        self, x0: Float[np.ndarray, "d n"], marks: Int[np.ndarray, " K"], f_star: np.ndarray
    ) -> None:
        self.x0, self.marks, self.f_star, self.n = x0, marks, f_star, x0.shape[1]
        self.columns: dict[str, np.ndarray] = {}
        self.length = np.full(self.n, len(marks))
        self.end = np.zeros(self.n, np.int64)
        self.going = np.ones(self.n, bool)
        self.above = np.ones(self.n, bool)

    def segments(self, cap: int) -> list[tuple[int, int]]:
        """Ranges of record points, of at most `cap` steps; lanes may leave between them."""
        marks, begin, found = self.marks, 0, []
        if len(marks) == 1:
            return [(0, 0)]  # no step: the start alone is looked at
        while begin < len(marks) - 1:
            t = marks[begin]
            until = t + min(max(t, FIRST_SEGMENT), cap)
            stop = max(int(np.searchsorted(marks, until, "right")) - 1, begin + 1)
            stop = min(stop, begin + MOST_ROWS)
            found.append((begin, stop))
            begin = stop
        return found

    def collect(
        self,
        members: Int[np.ndarray, " m"],
        begin: int,
        stop: int,
        t: Int[np.ndarray, " m"],
        active: Bool[np.ndarray, " m"],
        seen: Mapping[str, np.ndarray],
    ) -> None:
        """Takes in a segment of these lanes.

        Args:
            begin, stop: its range of record points.
            t: the steps that each lane has taken.
            active: who would go on.
            seen: name -> `[m, stop - begin + 1, ...]`; the last row is that of the lane's end.
        """
        for name, column in seen.items():
            if name not in self.columns:
                shape = (self.n, len(self.marks), *column.shape[2:])
                self.columns[name] = np.full(shape, np.nan)
            self.columns[name][members, begin:stop] = column[:, :-1]
        self.going[members] = active & (t < self.marks[-1])
        done = ~self.going[members]
        who, row = members[done], np.searchsorted(self.marks[:-1], t[done], "left")
        self.length[who], self.end[who] = row + 1, t[done]
        for name, column in seen.items():
            self.columns[name][who, row] = column[done, -1]
        self.above[who] = active[done]

    def records(
        self, end: Float[np.ndarray, "n d"], tail: np.ndarray | None, looks: bool | np.ndarray
    ) -> Records:
        """All lanes' records.

        Args:
            end: the points where they ended.
            tail: the iterates that followed, where they were asked for.
            looks: whose schedule looks at the descent.
        """
        columns, rows = self.columns, len(self.marks)
        path = columns.pop("x", None)
        step = np.broadcast_to(self.marks.astype(float), (self.n, rows)).copy()
        step[np.arange(self.n), self.length - 1] = self.end
        columns["step"] = step
        columns["grad_evals"] = step.copy()
        for name in ("f_evals", "hvp_evals"):
            columns.setdefault(name, np.zeros((self.n, rows)))
        columns["gap"] = columns["loss"] - self.f_star[:, None]
        columns.setdefault("distance", np.full((self.n, rows), np.nan))
        status, reason = self._endings(tail, looks)
        return Records(columns, self.length, end, status, path, tail=tail, reason=reason)

    def _endings(
        self, tail: np.ndarray | None, looks: bool | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Status and reason of each lane (`types.STATUSES`, `types.REASONS`)."""
        last = (np.arange(self.n), self.length - 1)
        f_ok = np.isfinite(self.columns["loss"][last])
        # The norm of a finite gradient may be beyond the largest number: such a lane goes on.
        g_ok = np.isfinite(self.columns["grad_norm"][last]) | self.above
        status = np.where(self.above, "budget", np.where(f_ok & g_ok, "converged", "diverged"))
        lost = np.where(f_ok, "gradient", np.where(g_ok, "f", "f and gradient"))
        reason = np.where(self.above, "steps", np.where(f_ok & g_ok, "gtol", lost)).astype("U14")
        if tail is not None:
            eta = self.columns["step_size"][last]
            rests = self.above & (tail[:, 1:] == tail[:, :1]).all(axis=(1, 2))
            still = np.where(eta == 0, np.where(looks, "search", "schedule"), "rounding")
            no_step = np.isnan(self.columns["slope"][last]) & (eta != 0)  # u = 0: 0/0
            reason = np.where(rests, np.where(no_step, "direction", still), reason)
        return status, reason
