"""SQL stores without mlflow: connections, MLflow's schema, and a new SQLite store in one step.

MLflow's tables are read and written here directly, so that a run need not wait for mlflow's
import and a store's migrations (3 s) before it can be stored.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import shlex
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gdlab.errors import UsageError

# The alembic revision of MLflow 3.17's tables: the only one that is written to directly.
KNOWN_REVISION = "dc11669786a5"
REACH_SECONDS = 4
BUSY_SECONDS = 60.0
# Bytes a page of a new SQLite store: a tenth less work an inserted row than with SQLite's 4096.
PAGE = 16384


def scheme(uri: str) -> str:
    """`sqlite`, `postgresql`, `http` (also for https), or the uri's own scheme."""
    head = uri.split("://")[0].split("+")[0].lower()
    return {"postgres": "postgresql", "https": "http"}.get(head, head)


def sqlite_path(uri: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, made absolute."""
    path = unquote(uri.split("?")[0].partition(":///")[2])
    if not path or path == ":memory:":
        raise UsageError(
            f"tracking.uri={uri}: takes a file that outlives this process; "
            "give sqlite:///mlflow.db or another path"
        )
    return Path(path).absolute()


def failure(uri: str, error: Exception) -> UsageError:
    """A database's error as one line that names the store."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, sqlite3.Error) and not sqlite_path(uri).exists():
        text = "the file is gone, deleted or moved while it was in use"
        advice = "put it back, or give the same command again: it makes a new one"
    elif "no such table" in text or "UndefinedTable" in type(error).__name__:
        advice = "this is no MLflow store; name another file or database"
    elif "full" in text or "No space" in text:
        advice = "free some space, then give the same command again: it resumes"
    elif isinstance(error, sqlite3.Error):
        advice = "takes a file that can be written, such as sqlite:///mlflow.db"
    else:
        advice = "is the database server up? then give the same command again: it resumes"
    return UsageError(f"tracking.uri={uri}: {text}; {advice}")


@dataclass(frozen=True)
class Database:
    """A SQLite file or a PostgreSQL database that holds an MLflow store."""

    uri: str

    @property
    def is_sqlite(self) -> bool:
        return scheme(self.uri) == "sqlite"

    @contextlib.contextmanager
    def connect(self) -> Iterator[Any]:
        """A DBAPI connection in autocommit mode; the caller says `begin` and `commit`."""
        connection = self._open()
        try:
            if self.is_sqlite:
                # A chunk of runs touches index pages all over the file: keep 64 MB in memory.
                connection.execute("pragma cache_size = -64000")
                # What the constraints allow (statuses, is_nan) is all that is ever written here.
                connection.execute("pragma ignore_check_constraints = on")
            yield connection
            if self.is_sqlite and not sqlite_path(self.uri).exists():
                raise sqlite3.OperationalError  # what was written to it went with it
        except _errors() as error:
            raise failure(self.uri, error) from error
        finally:
            connection.close()

    def _open(self) -> Any:
        try:
            if not self.is_sqlite:
                return _psycopg().connect(
                    plain(self.uri), autocommit=True, connect_timeout=REACH_SECONDS
                )
            # For reading too: whoever comes first after a killed writer rolls its journal back.
            # SQLite opens a write-protected file for reading by itself.
            return sqlite3.connect(
                f"{sqlite_path(self.uri).as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
            )
        except _errors() as error:
            raise failure(self.uri, error) from error

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query, written with `?` marks."""
        with self.connect() as connection:
            return connection.execute(self.sql(sql), values).fetchall()

    def sql(self, text: str) -> str:
        """The query in the dialect's marks."""
        return text if self.is_sqlite else text.replace("?", "%s")

    def revision(self) -> str | None:
        """The schema's alembic revision; None where there is no MLflow store."""
        try:
            rows = self.rows("select version_num from alembic_version")
        except UsageError as error:
            if "no MLflow store" in str(error) or "does not exist" in str(error):
                return None
            raise
        return rows[0][0] if rows else None


def plain(uri: str) -> str:
    """A PostgreSQL address as libpq takes it: without SQLAlchemy's driver."""
    return "postgresql://" + uri.partition("://")[2]


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            "tracking.uri=postgresql://...: needs psycopg; pip install 'psycopg[binary]'"
        ) from error
    return psycopg


def _errors() -> tuple[type[Exception], ...]:
    """What the drivers in use raise."""
    psycopg = sys.modules.get("psycopg")
    return (sqlite3.Error, psycopg.Error) if psycopg else (sqlite3.Error,)


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
                f"tracking.uri={uri}: there is no folder {path.parent}; make it (mkdir -p "
                f"{shlex.quote(str(path.parent))}) or name another, such as sqlite:///mlflow.db"
            )
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise UsageError(
            f"tracking.uri={uri}: {error.strerror} ({path.parent}); takes a folder that can be "
            "written, such as sqlite:///mlflow.db"
        ) from error
    fresh = Path(name)
    try:
        _fill(fresh, path.parent)
        if path.exists() and not path.stat().st_size:
            path.unlink()
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
    except OSError as error:
        raise failure(uri, error) from error
    finally:
        fresh.unlink(missing_ok=True)


def _fill(fresh: Path, folder: Path) -> None:
    """An empty MLflow store in `fresh`: a copy of one that MLflow itself made and migrated.

    MLflow takes 3 s for import and migrations; they are paid once a machine and MLflow version.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdlab"
    template = root / f"mlflow-{importlib.metadata.version('mlflow')}-{PAGE}.db"
    try:
        shutil.copyfile(template, fresh)
        if Database(f"sqlite:///{fresh}").revision() != KNOWN_REVISION:
            raise FileNotFoundError(template)
    except (OSError, UsageError):
        fresh.write_bytes(b"")
        _migrate(fresh)
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=template.name, dir=root)
            os.close(handle)
            shutil.copyfile(fresh, name)
            os.replace(name, template)
    now = int(time.time() * 1000)
    with contextlib.closing(sqlite3.connect(fresh)) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = ? || '/mlruns/' || experiment_id, "
            "creation_time = ?, last_update_time = ?",
            (str(folder), now, now),
        )
    fresh.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _migrate(fresh: Path) -> None:
    quiet()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{fresh}", str(fresh.parent / "mlruns"))
    store._dispose_engine()
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
        connection.execute(f"pragma page_size = {PAGE}")
        connection.execute("vacuum")


def quiet() -> None:
    """Keeps the migrations' log lines off the terminal."""
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.store.db"):
        logging.getLogger(name).setLevel(logging.WARNING)
