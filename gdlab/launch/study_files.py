"""Studies as files: `experiments/<name>.yaml`, a Hydra overlay with its sweeps, and `<name>.py`.

The current folder's `experiments/` comes first, then those that travel with gdlab.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.launch import config


@dataclass(frozen=True)
class Experiment:
    """What a study's two files say.

    Attributes:
        name: of the study.
        overlay: the YAML without its sweeps, merged over `conf/config.yaml`.
        sweeps: name -> overrides as `gdlab -m` takes them.
        module: the Python file: QUESTION, claims, table, figures.
    """

    name: str
    overlay: Mapping[str, Any]
    sweeps: Mapping[str, tuple[str, ...]]
    module: ModuleType


def folders() -> list[Path]:
    """Where studies are looked for, in this order."""
    return list(dict.fromkeys([Path("experiments").absolute(), config.folder("experiments")]))


def load(name: str) -> Experiment:
    """The study of that name.

    Raises:
        UsageError: there is none, or its files are not a study's.
    """
    path = _path(name)
    content = _content(path)
    sweeps = content.pop("sweeps", None) or {}
    if not sweeps or not all(isinstance(v, list) for v in sweeps.values()):
        raise UsageError(
            f"{path}: sweeps takes a mapping of names to lists of overrides, "
            "e.g. sweeps: {rates: [objective=fig4_6, 'schedule.eta=0.1,0.2']}"
        )
    return Experiment(
        name,
        content,
        {key: tuple(map(str, lines)) for key, lines in sweeps.items()},
        _module(name, path.with_suffix(".py")),
    )


def publish() -> None:
    """Makes every study a choice of the group `experiment`: its overlay, without its sweeps."""
    from hydra.core.config_store import ConfigStore

    for place in reversed(folders()):
        for path in sorted(place.glob("*.yaml")):
            node = _content(path)
            node.pop("sweeps", None)
            node.setdefault("study", path.stem)
            ConfigStore.instance().store(
                group="experiment", name=path.stem, node=node, package="_global_"
            )


def jobs(experiment: Experiment, overrides: Sequence[str] = ()) -> dict[str, list[list[str]]]:
    """The overrides of every job of every sweep; the user's come last, and win.

    Raises:
        UsageError: an override that Hydra cannot parse.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found = {}
    for sweep, lines in experiment.sweeps.items():
        # The study's own line comes before the sweep's, so that the sweep wins over the overlay.
        try:
            parsed = parser.parse_overrides([*lines, *overrides])
        except HydraException as error:
            raise UsageError(f"sweep {sweep} of {experiment.name}: {error}") from error
        given = {line.partition("=")[0].lstrip("+~") for line in overrides}
        kept = [
            o
            for i, o in enumerate(parsed)
            if i >= len(lines) or o.get_key_element().lstrip("+~") not in given
        ]
        found[sweep] = [[f"+experiment={experiment.name}", *job] for job in _products(kept)]
    return found


def compose(jobs: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The resolved configuration of each job, as Hydra composes it.

    Raises:
        UsageError: a job's overrides do not fit; says which job and why.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from gdlab.launch.compose import FastComposer

    config.publish_imported()
    publish()
    where = str(config.folder("conf").resolve())
    with hydra.initialize_config_dir(where, version_base=config.VERSION_BASE):
        master = hydra.compose("config", return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        return FastComposer(loader, master).plain_all(jobs)


def _products(parsed: Sequence[Any]) -> list[list[str]]:
    """All combinations of sweep overrides, the last one varying fastest (as Hydra's sweeper)."""
    import itertools

    choices = []
    for override in parsed:
        key = override.get_key_element()
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise UsageError(
                    f"{override.input_line}: an interval has no list of values; use range or choice"
                )
            values = list(override.sweep_string_iterator())
            if not values:
                raise UsageError(f"{override.input_line}: empty, so the study has no job")
            choices.append([f"{key}={value}" for value in values])
        else:
            choices.append([override.input_line])
    return [list(job) for job in itertools.product(*choices)]


def _path(name: str) -> Path:
    for place in folders():
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    known = [choice.name for choice in config.studies()]
    hint = registry.suggest(name, known) if known else "experiments/ holds none"
    raise UsageError(f"study {name}: no such study; {hint}")


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: takes a mapping of keys, among them sweeps")
    return content


def _module(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"study {name}: {path.name} is missing beside {name}.yaml")
    spec = importlib.util.spec_from_file_location(f"gdlab_study_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    from gdlab import figures  # noqa: F401  # before the file's own matplotlib, see its __init__

    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look themselves up here
    spec.loader.exec_module(module)
    missing = [key for key in ("QUESTION", "claims", "table", "figures") if key not in vars(module)]
    if missing:
        raise UsageError(f"{path}: lacks {', '.join(missing)}; see experiments/textbook.py")
    return module
