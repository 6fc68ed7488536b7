"""Artifacts of runs: written as files where their root is a local folder, else through MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gdlab.tracking.keys import RunData

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
