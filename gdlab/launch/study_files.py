"""Studies as files: `experiments/<name>.yaml`, a Hydra overlay with its sweeps, and `<name>.py`.

The current folder's `experiments/` comes first, then those that travel with gdlab.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gdlab.errors import UsageError, suggest
from gdlab.launch import config, strict_yaml
from gdlab.launch.compose import FastComposer
from gdlab.launch.grid import plan
from gdlab.launch.overrides import check_complete, checked
from gdlab.launch.vocabulary import Vocabulary, flat

# More are not written out; `max_jobs` says how many may run.
MOST_JOBS = 10_000_000


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
    content = strict_yaml.load(path)
    sweeps = content.pop("sweeps", None) or {}
    if not isinstance(sweeps, dict) or not all(isinstance(v, list) for v in sweeps.values()):
        sweeps = {}
    if not sweeps:
        raise UsageError(
            f"{path}: sweeps takes a mapping of names to lists of overrides, "
            "e.g. sweeps: {rates: [objective=fig4_6, 'schedule.eta=0.1,0.2']}"
        )
    for sweep, lines in sweeps.items():
        for line in lines:
            if not isinstance(line, str):
                raise UsageError(f"{path}: sweep {sweep}: {line} is no text; takes KEY=VALUE")
    try:
        _check_overlay(content, name)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return Experiment(
        name,
        content,
        {str(key): tuple(lines) for key, lines in sweeps.items()},
        _module(name, path.with_suffix(".py")),
    )


def _check_overlay(content: Mapping[str, Any], name: str) -> None:
    """Raises a `UsageError` for the first key that no run takes."""
    words = Vocabulary()
    if "study" in content and content["study"] != name:
        raise UsageError(f"study: {content['study']}: takes {name}, the name of the file")
    for key, value in content.items():
        if key == "hydra":
            raise UsageError("hydra: is not set by a study; a sweep takes hydra.sweeper.zip")
        if key not in ("defaults", *words.values, *words.groups):
            known = [*words.values, *words.groups, "sweeps", "defaults"]
            raise UsageError(f"{key}: no such key; {suggest(str(key), known)}")
        if key not in words.groups:
            continue
        if not isinstance(value, dict):
            raise UsageError(
                f"{key}: {value}: takes keys; a choice is a line of defaults: "
                f"- override /{key}: {value}"
            )
        known = [k for choice in words.choices(key) for k in words.keys(key, choice)]
        for inner in flat(value, f"{key}."):
            if inner not in known:
                hint = suggest(inner, list(dict.fromkeys(known)))
                raise UsageError(f"{inner}: no such key; {hint}")


def publish() -> None:
    """Makes every study a choice of the group `experiment`: its overlay, without its sweeps."""
    from hydra.core.config_store import ConfigStore

    for place in reversed(folders()):
        for path in sorted(place.glob("*.yaml")):
            try:
                node = strict_yaml.load(path)
            except UsageError:
                continue  # said where that study is asked for; others are not held up
            node.pop("sweeps", None)
            node.setdefault("study", path.stem)
            ConfigStore.instance().store(
                group="experiment", name=path.stem, node=node, package="_global_"
            )


@contextmanager
def composing() -> Iterator[FastComposer]:
    """A composer of gdlab's configuration, the studies among its choices."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    config.publish_imported()
    publish()
    where = str(config.folder("conf").resolve())
    with hydra.initialize_config_dir(where, version_base=config.VERSION_BASE):
        master = hydra.compose("config", return_hydra_config=True)
        yield FastComposer(GlobalHydra.instance().config_loader(), master)


def jobs(
    experiment: Experiment, overrides: Sequence[str] = (), composer: FastComposer | None = None
) -> dict[str, list[list[str]]]:
    """The overrides of every job of every sweep; the user's come last, and win.

    Raises:
        UsageError: an override that is wrong, as on the command line.
    """
    if composer is None:
        with composing() as composer:
            return jobs(experiment, overrides, composer)
    given = {line.partition("=")[0].lstrip("+~") for line in overrides}
    found = {}
    for sweep, lines in experiment.sweeps.items():
        own = [line for line in lines if line.partition("=")[0].lstrip("+~") not in given]
        try:
            found[sweep] = _jobs_of(experiment.name, [*own, *overrides], composer)
        except UsageError as error:
            raise UsageError(f"sweep {sweep} of {experiment.name}: {error}") from error
    return found


def _jobs_of(name: str, lines: Sequence[str], composer: FastComposer) -> list[list[str]]:
    # The study's own line comes before the sweep's, so that the sweep wins over the overlay.
    study = f"+experiment={name}"
    _, *taken = checked([study, *lines], sweep=True)
    of_sweeper: dict[str, Any] = {}
    for line in (line for line in taken if line.lstrip("+~").startswith(("hydra.", "hydra/"))):
        key = line.partition("=")[0]
        if key not in ("hydra.sweeper.zip", "hydra.sweeper.points"):
            raise UsageError(f"{line}: a study takes hydra.sweeper.zip and hydra.sweeper.points")
        of_sweeper[key] = composer.reader.parse(line).value()
    rest = [line for line in taken if line.partition("=")[0] not in of_sweeper]
    pairs, points = (of_sweeper.get(f"hydra.sweeper.{key}") for key in ("zip", "points"))
    grid = plan(rest, composer, pairs, None if points is None else str(points), [study])
    grid.check_size(MOST_JOBS)
    return [[study, *job] for job in grid.jobs()]


def compose(
    jobs: Sequence[Sequence[str]], composer: FastComposer | None = None
) -> list[dict[str, Any]]:
    """The resolved configuration of each job, as Hydra composes it.

    Raises:
        UsageError: a job's overrides do not fit; says which job and why.
    """
    if composer is None:
        with composing() as composer:
            return compose(jobs, composer)
    configs = composer.plain_all(jobs)
    for cfg in configs:
        check_complete(cfg)
    return configs


def _path(name: str) -> Path:
    for place in folders():
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    known = [choice.name for choice in config.studies()]
    hint = suggest(name, known) if known else "experiments/ holds none"
    raise UsageError(f"study {name}: no such study; {hint}")


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
    for key in ("claims", "table", "figures"):  # before the runs, not after them
        if not callable(getattr(module, key)):
            raise UsageError(f"{path}: {key} takes a function; see experiments/textbook.py")
    return module
