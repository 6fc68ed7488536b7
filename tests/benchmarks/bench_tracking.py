"""Storing runs: gdlab against the same rows inserted raw, and against MLflow's client.

    python tests/benchmarks/bench_tracking.py [RUNS] [URI]

Each run has 3 metrics of 100 points, 20 parameters and 8 tags. "Raw" is one executemany a table
on SQLite's own connection, all rows made beforehand, in transactions of the same size.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from gdlab.tracking import insert
from gdlab.tracking.address import sqlite_path
from gdlab.tracking.client import ClientStore
from gdlab.tracking.keys import RunData, run_id_for
from gdlab.tracking.provenance import user
from gdlab.tracking.read import load, load_curves
from gdlab.tracking.store import open_store

EXPERIMENT = "benchmark"
T = np.arange(100)


def runs(n: int) -> Iterator[RunData]:
    rng = np.random.default_rng(0)
    for i in range(n):
        key = f"{i:064x}"
        names = ("loss", "grad_norm", "step_size")
        yield RunData(
            run_id_for(EXPERIMENT, key),
            f"rosenbrock seed {i}",
            {"seed": str(i), **{f"group.param{k}": repr(k / 7) for k in range(19)}},
            {"key": key, "status": "converged", **{f"tag{k}": "some words" for k in range(6)}},
            {name: (T, y) for name, y in zip(names, rng.random((3, 100)))},
            end_ms=1_700_000_000_000 + i // 10,
        )


class Recorder:
    """Takes the rows that `insert` would write, and keeps them."""

    def __init__(self) -> None:
        self.tables: dict[str, tuple[str, list]] = {}

    def put(self, connection, table, columns, rows) -> None:
        marks = ",".join("?" * len(columns))
        text = f"insert into {table} ({','.join(columns)}) values ({marks})"
        self.tables[table] = (text, list(rows))


def raw(n: int, folder: str) -> None:
    """What SQLite alone takes for the same rows."""
    store = open_store(f"sqlite:///{folder}/raw.db", EXPERIMENT)
    put, recorded = insert._executemany, []
    for chunk in insert.chunks(runs(n), insert.CHUNK):
        recorder = Recorder()
        insert._executemany = recorder.put
        insert._insert_metrics(store.database, None, chunk)
        insert._insert_params(store.database, None, chunk)
        insert._insert_tags(store.database, None, chunk, user())
        rows = [insert._run_row(run, int(store.experiment_id), "root", user()) for run in chunk]
        recorder.put(None, "runs", insert.RUNS, rows)
        recorded.append(recorder.tables)
    insert._executemany = put
    connection = sqlite3.connect(sqlite_path(store.uri), isolation_level=None)
    connection.execute("pragma cache_size = -64000")

    def insert_all() -> None:
        for tables in recorded:
            connection.execute("begin immediate")
            for text, rows in tables.values():
                connection.executemany(text, rows)
            connection.execute("commit")

    timed("the same rows, raw", insert_all, n)
    connection.close()
    os.remove(sqlite_path(store.uri))


def timed(label: str, call, n: int):
    start, cpu = time.perf_counter(), time.process_time()
    result = call()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{label:34}{wall:8.2f} s{cpu:8.2f} s cpu{1e3 * wall / n:9.3f} ms a run", flush=True)
    return result


def main(n: int, uri: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"{n} runs x 3 metrics x 100 points")
        store = open_store(uri or f"sqlite:///{folder}/mlflow.db", EXPERIMENT)
        timed("write", lambda: store.write(runs(n)), n)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{'peak memory':34}{peak:8} MB")
        timed("write again (all known)", lambda: store.write(runs(n)), n)
        timed("finished_keys", store.finished_keys, n)
        timed("load", lambda: load(EXPERIMENT, store.uri), n)
        if n <= 10_000:
            timed("load_curves", lambda: load_curves(EXPERIMENT, store.uri), n)
        if uri is None:
            raw(n, folder)
        few = 100
        other = open_store(uri or f"sqlite:///{folder}/client.db", "client")
        client = ClientStore(other.uri, other.experiment, other.experiment_id)
        timed(f"MLflow's client, {few} runs", lambda: client.write(runs(few)), few)


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["1000"])[0]), (sys.argv[2:3] or [None])[0])
