"""Writes runs into MLflow's own tables: one transaction a chunk, metric rows in index order.

A run appears with its transaction, finished, or not at all; a process that is killed leaves none
running. The rollback journal makes that hold for `kill -9`, `synchronous=FULL` (SQLite's default)
for a power cut too.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from gdlab.tracking import metrics
from gdlab.tracking.database import Database
from gdlab.tracking.keys import RunData

CHUNK = 500

RUNS = (
    "run_uuid",
    "name",
    "source_type",
    "source_name",
    "entry_point_name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "source_version",
    "lifecycle_stage",
    "artifact_uri",
    "experiment_id",
)
TEXTS = ("key", "value", "run_uuid")
METRICS = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
CHILDREN = ("metrics", "latest_metrics", "params", "tags")

Series = tuple[str, list[int], list[float]]
T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def finite(run: RunData) -> Iterator[Series]:
    """Each metric's (name, steps, values) as it is written.

    Without values that are not finite and repeated steps; of a long curve `run.points` points, of
    a constant one its ends.
    """
    for name, (steps, values) in run.metrics.items():
        y = np.asarray(values, dtype=np.float64)
        at = np.asarray(steps)
        keep = np.isfinite(y)
        if not keep.all():
            at, y = at[keep], y[keep]
        if run.points is not None and len(at) > run.points:
            # One that stays where it was is a line between two points.
            still = bool((y == y[0]).all())
            some = metrics.log_spaced(at, 2 if still else run.points)
            at, y = at[some], y[some]
        t, series = at.tolist(), y.tolist()
        if len(set(t)) != len(t):
            last = dict(zip(t, series))
            t, series = list(last), list(last.values())
        if t:
            yield name, [int(s) for s in t] if type(t[0]) is not int else t, series


def stamped(runs: Iterable[RunData]) -> list[tuple[RunData, int]]:
    """The runs in order of their end, each with when its metrics count as logged, in milliseconds.

    Fused runs end at one moment. The primary key of the table of metrics is (key, timestamp,
    step, run, ...): with one timestamp, each run's rows would be scattered over the whole range;
    with rising ones they are appended (1.3 times faster). So a run's timestamp is its end, or
    earlier by as many milliseconds as it takes to keep them apart.
    """
    ordered = sorted(runs, key=lambda run: (run.end_ms, run.run_id))
    stamp = ordered[-1].end_ms + 1 if ordered else 0
    result = []
    for run in reversed(ordered):
        stamp = min(run.end_ms, stamp - 1)
        result.append((run, stamp))
    return result[::-1]


def insert_runs(
    database: Database,
    connection: Any,
    experiment_id: int,
    root: str,
    runs: Sequence[RunData],
    user: str,
    force: bool = False,
) -> list[str]:
    """Inserts one chunk; returns the ids written.

    A run that is stored as finished stays as it is, unless `force`; one that failed, was deleted
    or was left running is replaced. Another process that writes the same runs at the same moment
    waits for this transaction, then finds them stored.

    Args:
        connection: open for writing, in autocommit mode.
        root: the experiment's artifact location.
        runs: at most a few hundred, each id once.
    """
    # Locked in the same order by every process, so that two of them cannot wait for each other.
    ids = sorted(run.run_id for run in runs)
    with _transaction(database, connection):
        _clear(database, connection, experiment_id, ids, force)
        by_id = sorted(runs, key=lambda run: run.run_id)
        rows = [_run_row(run, experiment_id, root, user) for run in by_id]
        won = _insert_rows(database, connection, rows)
        written = [run for run in runs if run.run_id in won]
        _insert_metrics(database, connection, written)
        _insert_params(database, connection, written)
        _insert_tags(database, connection, written, user)
    return [run.run_id for run in written]


@contextlib.contextmanager
def _transaction(database: Database, connection: Any) -> Iterator[None]:
    """All that is written within it, or nothing."""
    connection.execute("begin immediate" if database.is_sqlite else "begin")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        # SQLite has rolled back by itself where the disk is full or the file is gone.
        with contextlib.suppress(Exception):
            connection.execute("rollback")
        raise


def replace_metric(
    database: Database, connection: Any, name: str, values: Mapping[str, float]
) -> None:
    """Sets a metric of stored runs (run id -> value) to one value at step 0."""
    now = int(time.time() * 1000)
    zero = 0 if database.is_sqlite else False
    with _transaction(database, connection):
        for some in chunks(sorted(values), CHUNK):
            marks = ",".join("?" * len(some))
            rows = [(name, float(values[run_id]), now, run_id, 0, zero) for run_id in some]
            for table in ("metrics", "latest_metrics"):
                delete = f"delete from {table} where key = ? and run_uuid in ({marks})"
                connection.execute(database.sql(delete), [name, *some])
                _insert(database, connection, table, METRICS, rows)


def _clear(
    database: Database, connection: Any, experiment_id: int, ids: list[str], force: bool
) -> None:
    """Deletes those of the experiment's runs that are to be replaced."""
    marks = ",".join("?" * len(ids))
    # Locking the runs first makes a second writer wait here; once the first has committed, its
    # new rows are other rows, and are not touched.
    which = "" if force else " and (status <> 'FINISHED' or lifecycle_stage <> 'active')"
    lock = "" if database.is_sqlite else " for update"
    select = (
        f"select run_uuid from runs where run_uuid in ({marks}) and experiment_id = ?{which} "
        f"order by run_uuid{lock}"
    )
    stale = [row[0] for row in connection.execute(database.sql(select), [*ids, experiment_id])]
    if stale:
        marks = ",".join("?" * len(stale))
        for table in (*CHILDREN, "runs"):
            delete = f"delete from {table} where run_uuid in ({marks})"
            connection.execute(database.sql(delete), stale)


def _run_row(run: RunData, experiment_id: int, root: str, user: str) -> tuple[Any, ...]:
    return (
        run.run_id,
        run.short_name,
        "UNKNOWN",
        "",
        "",
        user,
        run.status,
        run.start_ms,
        run.end_ms,
        "",
        "active",
        f"{root}/{run.run_id}/artifacts",
        experiment_id,
    )


def _insert_rows(database: Database, connection: Any, rows: list[tuple[Any, ...]]) -> set[str]:
    """Inserts the runs that are not there; returns their ids."""
    one = "(" + ",".join("?" * len(RUNS)) + ")"
    won: set[str] = set()
    for batch in _fifty(rows):
        text = (
            f"insert into runs ({','.join(RUNS)}) values {','.join([one] * len(batch))} "
            "on conflict (run_uuid) do nothing returning run_uuid"
        )
        values = list(itertools.chain.from_iterable(batch))
        won.update(row[0] for row in connection.execute(database.sql(text), values))
    return won


def _fifty(rows: list[Any]) -> Iterator[list[Any]]:
    # SQLite may be built to take no more than 999 marks a statement.
    return (rows[a : a + 50] for a in range(0, len(rows), 50))


def _insert_metrics(database: Database, connection: Any, runs: Sequence[RunData]) -> None:
    """Every value of every curve, and of each curve the value at its last step."""
    zero = 0 if database.is_sqlite else False
    latest: list[tuple[Any, ...]] = []

    def histories() -> Iterator[Iterable[tuple[Any, ...]]]:
        for run, stamp in stamped(runs):
            ids, times, zeros = (itertools.repeat(c) for c in (run.run_id, stamp, zero))
            for name, steps, values in finite(run):
                last = len(steps) - 1 if steps[-1] >= max(steps) else steps.index(max(steps))
                latest.append((name, values[last], stamp, run.run_id, steps[last], zero))
                yield zip(itertools.repeat(name), values, times, ids, steps, zeros)

    rows = itertools.chain.from_iterable(histories())
    _insert(database, connection, "metrics", METRICS, rows)
    _insert(database, connection, "latest_metrics", METRICS, latest)


def _insert_params(database: Database, connection: Any, runs: Sequence[RunData]) -> None:
    rows = [(k, v, run.run_id) for run in runs for k, v in run.all_params().items()]
    _insert(database, connection, "params", TEXTS, rows)


def _insert_tags(database: Database, connection: Any, runs: Sequence[RunData], user: str) -> None:
    rows = [(k, v, run.run_id) for run in runs for k, v in run.all_tags(user).items()]
    _insert(database, connection, "tags", TEXTS, rows)


def _insert(
    database: Database,
    connection: Any,
    table: str,
    columns: Sequence[str],
    rows: Iterable[tuple[Any, ...]],
) -> None:
    put = _executemany if database.is_sqlite else _copy
    put(connection, table, columns, rows)


def _executemany(
    connection: Any, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    marks = ",".join("?" * len(columns))
    connection.executemany(f"insert into {table} ({','.join(columns)}) values ({marks})", rows)


def _copy(
    connection: Any, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"copy {table} ({','.join(columns)}) from stdin") as copy,
    ):
        for row in rows:
            copy.write_row(row)
