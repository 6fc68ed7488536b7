"""A new store: MLflow's tables in a SQLite file or a PostgreSQL database, made in one step."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shlex
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from gdlab.errors import UsageError
from gdlab.tracking.address import artifact_root, shown, sqlite_path, sqlite_uri
from gdlab.tracking.connect import client_of, mlflow_errors, quiet
from gdlab.tracking.database import KNOWN_REVISION, Database, failure

# Bytes a page of a new SQLite store: a tenth less work an inserted row than with SQLite's 4096.
PAGE = 16384


def create_postgresql(database: Database) -> None:
    """Lets MLflow make its tables in an empty PostgreSQL database; one process at a time."""
    with database.connect() as connection:
        connection.execute("select pg_advisory_lock(7105097)")
        if database.revision() is None:
            with mlflow_errors(database.uri):
                client_of(database.uri).search_experiments(max_results=1)


def create_sqlite(uri: str) -> None:
    """Makes the SQLite store if there is none: complete or not at all, whoever else tries it.

    Its folder must be there: one that is made for a mistyped path hides the mistake.

    The file is prepared under another name and linked into place. Of two processes that do so
    at once one finds the name taken and uses the other's file; no half-migrated file is seen.
    """
    path = sqlite_path(uri)
    try:
        if path.exists() and path.stat().st_size:
            return
        if not path.parent.exists():
            raise UsageError(
                f"tracking.uri={shown(uri)}: there is no folder {path.parent}; make it (mkdir -p "
                f"{shlex.quote(str(path.parent))}) or name another, such as sqlite:///mlflow.db"
            )
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise UsageError(
            f"tracking.uri={shown(uri)}: {error.strerror} ({path.parent}); takes a folder that can "
            "be written, such as sqlite:///mlflow.db"
        ) from error
    fresh = Path(name)
    try:
        _fill(uri, fresh, path.parent)
        if path.exists() and not path.stat().st_size:
            path.unlink()
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    except (OSError, sqlite3.Error) as error:
        raise failure(uri, error) from error
    finally:
        for rest in ("", "-journal"):
            Path(name + rest).unlink(missing_ok=True)


def _fill(uri: str, fresh: Path, folder: Path) -> None:
    """An empty MLflow store in `fresh`: a copy of one that MLflow itself made and migrated.

    MLflow takes 3 s for import and migrations; they are paid once a machine and MLflow version.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdlab"
    template = root / f"mlflow-{importlib.metadata.version('mlflow')}-{PAGE}.db"
    try:
        shutil.copyfile(template, fresh)
        if Database(sqlite_uri(fresh)).revision() != KNOWN_REVISION:
            raise FileNotFoundError(template)
    except (OSError, UsageError):
        fresh.write_bytes(b"")
        _migrate(uri, fresh)
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=template.name, dir=root)
            os.close(handle)
            shutil.copyfile(fresh, name)
            os.replace(name, template)
    now = int(time.time() * 1000)
    with contextlib.closing(sqlite3.connect(fresh)) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = ? || '/' || experiment_id, "
            "creation_time = ?, last_update_time = ?",
            (artifact_root(folder / "mlruns"), now, now),
        )
    fresh.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _migrate(uri: str, fresh: Path) -> None:
    quiet()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with mlflow_errors(uri):
        store = SqlAlchemyStore(sqlite_uri(fresh), artifact_root(fresh.parent / "mlruns"))
        store._dispose_engine()
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute(f"pragma page_size = {PAGE}")
        connection.execute("vacuum")
