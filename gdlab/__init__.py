"""gdlab: a laboratory for gradient descent.

The names below are loaded when they are first used, so that `import gdlab` costs nothing. It writes
XLA's flags into the environment, which jax reads once, and changes nothing of jax.
"""

from __future__ import annotations

import importlib
from typing import Any

from gdlab import numerics as _numerics

_numerics.prepare()

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
    "configure": "gdlab.numerics",
    "descend": "gdlab.api",
    "census": "gdlab.critical.census",
    "basins": "gdlab.critical.basins",
    "load": "gdlab.tracking.read",
    "load_curves": "gdlab.tracking.read",
    "Claim": "gdlab.launch.claims",
    "UsageError": "gdlab.errors",
    "MissingFact": "gdlab.errors",
}
_ROOMS = {
    "critical": "gdlab.critical",
    "figures": "gdlab.figures",
    "inits": "gdlab.inits",
    "methods": "gdlab.methods",
    "objectives": "gdlab.objectives",
    "probes": "gdlab.probes",
    "register": "gdlab.registry",
    "schedules": "gdlab.schedules",
    "statistics": "gdlab.analysis.statistics",
    "study": "gdlab.launch.study",
    "theory": "gdlab.theory",
}

__all__ = ["__version__", *_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gdlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
