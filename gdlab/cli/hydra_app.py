"""The Hydra app: what Hydra composes, the lab carries out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gdlab import numerics
from gdlab.cli import failures
from gdlab.cli.terminal import MORE, NORMAL, VERBOSE, Screen
from gdlab.errors import UsageError
from gdlab.launch import config, study_files
from gdlab.launch.overrides import check_complete, checked
from gdlab.tracking.address import shown

# What holds for a whole launch, beside all of `tracking`.
SHARED = ("study", "resume", "dry_run", "max_jobs")


def launch(args: Sequence[str], screen: Screen, modules: Sequence[str] = ()) -> int:
    """Runs `gdlab ARGS` through Hydra; returns the exit code."""
    import hydra

    config.publish_imported()
    study_files.publish()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    imports = [word for module in modules for word in ("--import", module)]
    session = Session(screen, shlex.join(["gdlab", *imports, *args]), modules)
    app = hydra.main(
        version_base=config.VERSION_BASE,
        config_path=str(config.folder("conf").resolve()),
        config_name="config",
    )(session.task)
    taken = _as_hydra_takes(args)
    _check_flags(taken)
    before, sys.argv = sys.argv, ["gdlab", *taken]
    try:
        if any(arg in SHOWING for arg in taken):
            with contextlib.redirect_stdout(io.StringIO()) as shows:
                app()
            print(shown(shows.getvalue()), end="")
        else:
            app()
        if session.error is not None:
            raise session.error
    except UsageError:
        raise
    except Exception as error:
        typed = [arg for arg in args if "=" in arg]
        mended = config.explained(error, typed)
        if screen.level >= VERBOSE:
            raise
        if mended is not None:
            raise mended from error
        if error is not session.error:
            raise
        said = f"{' '.join(typed)}: {failures.why(error)}".removeprefix(": ")
        screen.fail(f"{said}; {MORE}")
        return 1
    finally:
        sys.argv = before
    return 1 if session.failed else 0


# Hydra's flags: those with a value, and those after which choices and keys may be other than ours.
VALUED = {"--cfg", "-c", "--package", "-p", "--experimental-rerun"}
SHOWING = ("--cfg", "-c", "--info", "-i")  # print a configuration, which may hold a password
FOREIGN = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
FOREIGN |= {"--shell-completion", "-sc", "--experimental-rerun"}
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def _as_hydra_takes(args: Sequence[str]) -> list[str]:
    """The arguments, their overrides checked; see `gdlab.launch.overrides`."""
    flags: list[str] = []
    lines: list[str] = []
    for arg in args:
        of_flag = (
            bool(flags)
            and not lines
            and (flags[-1] in VALUED or (flags[-1] in ("--info", "-i") and arg in INFO))
        )
        (flags if of_flag or arg.startswith("-") else lines).append(arg)
    names = {flag.partition("=")[0] for flag in flags}
    if names & FOREIGN or any("hydra.searchpath" in line for line in lines):
        return list(args)
    sweep = bool(names & {"-m", "--multirun"})
    if sweep and names & {"--cfg", "-c", "--info", "-i"}:
        raise UsageError(
            "-m, --cfg and --info: takes one of them; gdlab --cfg job OVERRIDES (without -m) shows "
            "the configuration of one job"
        )
    if names & {"--resolve"} and not names & {"--cfg", "-c"}:
        raise UsageError("--resolve: goes with --cfg, as gdlab --cfg job --resolve OVERRIDES")
    return [*flags, *checked(lines, sweep=sweep)]


def _check_flags(args: Sequence[str]) -> None:
    """Raises where Hydra's parser would print its usage, and end the process."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}; gdlab --hydra-help shows Hydra's flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(list(args))


class Session:
    """One call of the command line: what Hydra's jobs are handed to, in workers too.

    Args:
        command: what was typed.
        modules: of `--import`; a worker imports them itself.
    """

    def __init__(self, screen: Screen, command: str, modules: Sequence[str] = ()) -> None:
        self.screen, self.command = screen, command
        self.modules, self.folder = tuple(modules), os.getcwd()
        self.failed = 0
        self.error: Exception | None = None

        def task(cfg: Any) -> float | None:
            from hydra.core.hydra_config import HydraConfig
            from hydra.types import RunMode

            # Hydra would print a line of its own for an error that is raised in here; only a
            # launcher with workers needs it so.
            alone = HydraConfig.get().mode == RunMode.RUN
            try:
                (outcome,) = self.batch([cfg], [list(HydraConfig.get().overrides.task)], None)
            except Exception as error:
                if not alone:
                    raise
                self.error = error
                return None
            if outcome.error is not None:
                if not alone:
                    raise outcome.error
                self.error = outcome.error
            return outcome.value

        task.batch, task.check = self.batch, self.check  # type: ignore[attr-defined]
        self.task = task

    def batch(
        self, configs: Sequence[Any], overrides: Sequence[Sequence[str]], hydra_cfg: Any
    ) -> Sequence[Any]:
        """All jobs of a launch at once; one outcome each."""
        from omegaconf import OmegaConf

        plain: list[Any] = [
            c if isinstance(c, dict) else OmegaConf.to_container(c, resolve=True) for c in configs
        ]
        _check_each(plain, overrides)
        numerics.settle(c["numerics"] for c in plain)
        _check_shared(plain, overrides)
        config.import_modules(self.modules, self.folder)
        from gdlab.cli.outcomes import report
        from gdlab.launch.campaign import Listener, carry_out
        from gdlab.launch.settings import Settings

        settings = Settings.of(plain[0], self.command)
        if settings.dry_run and hydra_cfg is not None and _optimizes(hydra_cfg):
            raise UsageError(
                "dry_run=true: an optimizing sweeper chooses its jobs by what the ones before "
                "gave, so there is no plan; leave one of the two out"
            )
        with self.screen.progress(len(plain)) as advance:
            listener = Listener(advance)
            outcomes = carry_out(plain, overrides, settings, listener)
        self.failed += sum(o.error is not None for o in outcomes)
        if self.screen.level >= NORMAL or len(outcomes) > 1:
            report(outcomes, settings, listener.plan, self.screen)
        return outcomes

    def check(
        self, configs: Sequence[Any], overrides: Sequence[Sequence[str]], together: bool
    ) -> None:
        """Finds what is wrong with a job of a sweep before the first of several launches.

        Args:
            configs: of all jobs, as plain containers.
            overrides: what each job sets.
            together: whether launches are batches; else each job is a launch of its own.
        """
        _check_each(configs, overrides)
        numerics.settle(c["numerics"] for c in configs)
        if together:
            _check_shared(configs, overrides)
        from gdlab.launch.build import build
        from gdlab.launch.settings import Settings

        for i, (job, asked) in enumerate(zip(configs, overrides, strict=True)):
            try:
                build(job)
                if not together:
                    Settings.of(job)
            except UsageError as error:
                raise UsageError(
                    f"job {i} of {len(configs)} ({' '.join(asked)}): {error}"
                ) from error.__cause__


def _optimizes(hydra_cfg: Any) -> bool:
    """Whether the sweeper is neither ours nor Hydra's own, which only multiply."""
    target = str(hydra_cfg.sweeper._target_)
    return not target.startswith(("hydra_plugins.gdlab_launcher.", "hydra._internal."))


def _check_each(configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]) -> None:
    """Raises where a job's configuration has keys that are none, or lacks one."""
    for i, (cfg, asked) in enumerate(zip(configs, overrides, strict=True)):
        try:
            check_complete(cfg)
        except UsageError as error:
            of = f"job {i} of {len(configs)} ({' '.join(asked)}): " if len(configs) > 1 else ""
            raise UsageError(f"{of}{error}") from None


def _check_shared(configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]) -> None:
    """Raises where jobs differ in what holds for the whole launch; only one value would count."""
    found = {repr(shared): shared for shared in map(_shared, configs)}
    if len(found) < 2:
        return
    every = list(found.values())
    keys = dict.fromkeys(key for shared in every for key in shared)
    for key in keys:
        values = list(dict.fromkeys(_written(shared.get(key)) for shared in every))
        if len(values) > 1:
            break
    group = key.partition(".")[0]
    if group != key:  # a choice of the group may be what was typed
        lines = [o.lstrip("+").partition("=") for job in overrides for o in job]
        typed = list(dict.fromkeys(value for name, _, value in lines if name == group))
        if len(typed) > 1:
            key, values = group, typed
    some = ",".join(values[:4] + ["..."] * (len(values) > 4))
    raise UsageError(
        f"{key}={some}: takes one value for a whole sweep; run the sweep once for each value"
    )


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for a whole launch, by dotted keys."""
    tracking = config.get("tracking") or {}
    return {key: config.get(key) for key in SHARED} | {
        f"tracking.{key}": value for key, value in tracking.items()
    }


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
