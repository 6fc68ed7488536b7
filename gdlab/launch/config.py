"""Where configurations live, and what choices they offer."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdlab import registry
from gdlab.errors import UsageError, raised

HERE = Path(__file__).parents[1]
GROUPS = ("objective", "init", "schedule", "method", "stop", "record", "tracking")
VERSION_BASE = "1.3"
HYDRA = ("hydra", "omegaconf")  # packages whose errors are complaints about overrides


@dataclass(frozen=True)
class Choice:
    """One choice of a group: its name and a few words."""

    name: str
    words: str


def folder(name: str) -> Path:
    """`conf` or `experiments`: inside the installed package, else beside it in a checkout."""
    inside, beside = HERE / name, HERE.parent / name
    return inside if inside.is_dir() else beside


def choices(group: str) -> list[Choice]:
    """What `group=` takes: the files in `conf/`, and what imported modules registered.

    A choice in a folder of its own has its name before it: `optax/lion`.
    """
    if group == "probe":
        return _probes() + _registered(group)
    place = folder("conf") / group
    files = sorted(place.rglob("*.yaml"), key=lambda f: (len(f.parts), f))
    found = [
        Choice(f.relative_to(place).with_suffix("").as_posix(), _first_comment(f)) for f in files
    ]
    return found + (_registered(group) if group in registry.ROOMS else [])


def studies() -> list[Choice]:
    """Studies in the current folder's `experiments/`, then those that come with gdlab."""
    seen: dict[str, Choice] = {}
    for place in dict.fromkeys((Path("experiments"), folder("experiments"))):
        for f in sorted(place.glob("*.yaml")):
            seen.setdefault(f.stem, Choice(f.stem, _first_comment(f)))
    return list(seen.values())


def import_modules(names: Sequence[str], folder: str) -> None:
    """Imports what `--import` names, in a folder or on the path; what is imported already, once.

    Raises:
        UsageError: there is no such module, or it raises an error.
    """
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for name in names:
        module = name.removesuffix(".py").replace("/", ".")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name == module.partition(".")[0]:
                raise UsageError(
                    f"--import {name}: no module of that name in {folder} or on the path"
                ) from None
            raise _not_imported(name, error) from error
        except UsageError:
            raise
        except Exception as error:
            raise _not_imported(name, error) from error


def _not_imported(name: str, error: Exception) -> UsageError:
    return UsageError(f"--import {name}: {raised(error)}")


def publish_imported() -> None:
    """Makes factories of imported modules choices of their groups, their defaults as keys."""
    import inspect

    from hydra.core.config_store import ConfigStore

    for group in ("objective", "init", "schedule", "method"):
        shipped = {f.stem for f in (folder("conf") / group).glob("*.yaml")}
        for name, factory in registry.imported(group).items():
            if name in shipped or factory.__module__.startswith("gdlab."):
                continue
            keys = {
                key: "???" if p.default is inspect.Parameter.empty else _plain(p.default)
                for key, p in inspect.signature(factory).parameters.items()
            }
            ConfigStore.instance().store(group=group, name=name, node={"name": name, **keys})


def explained(error: Exception, overrides: Sequence[str]) -> UsageError | None:
    """Hydra's complaint as one line; None where it is no complaint of Hydra's or OmegaConf's."""
    if isinstance(error, UsageError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        for line in overrides:
            key, _, value = line.partition("=")
            if key.startswith("hydra.") and value and error.filename.startswith(value):
                return UsageError(f"{line}: {error.strerror}; takes a folder that can be made")
    origin = Path(frames[-1].filename).parts if frames else ()
    kind = type(error).__module__.partition(".")[0]
    if kind not in HYDRA and not (isinstance(error, Exception) and set(HYDRA) & set(origin)):
        return None  # also AssertionError and its like, which Hydra raises for its own keys
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    said = text[:300] or f"{type(error).__name__} in Hydra"
    return UsageError(f"{' '.join(overrides)}: {said}")


def _first_comment(path: Path) -> str:
    with path.open() as lines:
        first = next(lines, "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _probes() -> list[Choice]:
    """gdlab's own probes, read from the source: listing them must not import jax."""
    tree = ast.parse((HERE / "probes.py").read_text())
    return [
        Choice(node.name, (ast.get_docstring(node) or "").split("\n")[0])
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(d) == "registry.probe" for d in node.decorator_list)
    ]


def _registered(group: str) -> list[Choice]:
    return [
        Choice(name, (factory.__doc__ or "").strip().split("\n")[0])
        for name, factory in registry.imported(group).items()
        if not factory.__module__.startswith("gdlab.")
    ]


def _plain(value: Any) -> Any:
    """A default as YAML can hold it."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
