"""The MLflow UI on a store: started on loopback, awaited, opened at the right page, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gdlab.errors import UsageError
from gdlab.tracking import query, views
from gdlab.tracking.address import address, artifact_root, scheme, shown, sqlite_path, without_user
from gdlab.tracking.connect import reach, sqlalchemy_uri

HOST = "127.0.0.1"
START_SECONDS = 90.0
STOP_SECONDS = 10.0
PORTS_TRIED = 100


@dataclass(frozen=True)
class Server:
    """A running `mlflow server`; a context manager that ends it.

    Attributes:
        url: where it answers.
        port: its port.
        process: the leader of its process group.
        folder: the empty folder that it runs in.
    """

    url: str
    port: int
    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server and its workers: asks, then kills; returns when they are gone."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            # The group is the server's own; its id is the pid that was started here.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            if _gone(self.process.pid):
                break
        self.folder.cleanup()


def serve(
    uri: str | None = None,
    port: int = 5000,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    meanwhile: Callable[[], object] = lambda: None,
) -> Server:
    """Starts `mlflow server` on the store; returns when it answers.

    Args:
        uri: a SQLite or PostgreSQL store that exists.
        port: the first port to try; a taken one is passed over, and `say` says so.
        meanwhile: is called while the server starts.

    Raises:
        UsageError: no such store, no free port, or the server does not start.
    """
    uri = address(uri)
    if scheme(uri) == "sqlite":
        path = sqlite_path(uri)
        if not path.exists():
            raise UsageError(
                f"tracking.uri={shown(uri)}: no such store; run gdlab first, or name the store "
                "that has runs"
            )
        root = path.parent / "mlruns"
    else:
        root = Path.cwd() / "mlruns"
    free = free_port(port)
    if free != port:
        say(f"port {port} is in use; taking {free}")
    folder = tempfile.TemporaryDirectory(prefix="gdlab-ui-")
    # The server imports from its working folder: an empty one has nothing to import.
    log = Path(folder.name) / "server.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(free)),
                *("-w", "1", "--artifacts-destination", artifact_root(root)),
            ],
            cwd=folder.name,
            env={
                **os.environ,
                # Not on the command line, which every user of the machine can read.
                "MLFLOW_BACKEND_STORE_URI": sqlalchemy_uri(uri),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "60",
            },
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://{HOST}:{free}", free, process, folder)
    try:
        meanwhile()
        _await(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def show(
    uri: str | None = None,
    name: str | None = None,
    port: int = 5000,
    say: Callable[[str], None] = print,
    drawing: Callable[[str | None], Iterator[object]] = lambda study: iter(()),
) -> int:
    """Serves the UI, opened at an experiment or study, until Ctrl-C; returns the exit code.

    Args:
        name: an experiment or study; default the one that was written last. It opens at its
            leaderboard, or where the last thing done was a single descent, at that run's page.
        drawing: makes the pictures that a study's runs lack, or those of all runs (None), one a
            turn. Those of what opens are there when it opens; the others follow.
    """
    uri = address(uri)
    place = query.experiment_of(name, uri)
    shown_first = name or place.name

    def first() -> None:
        for _ in drawing(shown_first):
            pass

    view = "leaderboard" if place.has_views else None
    if scheme(uri) == "http":
        reach(uri)
        first()
        say(views.ui_url(without_user(uri), place.id, view))
        return 0
    try:
        say("starting the MLflow UI (about 15 s) ...")
        with serve(uri, port, say, first) as server:
            link = views.ui_url(server.url, place.id, view)
            if place.run is not None:
                say(f"all runs: {link}")
                link = views.run_url(server.url, place.id, place.run)
            say(f"{link}\nCtrl-C ends it")
            if sys.stdout.isatty() and (os.environ.get("DISPLAY") or sys.platform == "darwin"):
                webbrowser.open(link)
            # Not wait(): a signal that comes just before it blocks would be seen when it returns.
            others = drawing(None)
            while (code := server.process.poll()) is None:
                if next(others, None) is None:
                    time.sleep(0.2)
            return code
    except KeyboardInterrupt:
        say("ended")
        return 0


def free_port(first: int) -> int:
    """The first port from `first` on at which nothing listens on loopback."""
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise UsageError(f"port={first}: it and the next {PORTS_TRIED} are in use; give another")


def _await(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
    raise UsageError(f"port={server.port}: the MLflow server did not start: {lines[-1]}")


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
