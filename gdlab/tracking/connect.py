"""MLflow's public client on a store, and its errors in one line."""

from __future__ import annotations

import http.client
import logging
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from gdlab.errors import UsageError
from gdlab.tracking.address import DEFAULT_URI, scheme, scrubbed, shown, without_user
from gdlab.tracking.database import REACH_SECONDS, is_full

if TYPE_CHECKING:
    from mlflow import MlflowClient


def client_of(uri: str) -> MlflowClient:
    """MLflow's client on a store."""
    quiet()
    # MLflow's seven retries with growing pauses hide a dead server for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    # Nor should each run's address be printed when it ends.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    with mlflow_errors(uri):
        return MlflowClient(sqlalchemy_uri(uri), sqlalchemy_uri(uri))


def sqlalchemy_uri(uri: str) -> str:
    """The address as SQLAlchemy takes it: with the driver that gdlab asks for."""
    if scheme(uri) == "postgresql":
        return "postgresql+psycopg://" + uri.partition("://")[2]
    return uri


def quiet() -> None:
    """Keeps the migrations' log lines off the terminal."""
    for name in ("alembic", "mlflow.store.db.utils", "mlflow.store.db"):
        logging.getLogger(name).setLevel(logging.WARNING)


def reach(uri: str) -> None:
    """Raises a `UsageError` within seconds if a tracking server does not answer."""
    if scheme(uri) != "http":
        return
    health = f"{without_user(uri).rstrip('/')}/health"
    try:
        with urllib.request.urlopen(health, timeout=REACH_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code == 404:  # a server behind a proxy may hide /health
            return
        reason = f"answers {error.code} {error.reason}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = f"does not answer ({getattr(error, 'reason', None) or error})"
    raise UsageError(
        f"tracking.uri={shown(uri)}: {scrubbed(reason, uri)}; start the server (mlflow server), "
        f"mend the address, or give tracking.uri={DEFAULT_URI}"
    )


class mlflow_errors:
    """A context in which MLflow's and its transports' errors become one line on the store."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, UsageError):
            return
        about = f"tracking.uri={shown(self.uri)}"
        if isinstance(error, ModuleNotFoundError):  # a database's driver
            raise UsageError(
                f"{about}: needs {error.name}; install it, or give tracking.uri={DEFAULT_URI}"
            ) from error
        if type(error).__module__.split(".")[0] in ("mlflow", "requests", "sqlalchemy", "urllib3"):
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            if "out-of-date database schema" in text:
                text = text.partition("(")[2].partition(")")[0]
                raise UsageError(
                    f"{about}: its tables are of another version of MLflow ({text}); copy the "
                    "store, then bring it up to date: mlflow db upgrade URI"
                ) from error
            advice = "free some space" if is_full(text) else "mend the store"
            raise UsageError(
                f"{about}: {scrubbed(text, self.uri)[:300]}; {advice}, then give the same command "
                "again: it resumes"
            ) from error


def check_active(experiment: str, stage: str) -> None:
    """Raises a `UsageError` if an experiment was deleted in the store."""
    if stage != "active":
        raise UsageError(
            f"tracking.experiment={experiment}: was deleted in the store; restore it in the "
            "MLflow UI or give another name"
        )
