"""What a call is about to do, who is told, and what became of each job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gdlab.analysis.endings import Ending
from gdlab.launch.build import Built
from gdlab.launch.settings import Settings
from gdlab.runner.sweep import Job
from gdlab.types import Record, Records

# Up to so many jobs, each run has its own artifacts and picture; beyond, they are pooled.
RICH = 20


@dataclass(frozen=True)
class Outcome:
    """What became of one job of a sweep.

    Attributes:
        overrides: what the user asked for.
        params: its resolved parameters.
        ending: how it ended; None if it failed, or was only planned.
        error: why it failed; None if it did not.
        run_id: of its MLflow run; None if nothing was tracked.
        known: whether the store held it already.
        record: of the descent, in small sweeps.
    """

    overrides: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    ending: Ending | None = None
    error: Exception | None = None
    run_id: str | None = None
    known: bool = False
    record: Record | Records | None = None

    @property
    def value(self) -> float | None:
        """The final loss, what an optimizing sweeper minimizes."""
        return self.ending.loss if self.ending else None


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    Attributes:
        have: jobs that the store has.
        missing: jobs that it lacks and that would run.
        failed: those of the missing that failed before.
        impossible: jobs that it lacks and that cannot run.
        groups: programs and how many jobs each would run.
    """

    have: int
    missing: int
    failed: int
    impossible: int
    groups: tuple[tuple[str, int], ...]


class Listener:
    """What is told how a sweep goes on: keeps the plan, and hands on what was done.

    Args:
        advance: takes the jobs that were finished and stored, and the steps that they took.
    """

    def __init__(self, advance: Callable[[int, int], None] | None = None) -> None:
        self._advance = advance
        self.plan: Any = None

    def planned(self, plan: Plan) -> None:
        """Before anything runs."""
        self.plan = plan

    def advanced(self, jobs: int, steps: int) -> None:
        """Jobs that were finished and stored, and the steps that they took."""
        if self._advance is not None:
            self._advance(jobs, steps)


@dataclass(frozen=True)
class Call:
    """What one call of `gdlab` or `gdlab -m` asks for.

    Attributes:
        built: its jobs.
        overrides: what the user asked of each.
        store: where runs are kept, or None.
        first: key of a configuration -> the first job that has it; the others share its run.
        ids: derived run id -> the id that the store has for it, where that is another.
    """

    built: Sequence[Built]
    overrides: Sequence[tuple[str, ...]]
    settings: Settings
    store: Any
    listener: Listener
    first: Mapping[str, int]
    ids: Mapping[str, str] = field(default_factory=dict)

    def jobs(self, members: Sequence[int]) -> list[Job]:
        """Those of some numbers."""
        return [job for i in members if (job := self.built[i].job) is not None]

    @property
    def rich(self) -> bool:
        """Whether each run keeps its own artifacts."""
        few = len(self.built) <= RICH
        return self.settings.artifacts == "always" or (self.settings.artifacts == "auto" and few)
