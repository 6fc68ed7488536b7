"""A study's runs, curves and end points as the store has them, with nothing else that it holds."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.errors import UsageError
from gdlab.tracking.address import shown

if TYPE_CHECKING:
    import pandas as pd

NUMBERED = ("index", "reached")  # numbers of points, missing where there is none


@dataclass(frozen=True)
class Stored:
    """A study's runs as the store has them, in the order in which the study names them.

    Attributes:
        name: of the study.
        keys: sweep -> keys of its jobs.
        uri: the store.
    """

    name: str
    keys: Mapping[str, Sequence[str]]
    uri: str

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a job: `sweep`, `job` (its number in the sweep), and the columns of `load`.

        Raises:
            UsageError: the store lacks some of the runs.
        """
        from gdlab.tracking import keys
        from gdlab.tracking.read import load

        found = load(self.name, self.uri).drop_duplicates(keys.KEY).set_index(keys.KEY)
        wanted = [
            (sweep, i, key) for sweep, all_of in self.keys.items() for i, key in enumerate(all_of)
        ]
        lost = sum(key not in found.index for _, _, key in wanted)
        if lost:
            raise UsageError(
                f"study {self.name}: {lost} of its {len(wanted)} runs are not in "
                f"tracking.uri={shown(self.uri)}; gdlab study {self.name} runs them"
            )
        # The tag `sweep` is an id of the call that made a run; here it is the sweep's name.
        rows = found.loc[[key for _, _, key in wanted]].reset_index().drop(columns=keys.SWEEP)
        # What else the store holds must leave no trace: neither columns nor their types.
        rows = rows.dropna(axis="columns", how="all").astype(object).infer_objects()
        if "verdict" in rows and (rows["verdict"] == "off").any():
            for name in (keys.CRITICAL_KIND, keys.MORSE_INDEX, keys.REACHED):
                rows[name] = rows.get(name, np.nan)
        rows.insert(0, "sweep", [sweep for sweep, _, _ in wanted])
        rows.insert(1, "job", [i for _, i, _ in wanted])
        return rows

    @cached_property
    def curves(self) -> pd.DataFrame:
        """All recorded steps of the single descents, long form.

        Columns: `sweep`, `job`, `run_id`, `step`, `loss`, `grad_norm`, `step_size`, then the rest
        of the record (`gap`, `slope`, `angle`, ..., the path as `x0`, `x1` for d <= 3) where
        records are kept (not with `tracking.artifacts=never`); then the run's parameters.
        """
        names = ["sweep", "job", "run_id"]
        singles = self.runs[~self._is_population()]
        parts: list[pd.DataFrame] = []
        thin = []
        for row in singles[names].to_dict("records"):
            record = self._parquet(row["run_id"], "record.parquet")
            if record is None:
                thin.append(row["run_id"])
            else:
                parts.append(record.assign(**{n: row[n] for n in names}))
        if thin:
            parts.append(self._histories(singles, set(thin)))
        return self._with_params(parts)

    @cached_property
    def ends(self) -> pd.DataFrame:
        """The starts and end points of runs with many starts, one row a start.

        Columns: `sweep`, `job`, `run_id`, `start0` ..., `x0` ..., `steps`, `status`, `loss`,
        `grad_norm`, `kind`, `index`, `reached`; then the run's parameters.
        """
        names = ["sweep", "job", "run_id"]
        parts = []
        for row in self.runs.loc[self._is_population(), names].to_dict("records"):
            table = self._parquet(row["run_id"], "ends.parquet")
            if table is not None:
                table = table.astype({name: "Int64" for name in NUMBERED if name in table})
                parts.append(table.assign(**{n: row[n] for n in names}))
        return self._with_params(parts)

    def give(self, function: Callable[..., Any]) -> Any:
        """Calls one of the study's functions with the tables that its parameters name.

        Raises:
            UsageError: the function needs verdicts, and some runs have none.
        """
        asked = inspect.signature(function).parameters
        given = {name: getattr(self, name) for name in asked}
        try:
            return function(**given)
        except (LookupError, TypeError, ValueError) as error:
            if "verdict" not in self.runs or (self.runs["verdict"] != "off").all():
                raise
            raise UsageError(
                f"study {self.name}: {function.__name__} needs what verdict=off leaves out "
                f"({type(error).__name__}: {error})"
            ) from error

    def _is_population(self) -> np.ndarray:
        if "starts" not in self.runs:
            return np.zeros(len(self.runs), bool)
        return self.runs["starts"].notna().to_numpy()

    def _parquet(self, run_id: str, path: str) -> pd.DataFrame | None:
        import pandas as pd

        from gdlab.tracking.read import artifact

        try:
            return pd.read_parquet(io.BytesIO(artifact(run_id, path, self.uri)))
        except UsageError:
            return None  # sweeps of many jobs pool their records

    def _histories(self, singles: pd.DataFrame, thin: set[str]) -> pd.DataFrame:
        from gdlab.tracking.read import load_records

        curves = load_records(self.name, self.uri)
        wanted = singles.loc[singles["run_id"].isin(thin), ["sweep", "job", "run_id"]]
        return wanted.merge(curves, on="run_id")

    def _with_params(self, parts: list[pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        if not parts:
            return pd.DataFrame(columns=["sweep", "job", "run_id", "step"])
        table = pd.concat(parts, ignore_index=True)
        front = ["sweep", "job", "run_id"]
        table = table[front + [c for c in table.columns if c not in front]]
        names = [c for c in self.runs.columns if "." in c and not c.startswith("params.")]
        params = self.runs[["sweep", "job", *names]]
        return table.merge(params, on=["sweep", "job"], how="left", suffixes=("", "_"))
