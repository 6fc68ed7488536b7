"""Records of large sweeps, pooled: Parquet parts with a column `run_id`, written as chunks end.

`pandas.read_parquet(folder)` reads all parts of a sweep as one table.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from gdlab.errors import UsageError
from gdlab.tracking import parquet
from gdlab.tracking.address import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from gdlab.tracking.store import Store
    from gdlab.types import Records

PATH_DIM = 3


class Parts:
    """The numbered parts of one sweep's records, as artifacts of its summary run.

    A part is drafted in a folder that nobody reads, before its runs are stored, and published
    after that: what is read holds stored runs only, each once, whatever is killed or runs twice
    at the same time. A draft is locked as long as its writer lives; who finds one that is not
    locked knows that its writer was killed, and settles it. Locks are the operating system's and
    end with the process that holds them.

    Args:
        run_id: of the summary run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        folder = store.run_folder(run_id)
        assert folder is not None, "records are pooled in local folders only"
        self.folder = folder / "artifacts" / "records"
        self.drafts = folder / "drafts"  # no artifacts: neither readers nor the UI see them
        self._known: dict[tuple[str, int], frozenset[str]] = {}

    @contextlib.contextmanager
    def write(
        self, records: Records, lanes: Sequence[slice], run_ids: Sequence[str]
    ) -> Iterator[None]:
        """Writes the records of some runs as the next part; the body stores the runs.

        If it fails or is killed, the draft stays: some of its runs may be stored (see `settle`).
        """
        with contextlib.ExitStack() as stack:
            with self._explained():
                draft = self._draft()
                with self._folder_lock():
                    stack.enter_context(_lock_of(draft))
                _save(table(records, lanes, run_ids), draft)
                _flush(draft)
            yield
            with self._explained(), self._folder_lock():
                # Another process, or an earlier call, may have kept the same runs.
                for path in self._parts():
                    self._keep_only(path, self._runs_in(path).difference(run_ids))
                self._publish(draft)

    def settle(self, changed: bool) -> None:
        """Takes in what killed processes left, and drops rows of runs that are not stored.

        Args:
            changed: whether runs were written; if none were, only what was left is looked at.
        """
        if not (changed or any(self.drafts.glob("*.parquet"))):
            return
        with self._explained(), self._folder_lock():
            missing = set(self.store.finished_keys().values())
            for path in self._parts():
                good = self._runs_in(path) & missing
                missing -= good
                self._keep_only(path, good)
            for draft in sorted(self.drafts.glob("*.parquet")):
                try:
                    with _lock_of(draft).acquire(blocking=False):
                        good = self._runs_in(draft) & missing
                        missing -= good
                        if self._keep_only(draft, good):
                            self._publish(draft)
                except Timeout:
                    continue  # its writer lives, and publishes it when its runs are stored
            self._clear_locks()

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _draft(self) -> Path:
        self.drafts.mkdir(parents=True, exist_ok=True)
        return self.drafts / f"{uuid.uuid4().hex}.parquet"

    def _publish(self, draft: Path) -> None:
        """Makes a draft the next part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # The number is for a reader; the draft's own name is what no other process has.
        draft.rename(self.folder / f"part-{len(self._parts()):03d}-{draft.stem[:8]}.parquet")

    def _keep_only(self, path: Path, run_ids: Set[str]) -> bool:
        """Keeps only these of its runs in a file, and no file without runs; whether it stays."""
        if not run_ids:
            path.unlink()
        elif run_ids != self._runs_in(path):
            import pyarrow.compute as pc

            whole, fewer = parquet.read(path), self._draft()
            these = pc.is_in(whole["run_id"], value_set=parquet.array(sorted(run_ids)))
            _save(whole.filter(these), fewer)
            fewer.replace(path)
        return bool(run_ids)

    def _runs_in(self, path: Path) -> frozenset[str]:
        """Ids of a file's runs; none if it was not written to its end."""
        import pyarrow as pa

        version = (path.name, path.stat().st_mtime_ns)
        if version not in self._known:
            try:
                ids = parquet.read(path, {"run_id"})["run_id"].unique().to_pylist()
            except pa.ArrowInvalid:
                ids = []
            self._known[version] = frozenset(ids)
        return self._known[version]

    def _folder_lock(self) -> FileLock:
        """One process at a time changes which parts and drafts there are."""
        self.drafts.mkdir(parents=True, exist_ok=True)
        return FileLock(self.drafts / "folder.lock")

    def _clear_locks(self) -> None:
        """Removes the lock files of drafts that are gone; the folder is locked meanwhile."""
        for path in self.drafts.glob("*.parquet.lock"):
            with contextlib.suppress(Timeout), FileLock(path).acquire(blocking=False):
                if not path.with_suffix("").exists():
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says where the trouble is if the disk is full or not to be written."""
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter: no locks on this disk
            raise UsageError(
                f"tracking.uri={shown(self.store.uri)}: {getattr(error, 'strerror', '') or error} "
                f"({self.folder}); records are kept there; give the same command again: it resumes"
            ) from error


def _lock_of(draft: Path) -> FileLock:
    """The lock that a draft's writer holds."""
    return FileLock(f"{draft}.lock")


def _flush(path: Path) -> None:
    """Waits until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _save(rows: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows, path, compression="zstd", compression_level=1, use_dictionary=["run_id"])


def table(records: Records, lanes: Sequence[slice], run_ids: Sequence[str]) -> pa.Table:
    """One row a recorded step: `run_id`, the record's columns, the path as `x0 ...` for d <= 3.

    Runs with many starts have the column `start` beside `run_id`.
    """
    n, longest = records.columns["step"].shape
    owner, start = np.zeros(n, np.int32), np.zeros(n, np.int32)
    mine = np.zeros(n, bool)
    for k, place in enumerate(lanes):
        owner[place], mine[place] = k, True
        start[place] = np.arange(place.stop - place.start)
    there = (np.arange(longest) < records.length[:, None]) & mine[:, None]
    rows = there.sum(axis=1)
    columns: dict[str, Any] = {"run_id": parquet.named(np.repeat(owner, rows), run_ids)}
    if start.any():
        columns["start"] = np.repeat(start, rows)
    for name, values in records.columns.items():
        columns[name] = values[there]
    if records.path is not None and records.path.shape[-1] <= PATH_DIM:
        for i in range(records.path.shape[-1]):
            columns[f"x{i}"] = records.path[..., i][there]
    return parquet.table(columns)
