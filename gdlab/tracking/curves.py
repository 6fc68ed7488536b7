"""The whole curves of stored runs, from the Parquet files that keep their records.

MLflow's table of metrics has some points of a curve, for its charts. A run whose whole record is
kept says where by its tag `records`: `own`, which is its artifact `record.parquet`, or the id of
the summary run that pools the records of its sweep. Curves of other runs are MLflow's alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking import keys, parquet
from gdlab.tracking.files import Folder, local_folder

THREADS = 2  # see `client.THREADS`
Columns = dict[str, np.ndarray]
Curve = tuple[np.ndarray, np.ndarray]  # steps, values


def whole(
    uri: str, kept: Mapping[str, str], roots: Mapping[str, str], names: Set[str] | None = None
) -> Columns:
    """The recorded steps of some runs: `code` (a run's place in `kept`), `step`, then the record's.

    Rows are in the order of codes and steps. Values are 64-bit floats, NaN where a run has no such
    column. Runs whose files are gone have no rows.

    Args:
        uri: the store.
        kept: run id -> where its record is, see `keys.RECORDS`.
        roots: run id -> its artifact address.
        names: columns that are wanted; default all.
    """
    kept = {run_id: place if run_id in roots else "" for run_id, place in kept.items()}
    wanted = None if names is None else {"step", *names}
    code = {run_id: i for i, run_id in enumerate(kept)}
    pieces = [
        ({run_id: code[run_id] for run_id in ids}, pool)
        for pool, ids in _pools(kept, roots).items()
    ]
    found = [piece for codes, pool in pieces for piece in _pooled(pool, codes, wanted)]
    own = [run_id for run_id, place in kept.items() if place == keys.OWN]

    def record(run_id: str) -> Columns | None:
        try:
            content = Folder(uri, run_id, roots[run_id]).read(keys.RECORD)
        except UsageError:
            return None
        return parquet.columns(content, wanted)

    with ThreadPoolExecutor(THREADS) as pool_of_threads:
        for run_id, columns in zip(own, pool_of_threads.map(record, own)):
            if columns is not None:
                found.append({"code": np.full(len(columns["step"]), code[run_id]), **columns})
    return _joined(found)


def by_run(columns: Columns, run_ids: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """run id -> name -> (steps, values), from `whole` of these runs."""
    if not columns:
        return {}
    edges = np.searchsorted(columns["code"], np.arange(len(run_ids) + 1))
    names = [name for name in columns if name not in ("code", "step")]
    return {
        run_id: {name: (columns["step"][a:b], columns[name][a:b]) for name in names}
        for run_id, a, b in zip(run_ids, edges, edges[1:])
        if b > a
    }


def _pools(kept: Mapping[str, str], roots: Mapping[str, str]) -> dict[Path, list[str]]:
    """Folder of a summary run -> the runs whose records it pools."""
    pools: dict[Path, list[str]] = {}
    for run_id, place in kept.items():
        artifacts = local_folder(roots[run_id]) if place not in ("", keys.OWN) else None
        if artifacts is not None:
            pools.setdefault(artifacts.parent.parent / place, []).append(run_id)
    return pools


def _pooled(folder: Path, code: dict[str, int], wanted: Set[str] | None) -> Iterator[Columns]:
    """The rows of some runs in the parts of a sweep, and in drafts: their writer may be on its way.

    A draft of stored runs is one that is about to become a part, or was left by a killed process
    (see `records.Parts`).
    """
    import pyarrow as pa

    for _ in range(2):  # once more, where a draft has become a part since it was listed
        parts = sorted((folder / "artifacts" / "records").glob("part-*.parquet"))
        for path in (*parts, *sorted((folder / "drafts").glob("*.parquet"))):
            if not code:
                return
            try:
                table = parquet.read(path, None if wanted is None else {"run_id", *wanted})
            except (FileNotFoundError, pa.ArrowInvalid):  # renamed, or not written to its end
                continue
            seen: set[str] = set()
            codes = []
            for chunk in table["run_id"].chunks:
                ids, place = chunk.dictionary.to_pylist(), parquet.numbers(chunk.indices)
                seen.update(ids[i] for i in np.unique(place))
                codes.append(np.array([code.get(run_id, -1) for run_id in ids])[place])
            owner = np.concatenate(codes) if codes else np.zeros(0, int)
            there = owner >= 0
            rest = parquet.arrays(table.drop_columns(["run_id"]))
            yield {"code": owner[there], **{name: v[there] for name, v in rest.items()}}
            for run_id in seen & code.keys():
                del code[run_id]


def _joined(pieces: Sequence[Columns]) -> Columns:
    every = dict.fromkeys(name for piece in pieces for name in piece)
    columns = {
        name: np.concatenate(
            [
                np.asarray(p[name], float) if name in p else np.full(len(p["code"]), np.nan)
                for p in pieces
            ]
        )
        for name in every
        if name not in ("code", "step", "start")
    }
    if not pieces:
        return {"code": np.zeros(0, int), "step": np.zeros(0, int)}
    place = {name: np.concatenate([p[name] for p in pieces]) for name in ("code", "step")}
    order = np.lexsort((place["step"], place["code"]))
    columns = place | columns
    if (order == np.arange(len(order))).all():
        return columns
    return {name: values[order] for name, values in columns.items()}
