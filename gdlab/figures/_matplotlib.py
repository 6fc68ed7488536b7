"""Imports matplotlib without the environment's backend: figures draw on their own Agg canvases."""

from __future__ import annotations

import os


def import_without_backend() -> None:
    """Imports matplotlib while `MPLBACKEND` is set aside.

    Jupyter sets it for all that it starts, to a module that need not be there, and matplotlib then
    refuses to be imported.
    """
    given = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib  # noqa: F401
    finally:
        if given is not None:
            os.environ["MPLBACKEND"] = given
