"""Data goes one way through the house: who may import what, read from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "gdlab"
# What only these rooms may import (a room is a file or a folder of gdlab/).
OWNERS = {
    "mlflow": {"tracking"},
    "sqlalchemy": {"tracking"},
    "matplotlib": {"figures"},
    "hydra": {"config", "hydra_app", "compose", "experiment"},
    "rich": {"terminal", "summary", "cli", "canvas"},
}
# What these rooms must not import.
STRANGERS = {
    "tables": {"jax", "mlflow", "hydra"},
    "statistics": {"jax", "mlflow", "hydra"},
    "figures": {"jax", "mlflow", "hydra", "optax"},
    "tracking": {"jax", "hydra", "matplotlib"},
    "types": {"jax", "mlflow", "hydra"},
    "registry": {"jax", "mlflow", "hydra"},
    "errors": {"jax", "mlflow", "hydra", "gdlab"},
}
# From the bottom up: a room imports only from rooms before it (and from its own).
FLOORS = [
    ["errors"],
    ["types", "registry", "numerics"],
    ["theory", "probes"],
    ["objectives", "initializations", "schedules", "methods"],
    ["step", "rows"],
    ["descent"],
    ["pool"],
    ["sweep"],
    ["build"],
    ["critical", "tracking", "tables", "standing", "statistics", "figures"],
    ["pictures"],
    ["campaign"],
    ["lab"],
]


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[tuple[str, Path]]:
    return [
        (path.relative_to(HOUSE).parts[0].removesuffix(".py"), path)
        for path in sorted(HOUSE.rglob("*.py"))
    ]


def test_there_is_a_house() -> None:
    assert len(files()) > 40


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda v: getattr(v, "name", v))
def test_libraries_stay_in_their_rooms(room: str, path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    for library, rooms in OWNERS.items():
        assert library not in roots or room in rooms, f"{path.name} imports {library}"
    strangers = roots & STRANGERS.get(room, set())
    assert not strangers, f"{path.name} imports {strangers}"


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda v: getattr(v, "name", v))
def test_imports_go_down(room: str, path: Path) -> None:
    floor = {r: i for i, rooms in enumerate(FLOORS) for r in rooms}
    if room not in floor:
        return  # the verbs on top may import all below
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "gdlab" or len(parts) < 2 or parts[1] == room:
            continue
        other = parts[1]
        if (HOUSE / other).exists() or (HOUSE / f"{other}.py").exists():
            assert floor.get(other, len(FLOORS)) <= floor[room], f"{path.name} imports {name}"


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda v: getattr(v, "name", v))
def test_every_public_function_says_what_it_computes(room: str, path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), path
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if named and len(node.body) > 3:
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
