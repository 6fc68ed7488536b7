"""Runs that a killed process left behind: who was writing them, and whether it still lives.

While it is being written a run carries the tag `writer`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdlab.tracking import keys

if TYPE_CHECKING:
    from mlflow import MlflowClient


DAY_MS = 24 * 3600 * 1000


def delete_dead_runs(client: MlflowClient, experiment_id: str) -> int:
    """Deletes runs whose writer is gone; their number."""
    count = 0
    for run in pages(client, [experiment_id], "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        if keys.RUN_KEY in tags and is_dead(tags, run.info.start_time):
            client.set_terminated(run.info.run_id, "KILLED")
            client.delete_run(run.info.run_id)
            count += 1
    return count


def writer() -> str:
    """host:pid:start of this process; a pid that was given anew has another start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def is_dead(tags: dict[str, str], start_ms: int) -> bool:
    """Whether the process that was writing a run is gone.

    One on another host, or one that left no name, counts as gone after a day.
    """
    host, _, rest = tags.get(keys.WRITER, "").rpartition(":")[0].rpartition(":")
    born = tags.get(keys.WRITER, "").rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit():
        return time.time() * 1000 - start_ms > DAY_MS
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(int(rest)) != born


def _started(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return "0"


def pages(client: MlflowClient, experiment_ids: Sequence[str], text: str) -> Iterator[Any]:
    """Every active run that a filter finds."""
    token = None
    while True:
        found = client.search_runs(
            list(experiment_ids),
            text,
            max_results=5000,
            page_token=token,
            order_by=["attributes.run_id"],
        )
        yield from found
        token = found.token
        if not token:
            return
