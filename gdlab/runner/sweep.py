"""A sweep carried out: its groups in chunks, each chunk's lanes as one pool, compiled ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdlab import numerics
from gdlab.errors import UsageError
from gdlab.probes import check_probes
from gdlab.runner import plan as limits
from gdlab.runner import tracing
from gdlab.runner.comparison import ensembles, suspects
from gdlab.runner.here import Here
from gdlab.runner.plan import Group, Job, plan, record_marks
from gdlab.runner.pool import Pool, width
from gdlab.runner.program import Program
from gdlab.runner.work import Chunk, Hands, Work, carried_out, pool_of, works
from gdlab.types import Method, Objective, Records, Schedule

__all__ = ["Chunk", "Group", "Job", "Lost", "descents", "plan", "record_marks", "run"]

HOPELESS = 8  # jobs that raise, each alone, before the rest of their chunk is given up


@dataclass(frozen=True)
class Lost:
    """Jobs that could not be carried out, and why."""

    jobs: tuple[int, ...]
    error: Exception


@numerics.computing()
def descents(
    objective: Objective,
    x0: Any,
    *,
    method: Method | None = None,
    schedule: Schedule | None = None,
    steps: int = 1000,
    gtol: float = 1e-8,
    record: str = "log",
    points: int = 100,
    probes: Sequence[str] = (),
    precision: str = "float64",
    tails: bool = False,
) -> Records:
    """Descents on one objective from one start `[d]` or many `[n, d]`, not judged.

    The arguments are those of `gdlab.descend`; `tails` as in `run`.

    Raises:
        UsageError: x0 has the wrong dimension, or a number is out of its range.
    """
    start = np.asarray(x0, float)
    if start.ndim not in (1, 2) or start.shape[-1] != objective.dim or not start.size:
        raise UsageError(
            f"x0 has shape {start.shape}: {objective.name} takes [{objective.dim}] "
            f"or [n, {objective.dim}]"
        )
    if not 0 <= steps <= limits.MOST_STEPS or not 0 <= gtol <= limits.MOST_GTOL:
        raise UsageError(
            f"steps={steps}, gtol={gtol}: take 0 to {limits.MOST_STEPS:.2g} "
            f"and 0 to {limits.MOST_GTOL:g}"
        )
    if int(steps) != steps:
        raise UsageError(f"steps={steps}: takes an integer")
    if precision not in ("float64", "float32"):
        raise UsageError(f"precision={precision}: takes float64 or float32")
    check_probes("probes", probes)
    from gdlab import methods, schedules

    job = Job(
        objective=tracing.checked(objective, objective.name),
        method=method or methods.gradient(),
        schedule=schedule or schedules.constant(),
        x0=np.atleast_2d(start),
        steps=int(steps),
        gtol=float(gtol),
        marks=record_marks(int(steps), record, points),
        probes=tuple(probes),
        precision=precision,
    )
    (chunk,) = run([job], tails=tails)
    assert isinstance(chunk, Chunk)  # nothing is isolated
    return chunk.records


def run(
    jobs: Sequence[Job],
    groups: Sequence[Group] | None = None,
    tails: bool = False,
    isolate: bool = False,
) -> Iterator[Chunk | Lost]:
    """Carries the jobs out, chunk by chunk, each chunk's lanes as one pool.

    While a chunk computes, the programs of the next ones are compiled, one a core.

    Args:
        groups: of the jobs (default: `plan(jobs)`).
        tails: whether descents that used up their steps are followed for `pool.TAIL` more, as
            evidence of what they are doing (see `Records.tail`).
        isolate: whether a chunk that raises is yielded as `Lost`, and the others go on.

    Raises:
        UsageError: the record of a single job would not fit in memory.
    """
    groups = plan(jobs) if groups is None else groups
    queue = [work for together in ensembles(groups, jobs) for work in works(together, jobs)]
    devices = _devices()
    compiling: set[Program] = set()
    single = len(queue) == 1 and _is_one_block(queue[0], jobs)
    with _threads(devices, single) as workers, _threads(devices, single) as compilers:
        hands = Hands(workers, devices, tails)
        again = _Again(jobs, hands)

        def prepare(work: Work) -> Future[Pool]:
            program = work.groups[0].program
            new = not single and (not work.alone or program not in compiling)
            # What raises when it is traced is tried once, when its turn comes.
            new = new and not (isolate and len(queue) > 1 and again.suspected(work))
            compiling.add(program)
            return compilers.submit(pool_of, work, jobs, hands, new)

        coming: deque[Future[Pool]] = deque()
        try:
            for i, work in enumerate(queue):
                while len(coming) <= len(devices) and i + len(coming) < len(queue):
                    coming.append(prepare(queue[i + len(coming)]))
                pool = coming.popleft()
                try:
                    if isolate and (known := again.blamed(work)):
                        raise known
                    done = carried_out(pool.result(), work, jobs)
                except Exception as error:
                    if not isolate and work.alone:
                        raise
                    yield from again.alone(work, error) if isolate else again.apart(work)
                else:
                    yield from done
        finally:
            compilers.shutdown(cancel_futures=True)


class _Again:
    """What failed together, carried out apart: each group by itself, then half by half.

    Where the fault is that of a part alone (a method, say, that raises whatever it is given), one
    group that has it is enough, and all others are lost for the same reason.
    """

    def __init__(self, jobs: Sequence[Job], hands: Hands) -> None:
        self.jobs, self.hands = jobs, hands
        self.faults: dict[Hashable, UsageError] = {}

    def blamed(self, work: Work) -> UsageError | None:
        """The fault of a part that all the work's jobs have."""
        kinds = enumerate(work.groups[0].parts if work.alone else ())
        return next((self.faults[key] for key in kinds if key in self.faults), None)

    def suspected(self, work: Work) -> bool:
        """Whether a part of the work raises by itself."""
        group = work.groups[0]
        return work.alone and bool(suspects(group, self.jobs[group.jobs[0]]))

    def apart(self, work: Work) -> Iterator[Chunk]:
        """The chunks of groups that failed together, each by itself."""
        for one in self._groups(work):
            yield from self._chunks(one)

    def alone(self, work: Work, error: Exception) -> Iterator[Chunk | Lost]:
        """The same, and what is lost."""
        if not work.alone:
            for one in self._groups(work):
                try:
                    if known := self.blamed(one):
                        raise known
                    done = self._chunks(one)
                except Exception as trouble:
                    yield from self.alone(one, trouble)
                else:
                    yield from done
            return
        group = work.groups[0]
        self.faults |= suspects(group, self.jobs[group.jobs[0]])
        if known := self.blamed(work):
            yield Lost(work.members, known)
        else:
            yield from self._halved(work, error)

    def _groups(self, work: Work) -> Iterator[Work]:
        return (one for group in work.groups for one in works((group,), self.jobs))

    def _chunks(self, work: Work) -> list[Chunk]:
        return carried_out(pool_of(work, self.jobs, self.hands), work, self.jobs)

    def _halved(self, work: Work, error: Exception) -> Iterator[Chunk | Lost]:
        """The chunks of jobs that raised together: halved until a job that raises is alone.

        Where the first `HOPELESS` jobs that are alone all raise, the others are taken to be no
        better.
        """
        waiting, lost, kept = [(work.members, error)], 0, 0
        while waiting:
            these, error = waiting.pop()
            if len(these) == 1 or (lost >= HOPELESS and not kept):
                lost += len(these)
                yield Lost(these, error)
                continue
            for half in (these[: len(these) // 2], these[len(these) // 2 :]):
                try:
                    done = self._chunks(Work(work.groups, half))
                except Exception as trouble:
                    waiting.append((half, trouble))
                else:
                    kept += 1
                    yield from done


def _is_one_block(work: Work, jobs: Sequence[Job]) -> bool:
    """Whether all lanes go to a program at once, so that nothing is done side by side."""
    lanes = sum(len(jobs[i].x0) for i in work.members)
    return not work.alone or lanes <= width(jobs[work.members[0]].objective.dim)


def _threads(devices: Sequence[Any], single: bool) -> Executor:
    """A thread a device, which computes as gdlab does for as long as it lives."""
    if single:
        return Here()
    return ThreadPoolExecutor(len(devices), initializer=numerics.enter)


@numerics.computing()
def _devices() -> list[Any]:
    """Where blocks go in turn, a worker each: all accelerators, or one CPU device once a core.

    XLA computes what several threads ask of one CPU device side by side, and compiles for it once.
    """
    devices = jax.local_devices()
    return devices if devices[0].platform != "cpu" else devices[:1] * numerics.cores()
