"""The command line: verbs, and Hydra's own `gdlab [OVERRIDES]` and `gdlab -m [OVERRIDES]`.

Everything heavy is imported where it is used: `--help` and `list` must answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from gdlab import __version__
from gdlab.errors import UsageError
from gdlab.terminal import NORMAL, QUIET, VERBOSE, Screen

HELP = """\
gdlab: a laboratory for gradient descent

  gdlab [OVERRIDES]             one descent, tracked      gdlab objective=himmelblau init=uniform seed=3
  gdlab -m [OVERRIDES]          a sweep, as one program   gdlab -m schedule.eta=0.001,0.01 'seed=range(100)'
  gdlab study NAME [OVERRIDES]  run a study, check its claims, draw its figures into results/NAME
  gdlab figures NAME            tables and figures again, from the stored runs alone
  gdlab list [KIND]             objectives, inits, schedules, methods, probes, studies
  gdlab show GROUP=CHOICE       formula, parameters, facts and reference of one of them
  gdlab ui [NAME]               the MLflow UI on the store, opened at the right page

  --import MODULE   first import a module that registers objectives, schedules ... (repeatable)
  -q, --quiet       results and errors only           -v, --verbose   tracebacks too
  --version         --help        --hydra-help (Hydra's own flags: --cfg job, --info ...)

Overrides are Hydra's: objective=rosenbrock (a choice of a group), schedule.eta=0.01 (a value);
groups are objective init schedule method stop record tracking; values are steps seed precision
numerics. The store is tracking.uri, by default sqlite:///mlflow.db in the current folder.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 (some jobs failed), 2 (usage), 130 (interrupted)."""
    args = list(sys.argv[1:] if argv is None else argv)
    level = NORMAL
    for flags, value in ((("-q", "--quiet"), QUIET), (("-v", "--verbose"), VERBOSE)):
        if any(flag in args for flag in flags):
            args, level = [a for a in args if a not in flags], value
    screen = Screen(level)
    try:
        return _dispatch(args, screen)
    except UsageError as error:
        screen.fail(str(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        screen.fail("interrupted; what is stored stays, and the same command goes on from there")
        return 130


def _dispatch(args: list[str], screen: Screen) -> int:
    if "--version" in args:
        screen.say(f"gdlab {__version__}")
        return 0
    if "--help" in args or "-h" in args:
        screen.out.print(HELP, markup=False, end="")
        return 0
    modules = []
    while "--import" in args:
        at = args.index("--import")
        if at + 1 == len(args):
            raise UsageError("--import: takes the name of a module, e.g. --import my_lab")
        modules.append(args[at + 1])
        del args[at : at + 2]
    _import(modules)
    verb = args[0] if args else ""
    if verb in VERBS:
        return VERBS[verb](args[1:], screen)
    if verb and "=" not in verb and not verb.startswith(("-", "+", "~")):
        from gdlab.registry import suggest

        raise UsageError(f"{verb}: no such verb; {suggest(verb, list(VERBS))}; see gdlab --help")
    from gdlab.hydra_app import launch

    return launch(args, screen, modules)


def _import(modules: Sequence[str]) -> None:
    sys.path.insert(0, os.getcwd())
    for name in modules:
        from gdlab import numerics

        numerics.configure()
        try:
            importlib.import_module(name.removesuffix(".py").replace("/", "."))
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0]:
                raise
            raise UsageError(
                f"--import {name}: no module of that name in {os.getcwd()} or on the path"
            ) from None


def _list(args: list[str], screen: Screen) -> int:
    from gdlab import config
    from gdlab.registry import suggest

    kinds = {
        "objectives": "objective", "inits": "init", "schedules": "schedule", "methods": "method",
        "probes": "probe", "stops": "stop", "records": "record", "trackings": "tracking",
    }  # fmt: skip
    asked = args[0] if args else None
    plural = next((k for k, v in kinds.items() if asked in (k, v)), asked)
    if plural is not None and plural not in (*kinds, "studies", "study"):
        raise UsageError(f"list {asked}: no such kind; {suggest(str(asked), [*kinds, 'studies'])}")
    for kind in (plural,) if plural else (*list(kinds)[:5], "studies"):
        found = (
            config.studies() if kind in ("studies", "study") else config.choices(kinds[str(kind)])
        )
        screen.table([(c.name, c.words) for c in found], (str(kind), ""))
        if not plural:
            screen.say()
    return 0


def _show(args: list[str], screen: Screen) -> int:
    from gdlab.show import show

    if len(args) != 1 or "=" not in args[0]:
        raise UsageError("show: takes one GROUP=CHOICE, e.g. gdlab show objective=himmelblau")
    group, _, choice = args[0].partition("=")
    show(group, choice, screen)
    return 0


def _study(args: list[str], screen: Screen) -> int:
    from gdlab import study

    name = _one_name("study", args)
    return study.run(name, args[1:], screen)


def _census(args: list[str], screen: Screen) -> int:
    from gdlab import survey

    return survey.census(args, screen)


def _basins(args: list[str], screen: Screen) -> int:
    from gdlab import survey

    return survey.basins(args, screen)


def _figures(args: list[str], screen: Screen) -> int:
    from gdlab import study

    name = _one_name("figures", args)
    return study.redraw(name, args[1:], screen)


def _ui(args: list[str], screen: Screen) -> int:
    from gdlab.tracking import ui

    options = dict(a.split("=", 1) for a in args if "=" in a)
    names = [a for a in args if "=" not in a]
    unknown = set(options) - {"tracking.uri", "port"}
    if unknown or len(names) > 1:
        raise UsageError(f"ui {' '.join(args)}: takes [NAME] [tracking.uri=...] [port=5000]")
    port = options.get("port", "5000")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"port={port}: takes a number from 1 to 65535")
    uri = options.get("tracking.uri", "sqlite:///mlflow.db")
    return ui.show(uri, names[0] if names else None, int(port), screen.say)


def _one_name(verb: str, args: list[str]) -> str:
    from gdlab import config

    if not args or "=" in args[0]:
        known = ", ".join(c.name for c in config.studies())
        raise UsageError(f"{verb}: takes the name of a study; known: {known}")
    return args[0]


VERBS: dict[str, Any] = {
    "study": _study,
    "census": _census,
    "basins": _basins,
    "figures": _figures,
    "list": _list,
    "show": _show,
    "ui": _ui,
}
