"""Each run's rank on its problem, as the metric by which the UI orders runs.

A rank is known once all runs of a sweep have ended, so it is written after them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gdlab.tracking import keys
from gdlab.tracking.client import pages
from gdlab.tracking.store import chunks, mlflow_errors

if TYPE_CHECKING:
    from gdlab.tracking.store import Store

RANK = "rank"
TABLES = ("metrics", "latest_metrics")


def write_ranks(store: Store, ranks: Mapping[str, int]) -> None:
    """Writes the ranks of stored runs, in place of any that they had.

    Args:
        ranks: run id, as derived or as the server chose it -> rank.
    """
    now = int(time.time() * 1000)
    if store.database is None:
        with mlflow_errors(store.uri):
            asked = "attributes.status = 'FINISHED'"
            for run in list(pages(store.client, [store.experiment_id], asked)):
                mine = {run.info.run_id, run.data.tags.get(keys.RUN_KEY)} & ranks.keys()
                if mine:
                    store.client.log_metric(run.info.run_id, RANK, float(ranks[mine.pop()]), now, 0)
        return
    zero = 0 if store.database.is_sqlite else False
    with store.database.connect() as connection:
        connection.execute("begin immediate" if store.database.is_sqlite else "begin")
        for some in chunks(sorted(ranks), 100):
            marks = ",".join("?" * len(some))
            row = ((RANK, float(ranks[run_id]), now, run_id, 0, zero) for run_id in some)
            rows = list(itertools.chain.from_iterable(row))
            places = ",".join(["(?, ?, ?, ?, ?, ?)"] * len(some))
            for table in TABLES:
                for text, values in (
                    (f"delete from {table} where key = ? and run_uuid in ({marks})", [RANK, *some]),
                    (
                        f"insert into {table} (key, value, timestamp, run_uuid, step, is_nan) "
                        f"values {places}",
                        rows,
                    ),
                ):
                    connection.execute(store.database.sql(text), values)
        connection.execute("commit")
