"""A call of `gdlab`, `gdlab -m` or a study: configurations -> jobs -> records -> tracked runs."""

from __future__ import annotations

import dataclasses
import hashlib
import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from gdlab import numerics
from gdlab.errors import UsageError
from gdlab.launch import artifacts
from gdlab.launch.build import Built, build
from gdlab.registry import check, suggest
from gdlab.runner import sweep
from gdlab.tracking import address, describe, keys
from gdlab.tracking.keys import RunData
from gdlab.tracking.provenance import provenance
from gdlab.types import COLUMNS, Record, Records

# Up to so many jobs, each run has its own artifacts and picture; beyond, they are pooled.
RICH = 20
# Overrides that say how a sweep is carried out and kept.
KEPT = ("tracking.", "tracking=", "resume=", "dry_run=", "max_jobs=")

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How a sweep is carried out and kept; none of it changes a number.

    Attributes:
        uri: the store; None keeps nothing.
        experiment: MLflow experiment; a study's own name where there is one.
        study: name of the study.
        metrics: columns kept as curves.
        artifacts: `auto`, `always` or `never`.
        resume: whether what the store holds as finished is left as it is.
        dry_run: whether to plan only.
        command: what the user typed, for the run pages.
    """

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "gdlab"
    study: str | None = None
    metrics: tuple[str, ...] = ("loss", "grad_norm", "step_size")
    artifacts: str = "auto"
    resume: bool = True
    dry_run: bool = False
    command: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any], command: str = "") -> Settings:
        """Those of a configuration."""
        tracking = config["tracking"]
        known = {"enabled", "uri", "experiment", "metrics", "artifacts"}
        for key in tracking:
            if key not in known:
                raise UsageError(f"tracking.{key}: no such key; {suggest(key, sorted(known))}")
        metrics = tuple(check("tracking.metrics", tracking["metrics"], list[str]))
        probes = (config.get("record") or {}).get("probes") or []
        columns = [*COLUMNS[1:], *check("record.probes", probes, list[str])]
        for name in metrics:
            if name not in columns:
                raise UsageError(f"tracking.metrics=[{name}]: {suggest(name, columns)}")
        return cls(
            uri=check("tracking.uri", tracking["uri"], str | None) or address.address()
            if check("tracking.enabled", tracking["enabled"], bool)
            else None,
            experiment=str(config.get("study") or tracking["experiment"]),
            study=config.get("study"),
            metrics=metrics,
            artifacts=check(
                "tracking.artifacts", tracking["artifacts"], Literal["auto", "always", "never"]
            ),
            resume=check("resume", config.get("resume", True), bool),
            dry_run=check("dry_run", config.get("dry_run", False), bool),
            command=address.shown(command),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of one job of a sweep.

    Attributes:
        value: final loss, what an optimizing sweeper minimizes.
        error: why the job failed; None if it did not.
        overrides: what the user asked for.
        run_id: of its MLflow run; None if nothing was tracked.
        known: whether the store held it already.
        status, verdict: of the descent.
        reached: number of the known critical point it ended in; None where none is near.
        steps: that it took; of many starts, their median.
        floor: gradient norm at which it stands still, its steps lost in rounding; None where it
            moves on.
    """

    overrides: tuple[str, ...]
    value: float | None = None
    error: Exception | None = None
    run_id: str | None = None
    known: bool = False
    status: str | None = None
    verdict: str | None = None
    reached: int | None = None
    steps: float | None = None
    floor: float | None = None
    record: Record | Records | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a sweep would do: jobs that the store has, lacks, holds as failed; and its programs."""

    have: int
    missing: int
    failed: int
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


def carry_out(
    configs: Sequence[Mapping[str, Any]],
    overrides: Sequence[Sequence[str]],
    settings: Settings,
    listener: Listener | None = None,
) -> list[Outcome]:
    """Builds, plans, runs, judges and tracks jobs; one outcome each, in their order.

    Args:
        configs: resolved configurations as plain containers.
        overrides: what the user asked of each, for messages.

    Raises:
        UsageError: a configuration is wrong (nothing runs), or the store cannot be used.
    """
    numerics.settle(c["numerics"] for c in configs)
    listener = listener or Listener()
    built = _built(configs, overrides)
    if len(built) == 1 and built[0].error is not None:
        raise built[0].error
    store = None
    if settings.uri is not None:
        from gdlab.tracking.store import open_store

        store = open_store(settings.uri, settings.experiment)
    return Campaign(built, [tuple(o) for o in overrides], settings, store, listener).run()


def _built(configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]) -> list[Built]:
    built = []
    for i, config in enumerate(configs):
        try:
            built.append(build(config))
        except UsageError as error:
            if len(configs) == 1:
                raise
            raise UsageError(
                f"job {i} of {len(configs)} ({' '.join(overrides[i])}): {error}"
            ) from error.__cause__
    return built


@dataclass
class Campaign:
    """One call of `gdlab` or `gdlab -m`: its jobs, and what became of them."""

    built: Sequence[Built]
    overrides: Sequence[tuple[str, ...]]
    settings: Settings
    store: Any
    listener: Listener
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    lacking: bool = False

    def run(self) -> list[Outcome]:
        todo = self._todo()
        jobs = {i: job for i in todo if (job := self.built[i].job) is not None}
        order = list(jobs)
        groups = sweep.plan(list(jobs.values()))
        self.swept = swept([b.params for b in self.built])
        self.rich = self.settings.artifacts == "always" or (
            self.settings.artifacts == "auto" and len(self.built) <= RICH
        )
        self.sweep_id = _sweep_id(self.settings, self.overrides)
        self.listener.planned(self._plan(todo, order, groups))
        if self.settings.dry_run:
            return [Outcome(o) for o in self.overrides]
        self.closing = self._closing(todo) if self.store else None
        with (
            ThreadPoolExecutor(1, "store") as writer,
            _Writes(writer, self.store, force=self.lacking or not self.settings.resume) as writes,
        ):
            for i in todo:
                if (error := self.built[i].error) is not None:
                    self._failed([i], error, writes)
            for chunk in _ahead(sweep.run(list(jobs.values()), groups, tails=True, isolate=True)):
                members = [order[j] for j in chunk.jobs]
                if isinstance(chunk, sweep.Lost):
                    self._failed(members, chunk.error, writes)
                    continue
                try:
                    self._keep(chunk, members, writes)
                except UsageError:
                    raise
                except Exception as error:  # a job that fails, fails alone: it is listed at the end
                    lost = [i for i in members if i not in self.outcomes]
                    self._failed(lost, error, writes)
        if self.closing is not None:
            self.closing.close()
        return self._all()

    def _closing(self, todo: Sequence[int]) -> Any:
        from gdlab.tracking.closing import Closing

        once = list(self.first.values())
        closing = Closing(
            self.store,
            self.sweep_id,
            [self.built[i].params for i in once],
            [job.marks if (job := self.built[i].job) else None for i in once],
            self.swept,
            self.settings.command,
            study=self.settings.study,
            large=not self.rich,
            artifacts=self.settings.artifacts != "never",
        )
        self.place = {i: k for k, i in enumerate(once)}
        closing.known = {
            self.place[i]: o.run_id for i, o in self.outcomes.items() if o.run_id is not None
        }
        return closing

    def _todo(self) -> list[int]:
        """Jobs to run: the first of each key that the store does not hold as finished."""
        self.first: dict[str, int] = {}
        for i, built in enumerate(self.built):
            self.first.setdefault(built.key, i)
        derived = [keys.run_id_for(self.settings.experiment, key) for key in self.first]
        self.ids = self.store.run_ids(derived) if self.store is not None else {}
        if self.store is None or not self.settings.resume:
            return list(self.first.values())
        self.store.repair()
        stored = self.store.finished_keys()
        have = [(i, stored[key]) for key, i in self.first.items() if key in stored]
        finals = self.store.finals() if have else {}
        for i, run_id in have:
            final = finals.get(run_id, {})
            if not set(self._curves(i)) <= keys.curves_of(final):
                self.lacking = True  # it is stored anew, with the curves that are asked for now
                continue
            kind = final.get(keys.CRITICAL_KIND)
            # What diverged has as its last metric the last that was finite.
            diverged = final.get(keys.STATUS) == "diverged"
            self.outcomes[i] = Outcome(
                self.overrides[i],
                value=float("inf") if diverged else final.get("loss"),
                run_id=run_id,
                known=True,
                status=final.get(keys.STATUS),
                verdict=kind and kind.replace("_", " "),
                reached=None if final.get(keys.REACHED) is None else int(final[keys.REACHED]),
                steps=final.get("steps"),
                params=self.built[i].params,
            )
        return [i for i in self.first.values() if i not in self.outcomes]

    def _plan(self, todo: list[int], order: list[int], groups: Sequence[sweep.Group]) -> Plan:
        failed = self.store.failed_keys() if self.store else {}
        return Plan(
            have=len(self.first) - len(todo),
            missing=len(todo),
            failed=sum(self.built[i].key in failed for i in todo),
            groups=tuple(
                (_structure(self.built[order[group.jobs[0]]].params), len(group.jobs))
                for group in groups
            ),
        )

    def _keep(self, chunk: sweep.Chunk, members: list[int], writes: _Writes) -> None:
        """Judges, describes and stores a chunk of jobs."""
        jobs = [job for i in members if (job := self.built[i].job) is not None]
        records = judged_together(chunk, jobs)
        runs, steps = [], 0
        for i, j, record in zip(members, chunk.jobs, records, strict=True):
            run = self._described(i, record)
            runs.append(run)
            steps += int(np.sum(record.steps))
            self.outcomes[i] = Outcome(
                self.overrides[i],
                value=_loss(record),
                run_id=run.run_id if self.store else None,
                status=describe.status_of(record),
                verdict=_verdict(record),
                reached=_reached(record),
                steps=float(np.median(record.steps)),
                floor=_floor(record, chunk.records.tail, chunk.lanes[j]),
                record=record if self.rich else None,
                params=self.built[i].params,
            )
        around: AbstractContextManager[None] = nullcontext()
        if self.closing is not None:
            self.closing.keep([self.place[i] for i in members], runs)
            lanes = [chunk.lanes[j] for j in chunk.jobs]
            around = self.closing.pool(chunk.records, lanes, runs)
        writes.add(runs, lambda: self.listener.advanced(len(runs), steps), around)

    def _failed(self, members: Sequence[int], error: Exception, writes: _Writes) -> None:
        runs = []
        for i in members:
            self.outcomes[i] = Outcome(self.overrides[i], error=error, params=self.built[i].params)
            runs.append(self._data(i, "FAILED", {}, {"error": f"{type(error).__name__}: {error}"}))
        if self.closing is not None:
            self.closing.keep([self.place[i] for i in members], runs)
        writes.add(runs, lambda: self.listener.advanced(len(runs), 0))

    def _described(self, i: int, record: Record | Records) -> RunData:
        built = self.built[i]
        if isinstance(record, Record):
            metrics = describe.single(record, self._curves(i), log10=self.rich)
        else:
            metrics = describe.population(record, self._curves(i))
        tags = {
            keys.STATUS: describe.status_of(record),
            **describe.verdict_tags(record),
        }
        files = artifacts.artifacts(built, record) if self.rich else {}
        again = shlex.join(["gdlab", *map(address.shown, self.overrides[i])])
        run_id = self._run_id(i)
        picture = describe.picture_link(run_id, "descent.png") if files else ""
        note = describe.note(record, again, picture)
        return self._data(i, "FINISHED", metrics, tags, files, note)

    def _curves(self, i: int) -> tuple[str, ...]:
        """Metrics that a job's run keeps as curves: those of the sweep, and its own probes."""
        probes = self.built[i].params["record.probes"]
        return tuple(dict.fromkeys([*self.settings.metrics, *probes]))

    def _run_id(self, i: int) -> str:
        derived = keys.run_id_for(self.settings.experiment, self.built[i].key)
        return self.ids.get(derived, derived)

    def _data(
        self,
        i: int,
        status: str,
        metrics: Mapping[str, Any],
        tags: Mapping[str, str],
        artifacts: Mapping[str, bytes] | None = None,
        note: str = "",
    ) -> RunData:
        built, settings = self.built[i], self.settings
        now = int(time.time() * 1000)
        study = {keys.STUDY: settings.study} if settings.study else {}
        return RunData(
            run_id=self._run_id(i),
            name=describe.run_name(built.params, self.swept),
            params=describe.params_text(built.params),
            tags={
                keys.KEY: built.key,
                keys.SWEEP: self.sweep_id,
                **keys.curves_tag(self._curves(i)),
                keys.COMMAND: address.shown(" ".join(self.overrides[i])),
                **study,
                **provenance(),
                **(self.closing.shown if self.closing is not None else {}),
                **tags,
            },
            metrics=metrics,
            artifacts=artifacts or {},
            status=status,
            start_ms=now,
            end_ms=now,
            note=note,
        )

    def _all(self) -> list[Outcome]:
        """One outcome a job, those of equal configuration sharing theirs."""
        return [
            dataclasses.replace(self.outcomes[self.first[b.key]], overrides=self.overrides[i])
            for i, b in enumerate(self.built)
        ]


def swept(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters that differ between jobs, seed last: names and dashboards lead with them."""
    values: dict[str, set[str]] = {}
    for row in params:
        for key, value in row.items():
            values.setdefault(key, set()).add(repr(value))
    several = [key for key, seen in values.items() if len(seen) > 1]
    return sorted(several, key=lambda key: key == "seed")


def judged_together(chunk: sweep.Chunk, jobs: Sequence[sweep.Job]) -> list[Record | Records]:
    """Each job's record with its verdicts; jobs that share an objective are judged at once."""
    from gdlab.critical.verdict import judge

    records = chunk.records
    places = [chunk.lanes[i] for i in chunk.jobs]
    verdicts = judge(
        [job.objective for job in jobs],
        records.x,
        records.status,
        gtol=np.concatenate([np.full(len(job.x0), job.gtol) for job in jobs]),
        owner=np.concatenate([np.full(len(job.x0), k) for k, job in enumerate(jobs)]),
        tail=records.tail,
    )
    out: list[Record | Records] = []
    for place, job in zip(places, jobs, strict=True):
        part = records.part(place, verdicts[place])
        out.append(part[0] if len(job.x0) == 1 else part)
    return out


def _loss(record: Record | Records) -> float:
    """Final loss; of many starts, the median of those that did not diverge."""
    loss = np.atleast_1d(record.final("loss"))
    ended = loss[(np.atleast_1d(record.status) != "diverged") & np.isfinite(loss)]
    return float(np.median(ended)) if len(ended) else float("inf")


def _floor(record: Record | Records, tail: np.ndarray | None, lanes: slice) -> float | None:
    """Gradient norm of descents whose last steps did not move x; None if any of them moves."""
    if tail is None:
        return None
    after = tail[lanes]
    eps = np.finfo(after.dtype).eps
    still = np.ptp(after, axis=1) <= 4 * eps * np.abs(after).max(axis=1)  # NaN where it converged
    return float(np.median(record.final("grad_norm"))) if still.all() else None


def _verdict(record: Record | Records) -> str | None:
    if isinstance(record, Record):
        return record.verdict.label if record.verdict else None
    return None


def _reached(record: Record | Records) -> int | None:
    return record.verdict.reached if isinstance(record, Record) and record.verdict else None


def _structure(params: Mapping[str, Any]) -> str:
    return " x ".join(str(params[f"{g}.name"]) for g in ("objective", "method", "schedule"))


def _sweep_id(settings: Settings, overrides: Sequence[Sequence[str]]) -> str:
    """The same sweep, typed again, has the same id; how it is kept makes no difference."""
    asked = sorted(
        tuple(w for w in words if not w.lstrip("+~").startswith(KEPT)) for words in overrides
    )
    text = repr((settings.experiment, asked))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, the next one being made while one is used."""
    made: queue.Queue[Any] = queue.Queue(maxsize=1)
    done = object()

    def make() -> None:
        try:
            for item in items:
                made.put(item)
            made.put(done)
        except BaseException as error:  # carried over to the thread that waits
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (item := made.get()) is not done:
        if isinstance(item, BaseException):
            raise item
        yield item


class _Writes:
    """Runs on their way to the store, one batch behind the computation."""

    def __init__(self, writer: ThreadPoolExecutor, store: Any, force: bool) -> None:
        self.writer, self.store, self.force = writer, store, force
        self.pending: Future[None] | None = None

    def __enter__(self) -> _Writes:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._wait()

    def add(
        self,
        runs: Sequence[RunData],
        then: Callable[[], None],
        around: AbstractContextManager[None] | None = None,
    ) -> None:
        """Stores the runs within a context."""
        self._wait()
        self.pending = self.writer.submit(self._write, runs, then, around or nullcontext())

    def _write(
        self,
        runs: Sequence[RunData],
        then: Callable[[], None],
        around: AbstractContextManager[None],
    ) -> None:
        with around:
            if self.store is not None:
                self.store.write(runs, force=self.force)
        then()

    def _wait(self) -> None:
        if self.pending is not None:
            self.pending.result()
