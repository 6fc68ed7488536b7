"""An experiment in an MLflow store, where a launch keeps its runs: what it can do, and its opening.

Two classes do it: `sql.SqlStore` writes MLflow's tables itself, `client.ClientStore` goes through
MLflow's public client, for servers and for tables of a version that is not known here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gdlab.tracking.address import address, scheme, shown
from gdlab.tracking.client import ClientStore
from gdlab.tracking.connect import reach
from gdlab.tracking.database import KNOWN_REVISION, Database
from gdlab.tracking.keys import RunData
from gdlab.tracking.schema import create_postgresql, create_sqlite
from gdlab.tracking.sql import SqlStore

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Store(Protocol):
    """An experiment in an MLflow store; made by `open_store`.

    All methods raise a `UsageError` if the store has become unreachable, full or unwritable.
    """

    @property
    def uri(self) -> str:
        """Address of the store, a SQLite file's path absolute."""
        ...

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        ...

    @property
    def experiment_id(self) -> str:
        """Its number, as text."""
        ...

    @property
    def client(self) -> MlflowClient:
        """MLflow's public client (imports mlflow when it is first asked for)."""
        ...

    @property
    def files_first(self) -> bool:
        """Whether a run's artifacts are there before it counts as stored, whoever is killed."""
        ...

    def write(self, runs: Iterable[RunData], force: bool = False) -> list[str]:
        """Stores the runs; returns the ids of those that were written.

        A run whose key is stored as finished is left as it is, whoever stored it; one stored as
        failed or deleted is replaced. Memory stays bounded by a chunk of runs.

        Args:
            runs: any number; each appears in the store complete and ended, or not at all.
            force: replaces finished runs too.
        """
        ...

    def run_ids(self, derived: Sequence[str]) -> dict[str, str]:
        """Derived id -> id in this store: another where the derived one is another experiment's.

        An experiment that was renamed keeps its runs, and a new one may take its old name.
        """
        ...

    def run_folder(self, run_id: str) -> Path | None:
        """The local folder that holds a run's `artifacts`; None where it cannot be known before."""
        ...

    def finished_keys(self) -> dict[str, str]:
        """key -> run id of every finished run."""
        ...

    def failed_keys(self) -> dict[str, str]:
        """key -> run id of every failed run."""
        ...

    def finals(self) -> dict[str, dict[str, Any]]:
        """run id -> final metrics and verdict tags (`keys.FINAL_*`) of every finished run."""
        ...

    def holds(self, run_id: str) -> bool:
        """Whether a run of that derived id is stored as finished."""
        ...

    def stored_runs(self, run_ids: Sequence[str], curves: Sequence[str]) -> Iterator[RunData]:
        """Runs of the store, in that order: tags, these curves, of all metrics the last value."""
        ...

    def set_metric(self, name: str, values: Mapping[str, float]) -> None:
        """Sets a metric of finished runs (run id -> value) to one value at step 0."""
        ...

    def repair(self) -> int:
        """Deletes runs that a killed process left running, so that they run again; their number.

        Only the client leaves such runs; a write by SQL is one transaction.
        """
        ...

    def tag(self, tags: Mapping[str, str]) -> None:
        """Sets tags of the experiment (`mlflow.note.content` is its note)."""
        ...

    def tags(self) -> dict[str, str]:
        """Tags of the experiment."""
        ...

    def analyze(self) -> None:
        """Prepares the store for the UI's queries after many runs were written."""
        ...


def open_store(uri: str | None = None, experiment: str = "gdlab") -> Store:
    """Opens the store for writing; makes the database and the experiment where there are none.

    Args:
        uri: `sqlite:///file.db`, `postgresql://...`, `http://...`, or another that MLflow takes;
            default `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.
        experiment: MLflow's name for what the runs belong to.

    Raises:
        UsageError: the store cannot be reached within seconds, or not be written.
    """
    uri = address(uri)
    kind = scheme(uri)
    if kind == "sqlite":
        create_sqlite(uri)
    if kind in ("sqlite", "postgresql"):
        database = Database(uri)
        revision = database.revision()
        if revision is None and kind == "postgresql":
            create_postgresql(database)
            revision = database.revision()
        if revision == KNOWN_REVISION:
            return SqlStore.open(database, experiment)
        opened = ClientStore.open(uri, experiment)
        warnings.warn(
            f"tracking.uri={shown(uri)}: the tables are of revision {revision}, not MLflow 3.17's; "
            "runs are written through MLflow's client, which is slower",
            stacklevel=2,
        )
        return opened
    reach(uri)
    return ClientStore.open(uri, experiment)
