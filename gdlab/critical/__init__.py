"""Critical points with evidence: verdicts, certificates, the census, basins, the landscape graph.

The names are loaded when they are first used: judging needs neither pandas nor the census.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "judge": "gdlab.critical.verdict",
    "certify": "gdlab.critical.proof.krawczyk",
    "census": "gdlab.critical.census",
    "Census": "gdlab.critical.census",
    "take_census": "gdlab.critical.census",
    "basins": "gdlab.critical.basins",
    "Basins": "gdlab.critical.basin_map",
    "shares_along": "gdlab.critical.basins",
    "landscape": "gdlab.critical.landscape",
    "Landscape": "gdlab.critical.landscape",
    "dwell": "gdlab.critical.dwell",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gdlab.critical' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
