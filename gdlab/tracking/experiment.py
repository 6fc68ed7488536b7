"""The experiment of a name: found, or made where there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdlab.tracking import keys
from gdlab.tracking.address import artifact_root, sqlite_path
from gdlab.tracking.connect import check_active
from gdlab.tracking.database import Database

if TYPE_CHECKING:
    from mlflow import MlflowClient


def experiment_in(database: Database, name: str) -> tuple[str, str]:
    """Number and artifact root of the experiment; made where there is none of that name."""
    folder = sqlite_path(database.uri).parent if database.is_sqlite else Path.cwd()
    select = database.sql(
        "select experiment_id, artifact_location, lifecycle_stage from experiments "
        "where name = ? and workspace = 'default'"
    )
    with database.connect() as connection:
        # Shows at once whether the store can be written.
        connection.execute("begin immediate" if database.is_sqlite else "begin")
        rows = connection.execute(select, (name,)).fetchall()
        if not rows:
            now = int(time.time() * 1000)
            made = connection.execute(
                database.sql(
                    "insert into experiments (name, workspace, lifecycle_stage, creation_time, "
                    "last_update_time) values (?, 'default', 'active', ?, ?) "
                    "on conflict (workspace, name) do nothing returning experiment_id"
                ),
                (name, now, now),
            ).fetchall()
            for (number,) in made:
                connection.execute(
                    database.sql(
                        "update experiments set artifact_location = ? where experiment_id = ?"
                    ),
                    (f"{artifact_root(folder / 'mlruns')}/{number}", number),
                )
                tag_experiment(database, connection, number, keys.EXPERIMENT_TAGS)
            rows = connection.execute(select, (name,)).fetchall()
        connection.execute("commit")
    (number, root, stage), *_ = rows
    check_active(name, stage)
    return str(number), root


def tag_experiment(
    database: Database, connection: Any, number: int, tags: Mapping[str, str]
) -> None:
    """Sets tags of an experiment; replaces those of the same name."""
    for key, value in tags.items():
        connection.execute(
            database.sql(
                "insert into experiment_tags (key, value, experiment_id) values (?, ?, ?) "
                "on conflict (key, experiment_id) do update set value = excluded.value"
            ),
            (key, value, number),
        )


def experiment_at(client: MlflowClient, name: str) -> str:
    """Number of the experiment behind MLflow's client; made where there is none of that name."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            number = client.create_experiment(name)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
        else:
            found = client.get_experiment(number)
            for key, value in keys.EXPERIMENT_TAGS.items():
                client.set_experiment_tag(number, key, value)
    check_active(name, found.lifecycle_stage)
    return str(found.experiment_id)
