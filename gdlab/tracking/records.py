"""Records of large sweeps, pooled: Parquet parts with a column `run_id`, written as chunks end.

`pandas.read_parquet(folder)` reads all parts of a sweep as one table.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking import client

if TYPE_CHECKING:
    import pyarrow as pa

    from gdlab.tracking.store import Store
    from gdlab.types import Records

PATH_DIM = 3


class Parts:
    """The numbered parts of one sweep's records, as artifacts of its summary run.

    A part is written aside before its runs are stored and takes its place after that: what is
    read holds stored runs only, each once, whatever is killed or runs twice at the same time.

    Args:
        run_id: of the summary run.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        root = client.local_folder(store.artifact_root.rstrip("/"))
        self.store = store
        self.remote = root is None or store.database is None
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        if self.remote or root is None:
            self._kept = tempfile.TemporaryDirectory(prefix="gdlab-records-")
            home = Path(self._kept.name)
        else:
            home = root / run_id
        self.folder = home / "artifacts" / "records"
        self.halves = home / "halves"  # no artifacts: neither readers nor the UI see them
        self._known: dict[tuple[str, int], frozenset[str]] = {}

    @contextlib.contextmanager
    def write(
        self, records: Records, lanes: Sequence[slice], run_ids: Sequence[str]
    ) -> Iterator[None]:
        """Writes the records of some runs as the next part; the body stores the runs.

        If it fails or is killed, the half stays: some of its runs may be stored (see `settle`).
        """
        with contextlib.ExitStack() as stack:
            with self._told():
                with self._alone():
                    half = self._half()
                    file = stack.enter_context(half.open("xb"))
                    _lock(file, wait=False)  # held as long as this process lives and needs it
                _save(table(records, lanes, run_ids), half)
                os.fsync(file.fileno())
            yield
            with self._told(), self._alone():
                # Another process, or an earlier call, may have kept the same runs.
                for path in self._parts():
                    self._leave(path, self._runs_in(path).difference(run_ids))
                self._take(half)

    def settle(self, changed: bool) -> None:
        """Takes in what killed processes left, and drops rows of runs that are not stored.

        Args:
            changed: whether runs were written; if none were, only what was left is looked at.
        """
        if self.remote or not (changed or any(self.halves.glob("*.parquet"))):
            return
        with self._told(), self._alone():
            missing = set(self.store.finished_keys().values())
            for path in self._parts():
                good = self._runs_in(path) & missing
                missing -= good
                self._leave(path, good)
            for half in sorted(self.halves.glob("*.parquet")):
                with half.open("r+b") as file:
                    if not _lock(file, wait=False):
                        continue  # of a process that lives: it will be a part when it is due
                    good = self._runs_in(half) & missing
                    missing -= good
                    if self._leave(half, good):
                        self._take(half)

    def artifacts(self) -> Mapping[str, bytes]:
        """The parts to be sent to a server; local ones lie where they belong."""
        return {f"records/{p.name}": p.read_bytes() for p in self._parts()} if self.remote else {}

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _half(self) -> Path:
        return self.halves / f"{uuid.uuid4().hex}.parquet"

    def _take(self, half: Path) -> None:
        """Makes a half the next part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # The number is for a reader; the half's own name is what no other process has.
        half.rename(self.folder / f"part-{len(self._parts()):03d}-{half.stem[:8]}.parquet")

    def _leave(self, path: Path, run_ids: Set[str]) -> bool:
        """Leaves only these of its runs in a file, and no file without runs; whether it stays."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if not run_ids:
            path.unlink()
        elif run_ids != self._runs_in(path):
            whole, half = pq.read_table(path), self._half()
            these = pc.is_in(whole["run_id"], value_set=pa.array(sorted(run_ids)))
            _save(whole.filter(these), half)
            half.replace(path)
        return bool(run_ids)

    def _runs_in(self, path: Path) -> frozenset[str]:
        """Ids of a file's runs; none if it was not written to its end."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        version = (path.name, path.stat().st_mtime_ns)
        if version not in self._known:
            try:
                ids = pq.read_table(path, columns=["run_id"])["run_id"].unique().to_pylist()
            except pa.ArrowInvalid:
                ids = []
            self._known[version] = frozenset(ids)
        return self._known[version]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; the lock of one that is killed goes with it."""
        self.halves.mkdir(parents=True, exist_ok=True)
        with (self.halves / "lock").open("ab") as file:
            _lock(file, wait=True)
            yield

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Says where the trouble is if the disk is full or not to be written."""
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"tracking.uri={self.store.uri}: {error.strerror or error} ({self.folder}); "
                "records are kept there; give the same command again: it resumes"
            ) from error


def _lock(file: IO[bytes], wait: bool) -> bool:
    """Locks a file until it is closed; whether that went, as some file systems have no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _save(rows: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows, path, compression="zstd", compression_level=1, use_dictionary=["run_id"])


def table(records: Records, lanes: Sequence[slice], run_ids: Sequence[str]) -> pa.Table:
    """One row a recorded step: `run_id`, the record's columns, the path as `x0 ...` for d <= 3.

    Runs with many starts have the column `start` beside `run_id`.
    """
    import pyarrow as pa

    n, longest = records.columns["step"].shape
    owner, start = np.zeros(n, np.int32), np.zeros(n, np.int32)
    mine = np.zeros(n, bool)
    for k, place in enumerate(lanes):
        owner[place], mine[place] = k, True
        start[place] = np.arange(place.stop - place.start)
    there = (np.arange(longest) < records.length[:, None]) & mine[:, None]
    rows = there.sum(axis=1)
    columns = {
        "run_id": pa.DictionaryArray.from_arrays(
            pa.array(np.repeat(owner, rows)), pa.array(list(run_ids))
        )
    }
    if start.any():
        columns["start"] = pa.array(np.repeat(start, rows))
    for name, values in records.columns.items():
        columns[name] = pa.array(values[there])
    if records.path is not None and records.path.shape[-1] <= PATH_DIM:
        for i in range(records.path.shape[-1]):
            columns[f"x{i}"] = pa.array(records.path[..., i][there])
    return pa.table(columns)
