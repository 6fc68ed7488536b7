"""Planned jobs, carried out: computed chunk by chunk, judged, described and stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gdlab.analysis.endings import Ending
from gdlab.analysis.parameters import several
from gdlab.errors import UsageError
from gdlab.launch.background import Writes, ahead
from gdlab.launch.described import Sheet, sweep_id
from gdlab.launch.plan import Call, Outcome
from gdlab.runner import sweep
from gdlab.tracking import keys
from gdlab.types import Record, Records, Verdict


class Execution:
    """Runs jobs chunk by chunk, and keeps each chunk while the next one computes.

    Args:
        outcomes: of the jobs that are known; takes in those of the others.
        todo: the jobs to run, those that cannot among them.
        anew: whether finished runs of these jobs are replaced.
    """

    def __init__(
        self, call: Call, outcomes: dict[int, Outcome], todo: Sequence[int], anew: bool
    ) -> None:
        self.call, self.outcomes, self.todo, self.anew = call, outcomes, todo, anew
        self.place = {i: k for k, i in enumerate(call.first.values())}
        self.swept = several([b.params for b in call.built])
        self.sweep_id = sweep_id(call.settings, call.overrides)
        self.closing = self._closing() if call.store else None
        shown = self.closing.shown if self.closing is not None else {}
        rich = call.rich and call.store is not None
        records = None
        if self.closing is not None:
            own = keys.OWN if call.store.files_first else None
            records = own if rich else self.closing.records
        self.sheet = Sheet(call.settings, self.sweep_id, self.swept, rich, records, shown, call.ids)

    def run(self, runnable: Sequence[int], groups: Sequence[sweep.Group]) -> None:
        """Fills `outcomes`, and the store."""
        chunks = sweep.run(self.call.jobs(runnable), groups, tails=True, isolate=True)
        with (
            ThreadPoolExecutor(1, "store") as writer,
            Writes(writer, self.call.store, self.anew) as writes,
        ):
            for i in self.todo:
                if (error := self.call.built[i].error) is not None:
                    self._failed([i], error, writes)
            for chunk in ahead(chunks):
                self._taken(chunk, [runnable[j] for j in chunk.jobs], writes)
        if self.closing is not None:
            self.closing.close()

    def _closing(self) -> Any:
        from gdlab.tracking.closing import Closing

        settings = self.call.settings
        once = [self.call.built[i] for i in self.place]
        closing = Closing(
            self.call.store,
            self.sweep_id,
            [b.params for b in once],
            [b.job.marks if b.job else None for b in once],
            self.swept,
            settings.command,
            study=settings.study,
            large=not self.call.rich,
            artifacts=settings.artifacts != "never",
        )
        closing.known = {self.place[i]: o.run_id for i, o in self.outcomes.items() if o.run_id}
        return closing

    def _taken(self, chunk: sweep.Chunk | sweep.Lost, members: list[int], writes: Writes) -> None:
        """A chunk that was computed; a job that fails, fails alone: it is listed at the end."""
        if isinstance(chunk, sweep.Lost):
            self._failed(members, chunk.error, writes)
            return
        try:
            self._keep(chunk, members, writes)
        except UsageError:
            raise
        except Exception as error:
            self._failed([i for i in members if i not in self.outcomes], error, writes)

    def _keep(self, chunk: sweep.Chunk, members: list[int], writes: Writes) -> None:
        """Judges, describes and stores a chunk of jobs."""
        call = self.call
        runs, steps = [], 0
        lanes = [chunk.lanes[j] for j in chunk.jobs]
        how = [call.built[i].params["verdict"] for i in members]
        judged = judged_together(chunk, call.jobs(members), how)
        for i, place, record in zip(members, lanes, judged):
            built = call.built[i]
            tail = None if chunk.records.tail is None else chunk.records.tail[place]
            ending = Ending.of(record, tail, built.job.schedule if built.job else None)
            run = self.sheet.finished(built, call.overrides[i], record, ending)
            runs.append(run)
            steps += int(np.sum(record.steps))
            self.outcomes[i] = Outcome(
                call.overrides[i],
                built.params,
                ending,
                run_id=run.run_id if call.store else None,
                record=record if call.rich else None,
            )
        around: AbstractContextManager[None] = nullcontext()
        if self.closing is not None:
            self.closing.keep([self.place[i] for i in members], runs)
            around = self.closing.pool(chunk.records, lanes, runs)
        writes.add(runs, lambda: call.listener.advanced(len(runs), steps), around)

    def _failed(self, members: Sequence[int], error: Exception, writes: Writes) -> None:
        call = self.call
        runs = [self.sheet.failed(call.built[i], call.overrides[i], error) for i in members]
        for i in members:
            self.outcomes[i] = Outcome(call.overrides[i], call.built[i].params, error=error)
        if self.closing is not None:
            self.closing.keep([self.place[i] for i in members], runs)
        writes.add(runs, lambda: call.listener.advanced(len(runs), 0))


def judged_together(
    chunk: sweep.Chunk, jobs: Sequence[sweep.Job], how: Sequence[str]
) -> Iterator[Record | Records]:
    """Each job's record with its verdicts; jobs that share an objective are judged at once.

    Args:
        how: each is judged: `full`, `quick` or `off`.
    """
    from gdlab.critical.verdict import judge

    records = chunk.records
    places = [chunk.lanes[i] for i in chunk.jobs]
    verdicts: dict[int, Sequence[Verdict]] = {}
    for kind in sorted(set(how) - {"off"}):
        mine = [k for k, one in enumerate(how) if one == kind]
        starts = [len(jobs[k].x0) for k in mine]
        # All of them without a copy: what most sweeps are.
        rows: Any = np.concatenate([np.arange(places[k].start, places[k].stop) for k in mine])
        rows = slice(None) if len(mine) == len(jobs) else rows
        found = judge(
            [jobs[k].objective for k in mine],
            records.x[rows],
            records.status[rows],
            gtol=np.repeat([jobs[k].gtol for k in mine], starts),
            owner=np.repeat(np.arange(len(mine)), starts),
            tail=None if records.tail is None else records.tail[rows],
            how=kind,
        )
        for k, end in zip(mine, np.cumsum(starts), strict=True):
            verdicts[k] = found[end - len(jobs[k].x0) : end]
    for k, (place, job) in enumerate(zip(places, jobs, strict=True)):
        part = records.part(place, verdicts.get(k))
        yield part[0] if len(job.x0) == 1 else part
