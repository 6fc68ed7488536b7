"""Questions to a store about finished runs, whichever way they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gdlab.errors import UsageError
from gdlab.tracking import keys
from gdlab.tracking.address import address, scheme, shown, sqlite_path
from gdlab.tracking.connect import reach
from gdlab.tracking.database import KNOWN_REVISION, Database
from gdlab.tracking.histories import Triples
from gdlab.tracking.query_client import ClientQueries
from gdlab.tracking.query_sql import SqlQueries

if TYPE_CHECKING:
    import pandas as pd


VIEW_TAG = "mlflow.sharedViewState."


class Queries(Protocol):
    """What is asked of a store; `study` is an experiment's name or the value of the tag `study`.

    Runs are finished runs of one role (see `keys.ROLE`); `study=None` asks for all of them.
    """

    @property
    def uri(self) -> str:
        """The store's address."""
        ...

    def infos(self, study: str | None) -> list[tuple[str, str, str]]:
        """(derived id, run id, name) of its runs."""
        ...

    def params(self, study: str | None) -> Triples:
        """Parameters of its runs, as text."""
        ...

    def tags(self, study: str | None) -> Triples:
        """Tags of its runs."""
        ...

    def latest(self, study: str | None) -> Triples:
        """The last value of each metric of its runs."""
        ...

    def metric_names(self, study: str | None) -> list[str]:
        """Names of the metrics of its runs, sorted."""
        ...

    def history(self, study: str | None, name: str, code: dict[str, int]) -> pd.DataFrame:
        """A metric's values, see `histories.frame`."""
        ...

    def studies(self) -> list[str]:
        """Names of the studies and experiments that have runs."""
        ...

    def newest_experiment(self, study: str | None) -> str:
        """Number of the experiment with its newest run."""
        ...

    def newest_single(self, number: str) -> str | None:
        """The experiment's newest run, if its launch made no other."""
        ...

    def experiment_tags(self, number: str) -> set[str]:
        """Names of an experiment's tags."""
        ...

    def artifact_uri(self, run_id: str) -> str | None:
        """Where a run's artifacts lie; None if there is no such run."""
        ...

    def artifact_uris(self, study: str | None) -> list[tuple[str, str]]:
        """(run id, artifact address) of its runs."""
        ...

    def showing(self, study: str | None, path: str) -> list[tuple[str, str]]:
        """(run id, artifact address) of its runs whose pages show that artifact, newest first."""
        ...

    def experiment_name(self, number: str) -> str:
        """An experiment's name."""
        ...


def ask(uri: str | None, role: str = keys.RUN) -> Queries:
    """Opens a store for reading.

    Raises:
        UsageError: there is no such store, or it is no MLflow store.
    """
    uri = address(uri)
    kind = scheme(uri)
    if kind == "sqlite" and not sqlite_path(uri).exists():
        raise UsageError(
            f"tracking.uri={shown(uri)}: no such store; run gdlab first, or name the store that "
            "has runs"
        )
    if kind in ("sqlite", "postgresql"):
        database = Database(uri)
        revision = database.revision()
        if revision == KNOWN_REVISION:
            return SqlQueries(uri, database, role)
        if revision is None:
            raise UsageError(
                f"tracking.uri={shown(uri)}: is no MLflow store; name the one that has runs"
            )
    reach(uri)
    return ClientQueries(uri, role)


def runs_of(reader: Queries, study: str | None) -> list[tuple[str, str]]:
    """(run id, name) of a study's runs, in order; an error that names what there is, if none."""
    # The derived id is the same in every store, whatever the run is called there.
    infos = sorted(reader.infos(study))
    if infos:
        return [(run_id, name) for _, run_id, name in infos]
    known = reader.studies()
    advice = f"known: {', '.join(known)}" if known else "the store holds no finished run"
    what = "no finished runs" if study is None else f"study={study}: no finished runs"
    raise UsageError(f"{what} in tracking.uri={shown(reader.uri)}; {advice}")


@dataclass(frozen=True)
class Place:
    """An experiment's number and name in the store, and whether gdlab's views are in its menu.

    `run` is the newest run where that is a single descent and no part of a sweep.
    """

    id: str
    name: str
    has_views: bool
    run: str | None = None


def experiment_of(study: str | None, uri: str | None = None) -> Place:
    """The experiment that holds a study's runs; by default the one with the newest run.

    Raises:
        UsageError: no such store, or no finished run of that study in it.
    """
    reader = ask(uri)
    runs_of(reader, study)
    number = reader.newest_experiment(study)
    has_views = f"{VIEW_TAG}leaderboard" in reader.experiment_tags(number)
    name = reader.experiment_name(number)
    return Place(number, name, has_views, reader.newest_single(number))
