"""gdlab: a laboratory for gradient descent.

The names below are loaded when they are first used, so that `import gdlab` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Objective": "gdlab.types",
    "Facts": "gdlab.types",
    "CriticalPoints": "gdlab.types",
    "Method": "gdlab.types",
    "Schedule": "gdlab.types",
    "Record": "gdlab.types",
    "Records": "gdlab.types",
    "Verdict": "gdlab.types",
    "descend": "gdlab.lab",
    "census": "gdlab.critical.census",
    "basins": "gdlab.critical.basins",
    "load": "gdlab.tracking.read",
    "load_curves": "gdlab.tracking.read",
}
_ROOMS = ("schedules", "methods", "objectives", "initializations", "theory", "figures")

__all__ = ["__version__", "register", *_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name == "register":
        return importlib.import_module("gdlab.registry")
    if name in _ROOMS:
        return importlib.import_module(f"gdlab.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gdlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
