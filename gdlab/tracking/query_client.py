"""What any other store says of finished runs, of all its experiments: through MLflow's client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from gdlab.tracking import keys
from gdlab.tracking.client import THREADS
from gdlab.tracking.connect import client_of, mlflow_errors
from gdlab.tracking.histories import Triples, frame
from gdlab.tracking.leftovers import pages

if TYPE_CHECKING:
    import pandas as pd


class ClientQueries:
    """`Queries` through MLflow's client."""

    def __init__(self, uri: str, role: str = keys.RUN) -> None:
        self.uri, self.role = uri, role
        self.client = client_of(uri)
        self._found: dict[str | None, list[Any]] = {}

    def _of(self, study: str | None) -> list[Any]:
        if study not in self._found:
            with mlflow_errors(self.uri):
                all_of = list(self.client.search_experiments())
                runs = pages(
                    self.client,
                    [experiment.experiment_id for experiment in all_of],
                    "attributes.status = 'FINISHED'",
                )
                named = {e.experiment_id for e in all_of if e.name == study}
                self._found[study] = [
                    run
                    for run in runs
                    if self._is_asked_for(run.data.tags)
                    and (
                        study is None
                        or run.info.experiment_id in named
                        or run.data.tags.get(keys.STUDY) == study
                    )
                ]
        return self._found[study]

    def _is_asked_for(self, tags: dict[str, str]) -> bool:
        return keys.KEY in tags if self.role == keys.RUN else tags.get(keys.ROLE) == self.role

    def infos(self, study: str | None) -> list[tuple[str, str, str]]:
        return [
            (
                run.data.tags.get(keys.RUN_KEY, run.info.run_id),
                run.info.run_id,
                run.info.run_name,
            )
            for run in self._of(study)
        ]

    def _triples(self, study: str | None, part: str) -> Triples:
        return [
            (run.info.run_id, name, value)
            for run in self._of(study)
            for name, value in getattr(run.data, part).items()
        ]

    def params(self, study: str | None) -> Triples:
        return self._triples(study, "params")

    def tags(self, study: str | None) -> Triples:
        return self._triples(study, "tags")

    def latest(self, study: str | None) -> Triples:
        return self._triples(study, "metrics")

    def metric_names(self, study: str | None) -> list[str]:
        return sorted({name for run in self._of(study) for name in run.data.metrics})

    def history(self, study: str | None, name: str, code: dict[str, int]) -> pd.DataFrame:
        ids = [r.info.run_id for r in self._of(study) if name in r.data.metrics]

        def one(run_id: str) -> list[tuple[str, int, float]]:
            found = self.client.get_metric_history(run_id, name)
            return [(run_id, metric.step, metric.value) for metric in found]

        with mlflow_errors(self.uri), ThreadPoolExecutor(THREADS) as pool:
            histories = pool.map(one, [run_id for run_id in ids if run_id in code])
            return frame([row for history in histories for row in history], code)

    def studies(self) -> list[str]:
        runs = self._of(None)
        with mlflow_errors(self.uri):
            names = {e.experiment_id: e.name for e in self.client.search_experiments()}
        tagged = {run.data.tags[keys.STUDY] for run in runs if keys.STUDY in run.data.tags}
        return sorted(tagged | {names[run.info.experiment_id] for run in runs})

    def newest_experiment(self, study: str | None) -> str:
        newest = max(self._of(study), key=lambda run: run.info.end_time or 0)
        return str(newest.info.experiment_id)

    def newest_single(self, number: str) -> str | None:
        return None

    def experiment_tags(self, number: str) -> set[str]:
        with mlflow_errors(self.uri):
            return set(self.client.get_experiment(number).tags)

    def experiment_name(self, number: str) -> str:
        with mlflow_errors(self.uri):
            return str(self.client.get_experiment(number).name)

    def artifact_uris(self, study: str | None) -> list[tuple[str, str]]:
        return [(run.info.run_id, run.info.artifact_uri) for run in self._of(study)]

    def showing(self, study: str | None, path: str) -> list[tuple[str, str]]:
        found = [r for r in self._of(study) if f"?path={path}&" in r.data.tags.get(keys.NOTE, "")]
        found.sort(key=lambda run: -(run.info.end_time or 0))
        return [(run.info.run_id, run.info.artifact_uri) for run in found]

    def artifact_uri(self, run_id: str) -> str | None:
        with mlflow_errors(self.uri):
            return self.client.get_run(run_id).info.artifact_uri
