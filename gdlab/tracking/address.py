"""Addresses of stores: what is given, which file it means, and how it is shown (no passwords)."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from gdlab.errors import UsageError

DEFAULT_URI = "sqlite:///mlflow.db"
# Schemes of stores: the first three are gdlab's own ways, the others go through MLflow's client.
SCHEMES = ("sqlite", "postgresql", "http", "mysql", "mssql", "databricks")
# SQLAlchemy's form for files whose names hold characters that an address reserves.
FILE, FILE_QUERY = "file:", "uri=true"
# Hydra writes a sweep's overrides with backslashes: postgresql\://user\:password@host.
_SECRET_OPTION = re.compile(
    r"(?i)\b(\w*(?:password|passwd|pwd|token|secret)\w*\\?=)(?:\\.|[^&\s'\"\\])+"
)
# User and password reach to the last @ of a word: a password may hold / and @ by mistake.
_USERINFO = re.compile(r"(\w[\w+.-]*\\?:/{0,3})([^\s/:@'\"\\]*)\\?:(?:\\.|\S)+@")
# The same where the scheme was forgotten: user:password@host.
_BARE_USERINFO = re.compile(r"(?<![^\s='\"(])([^\s/:@'\"\\]+)\\?:(?!/)(?:\\.|\S)+@")


def address(uri: str | None = None) -> str:
    """The store's address: `uri`, else `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.

    A SQLite file's path is made absolute; `address(address(uri)) == address(uri)` whatever
    characters the path holds.

    Raises:
        UsageError: it is no address of a store.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    if not isinstance(uri, str):
        raise UsageError(f"tracking.uri={uri!r}: takes an address such as {DEFAULT_URI}")
    kind = scheme(uri)
    if "://" not in uri or (kind not in SCHEMES and kind not in _plugins()):
        raise UsageError(
            f"tracking.uri={shown(uri)}: takes an address such as sqlite:///mlflow.db, "
            "postgresql://host/name or http://host:5000; of MLflow's other stores "
            f"{', '.join(SCHEMES[3:])}"
        )
    return sqlite_uri(sqlite_path(uri)) if kind == "sqlite" else uri


def scheme(uri: str) -> str:
    """`sqlite`, `postgresql`, `http` (also for https), or the uri's own scheme."""
    head = uri.split("://")[0].split("+")[0].lower()
    return {"postgres": "postgresql", "https": "http"}.get(head, head)


def sqlite_path(uri: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`, made absolute.

    The path is taken literally, as SQLAlchemy takes it: `a%20b` is a folder of that name. A `?`
    begins options there; a path with one is written `sqlite:///file:a%253Fb.db?uri=true`.
    """
    path, _, options = uri.partition(":///")[2].partition("?")
    if options == FILE_QUERY and path.startswith(FILE):
        path, options = unquote(unquote(path.removeprefix(FILE))), ""
    if not path or path == ":memory:":
        raise UsageError(
            f"tracking.uri={shown(uri)}: takes a file that outlives this process; "
            "give sqlite:///mlflow.db or another path"
        )
    if options:
        raise UsageError(
            f"tracking.uri={shown(uri)}: takes no options; if ? belongs to the path, give "
            f"{shown(sqlite_uri(Path(f'{path}?{options}')))}"
        )
    return Path(path).absolute()


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite file, which SQLAlchemy and MLflow read as that very file."""
    if set("?%") & set(str(path)):  # unquoted twice: by SQLAlchemy 2.1, then by SQLite
        return f"sqlite:///{FILE}{quote(quote(str(path)))}?{FILE_QUERY}"
    return f"sqlite:///{path}"


def artifact_root(folder: Path) -> str:
    """A folder as MLflow keeps it: a `file:` address where it would read a path as another."""
    # MLflow unquotes what it is given, and cuts addresses at ? and #.
    return folder.as_uri() if set("%?#") & set(str(folder)) else str(folder)


def shown(uri: str) -> str:
    """The address with `***` for its password and tokens: the form for messages, tags and files."""
    masked = _SECRET_OPTION.sub(r"\1***", uri)  # first: a password may hold @ and :
    if "@" not in masked:  # most texts: tags and notes of every run
        return masked
    return _BARE_USERINFO.sub(r"\1:***@", _USERINFO.sub(r"\1\2:***@", masked))


def without_user(uri: str) -> str:
    """The address without user and password: for links, and for what asks for none."""
    start, mark, rest = uri.partition("://")
    return start + mark + rest.rpartition("@")[2]


def scrubbed(text: str, uri: str) -> str:
    """A driver's message about a store, with `***` for what is secret in the store's address.

    Drivers quote what they misread: of `user:a@b@host` the host `b@host`. So every piece of the
    password goes, not only the whole.
    """
    bare = _SECRET_OPTION.sub(r"\1", uri)
    secrets = [part[1] for part in re.findall(r"\w:/{0,3}([^\s/:@]*):(\S+)@", bare)]
    secrets += re.findall(r"(?i)(?:password|passwd|pwd|token|secret)\w*=([^&\s]+)", uri)
    text = shown(text.replace(uri, shown(uri)))
    pieces = {piece for secret in secrets for piece in re.split(r"[@/:?#%]", unquote(secret))}
    wholes = {form for secret in secrets for form in (secret, unquote(secret))}
    for piece in sorted(filter(None, pieces | wholes), key=len, reverse=True):
        # Short ones only where they stand alone or before a host: a letter is part of many words.
        quoted = re.escape(piece)
        within = quoted if len(piece) > 3 else rf"(?<!\w){quoted}(?!\w)|{quoted}(?=@)"
        text = re.sub(within, "***", text)
    return text


def _plugins() -> set[str]:
    """Schemes that installed plugins add to MLflow."""
    return {point.name for point in importlib.metadata.entry_points(group="mlflow.tracking_store")}
