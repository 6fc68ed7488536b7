"""Artifacts of runs: files where their root is a local folder, else what MLflow gives and takes."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdlab.errors import UsageError
from gdlab.tracking.connect import client_of, mlflow_errors
from gdlab.tracking.keys import RunData

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Folder:
    """The artifacts of a stored run, wherever they lie.

    Attributes:
        uri: the store.
        root: the run's artifact address.
    """

    uri: str
    run_id: str
    root: str

    def has(self, path: str) -> bool:
        """Whether there is an artifact of that name, at the top."""
        folder = local_folder(self.root)
        if folder is not None:
            return (folder / path).is_file()
        with mlflow_errors(self.uri):
            return path in {item.path for item in client_of(self.uri).list_artifacts(self.run_id)}

    def read(self, path: str) -> bytes:
        """The content of an artifact; raises a `UsageError` where it is not there."""
        folder = local_folder(self.root)
        try:
            if folder is not None:
                return (folder / path).read_bytes()
            with mlflow_errors(self.uri), tempfile.TemporaryDirectory() as into:
                local = client_of(self.uri).download_artifacts(self.run_id, path, into)
                return Path(local).read_bytes()
        except OSError as error:
            raise UsageError(f"run {self.run_id}: no artifact {path} in {self.root}") from error

    def write(self, path: str, content: bytes) -> None:
        """Keeps an artifact: complete, or not at all."""
        folder = local_folder(self.root)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as beside:
            draft = Path(beside) / path
            draft.write_bytes(content)
            if folder is not None:
                os.replace(draft, folder / path)
            else:
                with mlflow_errors(self.uri):
                    client_of(self.uri).log_artifact(self.run_id, str(draft))


def put(client: MlflowClient, run_id: str, artifact_uri: str, run: RunData) -> None:
    """Stores a run's artifacts under its artifact address."""
    if not run.files:
        return
    folder = local_folder(artifact_uri)
    if folder is not None:
        save(folder, run)
        return
    with tempfile.TemporaryDirectory() as name:
        save(Path(name), run)
        client.log_artifacts(run_id, name)


def save(folder: Path, run: RunData) -> None:
    """Writes the artifacts under `folder`; makes none where there are none."""
    for name, content in run.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def local_folder(artifact_uri: str) -> Path | None:
    """The folder of a path or `file:` address; None for artifacts kept elsewhere."""
    if artifact_uri.startswith("file:"):
        from urllib.parse import unquote, urlparse

        return Path(unquote(urlparse(artifact_uri).path))
    return None if "://" in artifact_uri or ":/" in artifact_uri else Path(artifact_uri)
