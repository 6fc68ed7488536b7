"""Pictures of stored runs and sweeps: drawn when they are first looked at, and kept.

A run's page shows its descent, a sweep's summary its curves. Both are drawn from what the run
keeps (`config.yaml`, `record.parquet`; `curves.parquet`), so that no run waits for its picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.analysis.known_points import objective_of
from gdlab.errors import UsageError, raised
from gdlab.tracking import keys, read, summary
from gdlab.tracking.files import Folder
from gdlab.tracking.query import ask

if TYPE_CHECKING:
    import pandas as pd

    from gdlab.types import Objective

Say = Callable[[str], None]


@dataclass
class Drawing:
    """The pictures that some runs and summaries of a store lack.

    Attributes:
        uri: the store.
        study: of these runs; None for all.
        say: takes what a person should know.
        lost: why some could not be drawn, the reason -> how many.
    """

    uri: str | None
    study: str | None = None
    say: Say = lambda line: None
    lost: dict[str, int] = field(default_factory=dict)

    def all(self) -> int:
        """Draws them; returns how many."""
        return sum(1 for _ in self.each())

    def each(self) -> Iterator[bytes]:
        """Draws them one by one."""
        found = list(self._missing())
        if found:
            noun = "picture" if len(found) == 1 else "pictures"
            self.say(f"drawing {len(found):,} {noun} ...")
        for draw, folder in found:
            try:
                yield draw(folder)
            except Exception as error:  # a file that is damaged holds nothing else up
                why = str(error) if isinstance(error, UsageError) else raised(error)
                self.lost[why] = self.lost.get(why, 0) + 1
        for why, n in self.lost.items():
            self.say(f"{n:,} of these could not be drawn: {why}")

    def _missing(self) -> Iterator[tuple[Callable[[Folder], bytes], Folder]]:
        for role, (path, draw) in DRAWN.items():
            reader = ask(self.uri, role)
            for run_id, root in reader.showing(self.study, path):
                folder = Folder(reader.uri, run_id, root)
                if not folder.has(path):
                    yield draw, folder


def of_run(run_id: str, uri: str | None) -> bytes:
    """The picture of a stored run, drawn where it has none.

    Raises:
        UsageError: the run does not keep what it is drawn from (runs of large sweeps do not).
    """
    folder = read.folder(run_id, uri)
    try:
        return folder.read(keys.PICTURE)
    except UsageError:
        return descent(folder)


def descent(folder: Folder) -> bytes:
    """Draws a run's descent and keeps it: loss, gradient norm, and the path where d <= 2."""
    import pandas as pd
    import yaml

    params = dict(_flat(yaml.safe_load(folder.read(keys.CONFIG))))
    ends = None
    try:
        record = pd.read_parquet(io.BytesIO(folder.read(keys.RECORD)))
    except UsageError:  # a run with many starts
        record = pd.read_parquet(io.BytesIO(folder.read(keys.FIRST)))
        ends = pd.read_parquet(io.BytesIO(folder.read(keys.ENDS)))
    made = _picture(record, params, ends)
    folder.write(keys.PICTURE, made)
    return made


def _picture(record: pd.DataFrame, params: dict[str, Any], ends: pd.DataFrame | None) -> bytes:
    from gdlab.figures.descent import descent_picture

    objective = objective_of(params)
    name = str(params.get("objective.name", "")) if objective is None else objective.name
    way = [f"x{i}" for i in range(record.shape[1]) if f"x{i}" in record]
    landscape, reached = None, None
    if 1 <= len(way) <= 2:
        if objective is None:
            raise UsageError(
                f"objective={name}: not known here; gdlab --import MODULE ui draws them too"
            )
        reached = (record.iloc[-1:] if ends is None else ends)[way].to_numpy(float)
        landscape = _landscape(objective, np.concatenate([record[way].to_numpy(float), reached]))
    several = None if ends is None or len(ends) < 2 else reached
    return descent_picture(record, landscape, title=name, ends=several)


def _landscape(objective: Objective, points: np.ndarray) -> tuple[np.ndarray, ...] | None:
    from gdlab import numerics

    numerics.configure()  # before jax starts
    from gdlab.critical.surface import near, surface

    found = surface(objective, near(objective, points))
    return found if np.isfinite(found[-1]).any() else None


def curves(folder: Folder) -> bytes:
    """Draws a sweep's median curves and keeps them."""
    made = summary.figure(folder.read(summary.CURVES), f"sweep {folder.run_id}")
    folder.write(summary.PICTURE, made)
    return made


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` -> `("a.b", 1)`."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


DRAWN: dict[str, tuple[str, Callable[[Folder], bytes]]] = {
    keys.SUMMARY: (summary.PICTURE, curves),
    keys.RUN: (keys.PICTURE, descent),
}
