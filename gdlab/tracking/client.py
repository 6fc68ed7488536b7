"""Writes runs through MLflow's public client: for servers, and for SQL schemas not known here.

The server chooses run ids: the derived id is kept as the tag `run_key`, by which a run is found
again. While it is being
written a run carries the tag `writer`, by which the leftovers of a killed process are found.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdlab.tracking import keys
from gdlab.tracking.bulk import finite, stamped
from gdlab.tracking.keys import RunData

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A server's request may hold two of its 15 database connections: eight writers at once can wait
# for each other for ever. Two threads leave room for six more processes.
THREADS = 2
DAY_MS = 24 * 3600 * 1000


def write(
    client: MlflowClient,
    experiment_id: str,
    runs: Sequence[RunData],
    user: str,
    threads: int,
    force: bool = False,
) -> list[str]:
    """Writes the runs, in parallel where `threads` > 1; returns the ids of those written."""
    jobs = stamped(runs)

    def one(job: tuple[RunData, int]) -> str | None:
        return _write_one(client, experiment_id, *job, user, force)

    if threads == 1:
        written = [one(job) for job in jobs]
    else:
        with ThreadPoolExecutor(threads) as pool:
            written = list(pool.map(one, jobs))
    return [run_id for run_id in written if run_id is not None]


def stored(client: MlflowClient, experiment_id: str, derived: str) -> list[Any]:
    """The active runs of one derived id."""
    return list(client.search_runs([experiment_id], f"tags.`{keys.RUN_KEY}` = '{derived}'"))


def _write_one(
    client: MlflowClient, experiment_id: str, run: RunData, stamp: int, user: str, force: bool
) -> str | None:
    from mlflow.entities import Metric, Param, RunTag

    derived = run.run_id
    for old in stored(client, experiment_id, derived):
        if old.info.status == "FINISHED" and not force:
            return None
        if old.info.status != "RUNNING" or is_dead(old.data.tags, old.info.start_time):
            client.delete_run(old.info.run_id)
    tags = run.all_tags(user)
    created = client.create_run(
        experiment_id,
        start_time=run.start_ms,
        tags={keys.USER: user, keys.RUN_KEY: derived, keys.WRITER: writer()},
        run_name=run.short_name,
    )
    run_id = created.info.run_id
    if keys.NOTE in tags:  # its pictures are found by the id that the server chose
        tags[keys.NOTE] = tags[keys.NOTE].replace(derived, run_id)
    metrics = [
        Metric(name, value, stamp, step)
        for name, steps, values in finite(run)
        for step, value in zip(steps, values)
    ]
    params = [Param(name, value) for name, value in run.all_params().items()]
    run_tags = [RunTag(name, value) for name, value in tags.items()]
    # MLflow takes 1,000 metrics, 100 parameters and 100 tags a call, 1,000 things in all.
    size = keys.METRICS_A_CALL - keys.PARAMS_A_CALL - keys.TAGS_A_CALL
    for a in range(0, max(len(metrics), len(params) * 9, len(run_tags) * 9, 1), size):
        b = a // size * keys.PARAMS_A_CALL
        client.log_batch(
            run_id,
            metrics=metrics[a : a + size],
            params=params[b : b + keys.PARAMS_A_CALL],
            tags=run_tags[b : b + keys.TAGS_A_CALL],
        )
    put_artifacts(client, run_id, created.info.artifact_uri, run)
    client.set_terminated(run_id, run.status, run.end_ms)
    client.delete_tag(run_id, keys.WRITER)
    if run.status != "FINISHED":
        return run_id
    return _only_one(client, experiment_id, derived, run_id)


def _only_one(client: MlflowClient, experiment_id: str, derived: str, mine: str) -> str | None:
    """Of two processes that wrote one run at the same moment, keeps the lower id."""
    finished = [
        old.info.run_id
        for old in stored(client, experiment_id, derived)
        if old.info.status == "FINISHED"
    ]
    for run_id in sorted(finished)[1:]:
        client.delete_run(run_id)
    return mine if not finished or mine == min(finished) else None


def put_artifacts(client: MlflowClient, run_id: str, artifact_uri: str, run: RunData) -> None:
    """Stores a run's artifacts: as files where the artifact root is a local folder."""
    if not run.artifacts:
        return
    folder = local_folder(artifact_uri)
    if folder is not None:
        save(folder, run)
        return
    with tempfile.TemporaryDirectory() as name:
        save(Path(name), run)
        client.log_artifacts(run_id, name)


def save(folder: Path, run: RunData) -> None:
    """Writes the artifacts under `folder`; makes none where there are none."""
    for name, content in run.artifacts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def local_folder(artifact_uri: str) -> Path | None:
    """The folder of a path or `file:` address; None for artifacts kept elsewhere."""
    if artifact_uri.startswith("file:"):
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(artifact_uri).path))
    return None if "://" in artifact_uri or ":/" in artifact_uri else Path(artifact_uri)


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
