"""Records of large sweeps, pooled: Parquet parts with a column `run_id`, written as chunks end.

`pandas.read_parquet(folder)` reads all parts of a sweep as one table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gdlab.tracking import write

if TYPE_CHECKING:
    import pyarrow as pa

    from gdlab.tracking.store import Store
    from gdlab.types import Records

PATH_DIM = 3


class Parts:
    """The numbered parts of one sweep's records, as artifacts of its summary run.

    Args:
        run_id: of the summary run.
        fresh: whether parts of earlier calls are replaced; else new ones are added to them.
    """

    def __init__(self, store: Store, run_id: str, fresh: bool) -> None:
        root = write.local_folder(store.artifact_root.rstrip("/"))
        self.remote = root is None or store.database is None
        self._kept: tempfile.TemporaryDirectory[str] | None = None
        if self.remote or root is None:
            self._kept = tempfile.TemporaryDirectory(prefix="gdlab-records-")
            self.folder = Path(self._kept.name)
        else:
            self.folder = root / run_id / "artifacts" / "records"
            if fresh:
                for old in self.folder.glob("part-*.parquet"):
                    old.unlink()
        self.next = len(list(self.folder.glob("part-*.parquet")))

    def write(self, records: Records, lanes: Sequence[slice], run_ids: Sequence[str]) -> None:
        """Writes the records of some runs as the next part."""
        import pyarrow.parquet as pq

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"part-{self.next:03d}.parquet"
        half = path.with_suffix(".half")
        pq.write_table(
            table(records, lanes, run_ids),
            half,
            compression="zstd",
            compression_level=1,
            use_dictionary=["run_id"],
        )
        half.rename(path)
        self.next += 1

    def artifacts(self) -> Mapping[str, bytes]:
        """The parts to be sent to a server; local ones lie where they belong."""
        if not self.remote:
            return {}
        return {f"records/{p.name}": p.read_bytes() for p in sorted(self.folder.glob("part-*"))}


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
