"""What a SQLite or PostgreSQL store says of finished runs, of all its experiments: by SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gdlab.tracking import keys
from gdlab.tracking.database import Database
from gdlab.tracking.histories import Triples, frame

if TYPE_CHECKING:
    import pandas as pd


FINISHED = "r.status = 'FINISHED' and r.lifecycle_stage = 'active' and exists "
JOBS = f"{FINISHED}(select 1 from tags k where k.run_uuid = r.run_uuid and k.key = '{keys.KEY}')"
ROLE = (
    f"{FINISHED}(select 1 from tags k where k.run_uuid = r.run_uuid and k.key = '{keys.ROLE}' "
    "and k.value = ?)"
)
STUDY = (
    "(r.experiment_id in (select experiment_id from experiments where name = ?) or exists "
    f"(select 1 from tags s where s.run_uuid = r.run_uuid and s.key = '{keys.STUDY}' "
    "and s.value = ?))"
)


@dataclass(frozen=True)
class SqlQueries:
    """`Queries` on MLflow's own tables, where these are of the known version."""

    uri: str
    database: Database
    role: str = keys.RUN

    def _where(self, study: str | None) -> tuple[str, list[str]]:
        these, values = (JOBS, []) if self.role == keys.RUN else (ROLE, [self.role])
        return (
            (these, values) if study is None else (f"{these} and {STUDY}", [*values, study, study])
        )

    def infos(self, study: str | None) -> list[tuple[str, str, str]]:
        where, values = self._where(study)
        return self.database.rows(
            "select coalesce(d.value, r.run_uuid), r.run_uuid, r.name from runs r left join tags d "
            f"on d.run_uuid = r.run_uuid and d.key = '{keys.RUN_KEY}' where {where}",
            values,
        )

    def _triples(self, table: str, study: str | None) -> Triples:
        where, values = self._where(study)
        return self.database.rows(
            f"select c.run_uuid, c.key, c.value from {table} c where c.run_uuid in "
            f"(select r.run_uuid from runs r where {where})",
            values,
        )

    def params(self, study: str | None) -> Triples:
        return self._triples("params", study)

    def tags(self, study: str | None) -> Triples:
        return self._triples("tags", study)

    def latest(self, study: str | None) -> Triples:
        return self._triples("latest_metrics", study)

    def metric_names(self, study: str | None) -> list[str]:
        where, values = self._where(study)
        rows = self.database.rows(
            "select distinct c.key from latest_metrics c where c.run_uuid in "
            f"(select r.run_uuid from runs r where {where}) order by c.key",
            values,
        )
        return [row[0] for row in rows]

    def history(self, study: str | None, name: str, code: dict[str, int]) -> pd.DataFrame:
        where, values = self._where(study)
        # The primary key (key, timestamp, step, run, value) holds all that is asked for.
        rows = self.database.rows(
            "select c.run_uuid, c.step, c.value from metrics c where c.key = ? and c.run_uuid in "
            f"(select r.run_uuid from runs r where {where})",
            [name, *values],
        )
        return frame(rows, code)

    def studies(self) -> list[str]:
        rows = self.database.rows(
            "select distinct e.name from experiments e join runs r on "
            f"r.experiment_id = e.experiment_id where {JOBS} union "
            "select distinct t.value from tags t join runs r on r.run_uuid = t.run_uuid "
            f"where t.key = '{keys.STUDY}' and {JOBS} order by 1"
        )
        return [row[0] for row in rows]

    def newest_experiment(self, study: str | None) -> str:
        where, values = self._where(study)
        rows = self.database.rows(
            f"select r.experiment_id from runs r where {where} "
            "order by r.end_time desc, r.run_uuid limit 1",
            values,
        )
        return str(rows[0][0])

    def newest_single(self, number: str) -> str | None:
        """The experiment's newest run, if its launch made no other."""
        rows = self.database.rows(
            "select r.run_uuid, t.value from runs r join tags t on t.run_uuid = r.run_uuid "
            "and t.key = ? where r.experiment_id = ? and r.status = 'FINISHED' "
            "and r.lifecycle_stage = 'active' order by r.end_time desc, r.run_uuid limit 1",
            [keys.SWEEP, int(number)],
        )
        if not rows:
            return None
        run_id, launch = rows[0]
        others = self.database.rows(
            "select 1 from tags t join runs r on r.run_uuid = t.run_uuid where t.key = ? "
            "and t.value = ? and r.experiment_id = ? limit 2",
            [keys.SWEEP, launch, int(number)],
        )
        return run_id if len(others) == 1 else None

    def experiment_tags(self, number: str) -> set[str]:
        rows = self.database.rows(
            "select key from experiment_tags where experiment_id = ?", [int(number)]
        )
        return {row[0] for row in rows}

    def experiment_name(self, number: str) -> str:
        sql = "select name from experiments where experiment_id = ?"
        return str(self.database.rows(sql, [int(number)])[0][0])

    def artifact_uris(self, study: str | None) -> list[tuple[str, str]]:
        where, values = self._where(study)
        sql = f"select r.run_uuid, r.artifact_uri from runs r where {where}"
        return self.database.rows(sql, values)

    def showing(self, study: str | None, path: str) -> list[tuple[str, str]]:
        where, values = self._where(study)
        return self.database.rows(
            "select r.run_uuid, r.artifact_uri from runs r join tags n on n.run_uuid = r.run_uuid "
            f"and n.key = '{keys.NOTE}' and n.value like ? where {where} "
            "order by r.end_time desc, r.run_uuid",
            [f"%?path={path}&%", *values],
        )

    def artifact_uri(self, run_id: str) -> str | None:
        rows = self.database.rows("select artifact_uri from runs where run_uuid = ?", [run_id])
        return rows[0][0] if rows else None
