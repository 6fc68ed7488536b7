"""Data goes one way through the house: who may import what, read from the imports themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
HOUSE = TOP / "gdlab"
# From the bottom up. A room is a file or a folder of gdlab/; it imports from floors below its own.
FLOORS = (
    ("errors", "theory"),
    ("types", "numerics"),
    ("registry",),
    ("objectives", "methods", "schedules", "inits", "probes"),
    ("runner", "analysis"),
    ("critical", "figures"),
    ("tracking",),
    ("launch",),
    ("report", "api", "hydra_plugins"),
    ("cli",),
)
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
# Libraries that only these rooms import.
OWNERS = {
    "mlflow": {"tracking"},
    "sqlalchemy": {"tracking"},
    "matplotlib": {"figures"},
    "hydra": {"launch", "cli", "hydra_plugins"},
    "omegaconf": {"launch", "cli", "hydra_plugins"},
    "rich": {"cli"},
    "jax": {"numerics", "objectives", "methods", "schedules", "inits", "probes"}
    | {"runner", "critical"},
    "optax": {"types", "methods", "schedules", "runner"},  # types: for annotations alone
}  # fmt: skip
SAME = {"jaxlib": "jax", "mlflow_skinny": "mlflow", "mpl_toolkits": "matplotlib"}
# Who may import modules by names that are data: what a user types, and the registry's own.
LATE = {"registry", "launch", "critical"}
# The front doors: `import gdlab`, which loads rooms by name when asked, and `python -m gdlab`.
DOORS = ("__init__", "__main__")


def imports(source: str) -> Iterator[str]:
    """Dotted names of all modules that a file imports: in functions, by `importlib` or by
    `__import__` as well. A relative import begins with a dot; a name that is data is `?`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                name = node.args[0] if node.args else None
                yield name.value if isinstance(name, ast.Constant) else "?"


def complaints(room: str, source: str) -> list[str]:
    """What is wrong with the imports of a file of that room."""
    if room not in FLOOR:
        return [f"{room} has no floor"]
    found = []
    for name in imports(source):
        root, _, rest = name.partition(".")
        if name.startswith("."):
            found.append(f"{room} imports {name}: a relative import hides the room")
            continue
        if name == "?":
            if room not in LATE:
                found.append(f"{room} imports a module whose name is data")
            continue
        root = SAME.get(root, root)
        if room not in OWNERS.get(root, {room}):
            found.append(f"{room} imports {root}")
        other = rest.partition(".")[0] if root == "gdlab" else root
        if root not in ("gdlab", "hydra_plugins") or other == room or other == "__version__":
            continue
        if other not in FLOOR:
            found.append(f"{room} imports {name}, which has no floor")
        elif FLOOR[other] >= FLOOR[room]:
            found.append(f"{room} imports {name} from floor {FLOOR[other]}")
    return found


def circles(sources: Mapping[str, str]) -> set[str]:
    """Modules, of those given by name, that need each other in a circle, or what is in one."""
    needs = {}
    for module, source in sources.items():
        names = set()
        for name in imports(source):
            head = name.rpartition(".")[0]
            names |= {name if name in sources else head} & set(sources)
        needs[module] = names - {module}
    while free := {module for module, names in needs.items() if not names & set(needs)}:
        needs = {module: names for module, names in needs.items() if module not in free}
    return set(needs)


def files() -> list[tuple[str, Path]]:
    own = [
        (path.relative_to(HOUSE).parts[0].removesuffix(".py"), path)
        for path in sorted(HOUSE.rglob("*.py"))
    ]
    plugins = sorted((TOP / "hydra_plugins").rglob("*.py"))
    return [(room, path) for room, path in own if room not in DOORS] + [
        ("hydra_plugins", path) for path in plugins
    ]


PLACES = [pytest.param(*f, id=str(f[1].relative_to(TOP))) for f in files()]


@pytest.mark.parametrize(("room", "path"), PLACES)
def test_imports_go_down(room: str, path: Path) -> None:
    assert complaints(room, path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("types", "import mlflow"),
        ("analysis", "import jax.numpy as jnp"),
        ("analysis", "from gdlab.figures import style"),
        ("analysis", "from gdlab.runner.sweep import Job"),
        ("figures", "from gdlab import critical"),
        ("runner", "def late():\n    from gdlab.critical.verdict import judge"),
        ("critical", "from gdlab.figures.style import rendered"),
        ("tracking", "from gdlab.launch.campaign import Settings"),
        ("launch", "import gdlab.cli.terminal"),
        ("launch", "import sqlalchemy"),
        ("report", "from gdlab.api import descend"),
        ("registry", "from gdlab import objectives"),
        ("errors", "from gdlab import types"),
        ("helpers", "import math"),
        ("cli", "from gdlab.helpers import first"),
        ("theory", "from gdlab import errors"),
        ("methods", "if TYPE_CHECKING:\n    from gdlab.schedules import constant"),
        ("analysis", "from . import tables"),
        ("figures", "from ..tracking import read"),
        ("runner", "import importlib\nimportlib.import_module('gdlab.critical.verdict')"),
        ("runner", "from importlib import import_module\nimport_module('gdlab.tracking')"),
        ("critical", "__import__('gdlab.launch.study')"),
        ("figures", "def late(name):\n    return importlib.import_module(name)"),
        ("report", "from jax import numpy as jnp"),
        ("launch", "try:\n    import jaxlib\nexcept ImportError:\n    pass"),
        ("runner", "from hydra import compose"),
        ("report", "import matplotlib.pyplot as plt"),
        ("launch", "class Late:\n    import mlflow.tracking as tracking"),
        ("analysis", "import optax"),
        ("tracking", "from gdlab import *"),
        ("api", "import hydra_plugins.gdlab_launcher.launcher"),
        ("inits", "import gdlab"),
    ],
)
def test_a_planted_import_is_found(room: str, source: str) -> None:
    assert complaints(room, source)


def test_the_house_is_small() -> None:
    rooms = {room for room, _ in files()}
    assert rooms == set(FLOOR), "every room has a floor, and every floor its rooms"
    assert len(rooms) <= 25
    assert len(FLOORS) <= 10


def test_there_are_no_circles() -> None:
    """Modules of one room import each other in one direction."""
    modules = {
        ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (*HOUSE.rglob("*.py"), *(TOP / "hydra_plugins").rglob("*.py"))
    }
    assert not circles({module: path.read_text() for module, path in modules.items()})


@pytest.mark.parametrize(
    "planted",
    [
        {"a.b": "from a import c", "a.c": "import a.b"},
        {"a.b": "from a.c import f", "a.c": "def late():\n    from a.b import g"},
        {"a.b": "from a.c import f", "a.c": "import a.d", "a.d": "import_module('a.b')"},
        {"a": "from a.b import f", "a.b": "from a import g"},
    ],
)
def test_a_planted_circle_is_found(planted: dict[str, str]) -> None:
    rest = {"a.e": "from a import f\nimport math"}
    assert circles(planted | {"z": "import math"}) == set(planted)
    assert not circles(rest)


def test_only_tracked_folders_are_packages() -> None:
    """A folder that only holds __pycache__ is left over from a move, and imports as a package."""
    held = {path.parent for path in HOUSE.rglob("*") if path.suffix not in ("", ".pyc")}
    held |= {folder for at in held for folder in at.parents}
    seen = {path for path in HOUSE.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    assert seen <= held


@pytest.mark.parametrize(("room", "path"), PLACES)
def test_every_public_function_says_what_it_computes(room: str, path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), path
    for node in tree.body:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if named and len(node.body) > 3:
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_wrong_shapes_are_refused_while_the_tests_run() -> None:
    """conftest.py has jaxtyping check every call; without it the annotations are only read."""
    import numpy as np
    from jaxtyping import TypeCheckError

    from gdlab.figures import contours, style

    _, ax = style.figure()
    x, y = np.arange(3.0), np.arange(4.0)
    contours.draw_contours(ax, x, y, np.outer(x, y))
    with pytest.raises(TypeCheckError):
        contours.draw_contours(ax, x, y, np.outer(y, x))


def test_the_house_is_drawn_as_it_stands() -> None:
    """`python docs/draw_house.py` draws it anew."""
    drawn = (TOP / "docs" / "pictures" / "house.svg").read_text()
    words = re.findall(r"<text[^>]*>([^<]+)</text>", drawn)
    assert [word for word in words if word in FLOOR] == [r for rooms in FLOORS for r in rooms]
