"""Where a run came from: the commit of the code, and the versions that its numbers depend on."""

from __future__ import annotations

import getpass
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gdlab.tracking import keys

LIBRARIES = ("gdlab", "jax", "jaxlib", "optax", "numpy", "hydra-core", "mlflow")


@cache
def user() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@cache
def versions() -> dict[str, str]:
    """Versions of the libraries that a number depends on."""
    return {name: version(name) for name in LIBRARIES}


@cache
def commit(folder: str = ".") -> str | None:
    """The git commit of a folder, with `+` where files differ from it; None outside git."""
    try:
        asked: Any = {"cwd": folder, "capture_output": True, "text": True, "timeout": 5}
        head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, **asked)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], check=True, **asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


@cache
def provenance() -> dict[str, str]:
    """Tags that say which code made a run: the user's commit, else gdlab's own."""
    found = commit() or commit(str(Path(__file__).parent))
    tags = {keys.VERSIONS: ", ".join(f"{name} {v}" for name, v in versions().items())}
    return tags | ({keys.GIT_COMMIT: found} if found else {})
