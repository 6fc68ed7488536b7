"""SQLite files and PostgreSQL databases that hold an MLflow store, read and written without mlflow.

So a run need not wait for mlflow's import and a store's migrations (3 s) before it is stored.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gdlab.errors import UsageError
from gdlab.tracking.address import scheme, scrubbed, shown, sqlite_path

# The alembic revision of MLflow 3.17's tables: the only one that is written to directly.
KNOWN_REVISION = "dc11669786a5"
REACH_SECONDS = 4
BUSY_SECONDS = 60.0


def failure(uri: str, error: Exception) -> UsageError:
    """A database's error as one line that names the store."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, sqlite3.Error) and not sqlite_path(uri).exists():
        text = "the file is gone, deleted or moved while it was in use"
        advice = "put it back, or give the same command again: it makes a new one"
    elif isinstance(error, UnicodeError) or "malformed" in text or "decode" in text:
        return damaged(uri, text)
    elif "no such table" in text or "UndefinedTable" in type(error).__name__:
        advice = "this is no MLflow store; name another file or database"
    elif is_full(text):
        advice = "free some space, then give the same command again: it resumes"
    elif isinstance(error, sqlite3.Error):
        advice = "takes a file that can be written, such as sqlite:///mlflow.db"
    else:
        advice = "is the database server up? then give the same command again: it resumes"
    return UsageError(f"tracking.uri={shown(uri)}: {scrubbed(text, uri)}; {advice}")


def is_full(text: str) -> bool:
    """Whether an error says that there is no more room (SQLite calls a quota an I/O error)."""
    return any(words in text for words in ("full", "No space", "disk I/O error", "too large"))


def damaged(uri: str, what: str) -> UsageError:
    """That the store holds what neither gdlab nor MLflow has written."""
    return UsageError(
        f"tracking.uri={shown(uri)}: the store is damaged ({scrubbed(what, uri)}); put a copy of "
        "it back, or name another store"
    )


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
    # SQLite's driver decodes names and messages of a damaged file on the way.
    own = (sqlite3.Error, UnicodeDecodeError)
    return (*own, psycopg.Error) if psycopg else own
