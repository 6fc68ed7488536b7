"""The command line: verbs, and Hydra's own `gdlab [OVERRIDES]` and `gdlab -m [OVERRIDES]`.

Everything heavy is imported where it is used: `--help` and `list` must answer at once.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gdlab import __version__
from gdlab.cli import completion
from gdlab.cli.terminal import MORE, NORMAL, QUIET, VERBOSE, Screen
from gdlab.errors import UsageError

HELP = """\
gdlab: a laboratory for gradient descent

  gdlab [OVERRIDES]         one descent, tracked and drawn
    gdlab
    gdlab objective=rosenbrock schedule=backtracking seed=3
  gdlab -m [OVERRIDES]      a sweep, as one program
    gdlab -m schedule=constant,polyak 'seed=range(100)'
    gdlab -m objective=rosenbrock schedule.eta=0.001,0.002
  gdlab study NAME          run a study, check its claims,
    gdlab study textbook    draw it into results/NAME
  gdlab figures NAME        tables and figures again, from
    gdlab figures textbook  the stored runs alone
  gdlab report [NAME]       one HTML page: who won, claims,
    gdlab report textbook   figures, curves, tables
    gdlab report gdlab out=sweep.html
  gdlab census [OVERRIDES]  all critical points, classified
    gdlab census objective=himmelblau
  gdlab basins [OVERRIDES]  which start ends in which point
    gdlab basins objective=himmelblau schedule.eta=0.01
  gdlab list [KIND]         what there is to choose from
    gdlab list schedules
  gdlab show GROUP=CHOICE   formula, parameters, reference
    gdlab show schedule=polyak
  gdlab ui [NAME]           the MLflow UI on the store
    gdlab ui gdlab port=5001

  --import MODULE   first import a module that registers
                    objectives, schedules ... (repeatable)
    gdlab --import my_lab objective=octic
  -q, --quiet       results and errors only
  -v, --verbose     tracebacks too
  --version, --help
  --hydra-help      Hydra's own flags: --cfg job, --info ...

Overrides are Hydra's: objective=rosenbrock chooses of a
group, schedule.eta=0.01 sets a value. Groups: objective
init schedule method stop record tracking. Values: steps
seed precision numerics verdict resume dry_run.

The store is tracking.uri, by default sqlite:///mlflow.db
in the current folder.

Completion of verbs, groups and choices in bash:
  eval "$(gdlab -sc install=bash)"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carries out a command line; returns the exit code: 0, 1 (some jobs failed) or 2 (usage)."""
    args = list(sys.argv[1:] if argv is None else argv)
    level = NORMAL
    for flags, value in ((("-q", "--quiet"), QUIET), (("-v", "--verbose"), VERBOSE)):
        if any(flag in args for flag in flags):
            args, level = [a for a in args if a not in flags], value
    screen = Screen(level)
    if level < VERBOSE:  # jax logs what a callback of a user's raises, and raises it too
        logging.getLogger("jax._src.debugging").setLevel(logging.CRITICAL)
    try:
        return _dispatch(args, screen)
    except UsageError as error:
        if level >= VERBOSE and error.__cause__ is not None:
            screen.trace(error.__cause__)
        screen.fail(str(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from gdlab.errors import raised

        if level >= VERBOSE:
            screen.trace(error)
        more = "" if level >= VERBOSE else f"; {MORE}"
        screen.fail(f"{raised(error)}{more}")
        return 1


def _dispatch(args: list[str], screen: Screen) -> int:
    if "--version" in args:
        screen.say(f"gdlab {__version__}")
        return 0
    if "--help" in args or "-h" in args:
        screen.out.print(HELP, markup=False, end="")
        return 0
    if completion.is_query(args):
        completion.answer(list(VERBS), KINDS, lambda: _by_hydra(args, screen, []))
        return 0
    modules: list[str] = []
    while "--import" in args:
        at = args.index("--import")
        if at + 1 == len(args):
            raise UsageError("--import: takes the name of a module, e.g. --import my_lab")
        modules.append(args[at + 1])
        del args[at : at + 2]
    _import(modules, args)
    verb = args[0] if args else ""
    if verb in VERBS:
        return VERBS[verb](args[1:], screen)
    if verb and "=" not in verb and not verb.startswith(("-", "+", "~")):
        from gdlab.errors import suggest

        raise UsageError(f"{verb}: no such verb; {suggest(verb, list(VERBS))}; see gdlab --help")
    return _by_hydra(args, screen, modules)


def _by_hydra(args: list[str], screen: Screen, modules: list[str]) -> int:
    from gdlab.cli.hydra_app import launch

    # Hydra takes its flags before the overrides only.
    sweeps = ("-m", "--multirun")
    args = [a for a in args if a in sweeps] + [a for a in args if a not in sweeps]
    return launch(args, screen, modules)


def _import(modules: Sequence[str], args: Sequence[str]) -> None:
    sys.path.insert(0, os.getcwd())
    if modules:
        from gdlab.launch import config

        _compute_as_typed(args)  # a module may start jax
        config.import_modules(modules, os.getcwd())


def _compute_as_typed(args: Sequence[str]) -> None:
    """Sets the numerics that are typed, however: `numerics=fast`, `++numerics="fast"`.

    Where they come another way (a file of points, an interpolation) the launch refuses what
    differs.
    """
    from gdlab import numerics

    typed = [m[2] for a in args if (m := re.fullmatch(r"""\+{0,2}numerics=(["']?)(\w+)\1""", a))]
    numerics.configure(typed[-1] if typed and typed[-1] in numerics.FLAGS else None)


def _list(args: list[str], screen: Screen) -> int:
    from gdlab.errors import suggest
    from gdlab.launch import config

    asked = args[0] if args else None
    plural = next((k for k, v in KINDS.items() if asked in (k, v)), asked)
    if plural is not None and plural not in (*KINDS, "studies", "study"):
        raise UsageError(f"list {asked}: no such kind; {suggest(str(asked), [*KINDS, 'studies'])}")
    for kind in (plural,) if plural else (*list(KINDS)[:5], "studies"):
        found = (
            config.studies() if kind in ("studies", "study") else config.choices(KINDS[str(kind)])
        )
        rows = [(c.name, c.words) for c in found]
        screen.table(rows if plural else _with_folders(str(kind), rows), (str(kind), ""))
        if not plural:
            screen.say()
    return 0


def _with_folders(kind: str, rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rows, with those of a folder as one: `optax/...`."""
    folders = Counter(name.partition("/")[0] for name, _ in rows if "/" in name)
    own = [row for row in rows if "/" not in row[0]]
    return own + [(f"{f}/...", f"{n} more: gdlab list {kind}") for f, n in folders.items()]


def _show(args: list[str], screen: Screen) -> int:
    from gdlab.cli.show import show

    if len(args) != 1 or "=" not in args[0]:
        raise UsageError("show: takes one GROUP=CHOICE, e.g. gdlab show objective=himmelblau")
    group, _, choice = args[0].partition("=")
    show(group, choice, screen)
    return 0


def _study(args: list[str], screen: Screen) -> int:
    from gdlab.cli import studies

    name = _one_name("study", args)
    return studies.run(name, args[1:], screen)


def _census(args: list[str], screen: Screen) -> int:
    from gdlab.cli import surveys
    from gdlab.launch import survey

    return surveys.show(survey.census, args, screen)


def _basins(args: list[str], screen: Screen) -> int:
    from gdlab.cli import surveys
    from gdlab.launch import survey

    return surveys.show(survey.basins, args, screen)


def _figures(args: list[str], screen: Screen) -> int:
    from gdlab.cli import studies

    name = _one_name("figures", args)
    return studies.redraw(name, args[1:], screen)


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
    uri = options.get("tracking.uri")

    def drawing(study: str | None) -> Iterator[bytes]:
        from gdlab.launch.pictures import Drawing

        return Drawing(uri, study, screen.tell).each()

    return ui.show(uri, names[0] if names else None, int(port), screen.say, drawing)


def _report(args: list[str], screen: Screen) -> int:
    from gdlab import report

    options = dict(a.split("=", 1) for a in args if "=" in a)
    names = [a for a in args if "=" not in a]
    if set(options) - {"tracking.uri", "out"} or len(names) > 1:
        raise UsageError(
            f"report {' '.join(args)}: takes [NAME] [out=FILE] [tracking.uri=...], "
            "e.g. gdlab report textbook"
        )
    uri = options.get("tracking.uri")
    path = report.write(names[0] if names else None, uri, options.get("out"))
    screen.say(f"{path}")
    size = path.stat().st_size / 1e6
    screen.tell(f"{size:.1f} MB, opens in any browser without a server or network")
    return 0


def _one_name(verb: str, args: list[str]) -> str:
    from gdlab.launch import config

    if not args or "=" in args[0]:
        known = ", ".join(c.name for c in config.studies())
        raise UsageError(f"{verb}: takes the name of a study; known: {known}")
    return args[0]


KINDS = {
    "objectives": "objective", "inits": "init", "schedules": "schedule", "methods": "method",
    "probes": "probe", "stops": "stop", "records": "record", "trackings": "tracking",
}  # fmt: skip
VERBS: dict[str, Any] = {
    "study": _study,
    "census": _census,
    "basins": _basins,
    "figures": _figures,
    "report": _report,
    "list": _list,
    "show": _show,
    "ui": _ui,
}
