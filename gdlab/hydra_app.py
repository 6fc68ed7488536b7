"""The Hydra app: what Hydra composes, the lab carries out."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from gdlab import config, experiment
from gdlab.errors import UsageError
from gdlab.terminal import NORMAL, VERBOSE, Screen


def launch(args: Sequence[str], screen: Screen, modules: Sequence[str] = ()) -> int:
    """Runs `gdlab ARGS` through Hydra; returns the exit code."""
    import hydra

    config.publish_imported()
    experiment.publish()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as they are
    imports = [word for module in modules for word in ("--import", module)]
    session = Session(screen, shlex.join(["gdlab", *imports, *args]))
    app = hydra.main(
        version_base=config.VERSION_BASE,
        config_path=str(config.folder("conf").resolve()),
        config_name="config",
    )(session.task)
    before, sys.argv = sys.argv, ["gdlab", *args]
    try:
        app()
        if session.error is not None:
            raise session.error
    except UsageError:
        raise
    except Exception as error:
        mended = config.explained(error, [a for a in args if "=" in a])
        if mended is None or screen.level >= VERBOSE:
            raise
        raise mended from error
    finally:
        sys.argv = before
    return 1 if session.failed else 0


class Session:
    """One call of the command line: what Hydra's jobs are handed to."""

    def __init__(self, screen: Screen, command: str) -> None:
        self.screen, self.command = screen, command
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

        task.batch = self.batch  # type: ignore[attr-defined]
        self.task = task

    def batch(
        self, configs: Sequence[Any], overrides: Sequence[Sequence[str]], hydra_cfg: Any
    ) -> Sequence[Any]:
        """All jobs of a launch at once; one outcome each."""
        from omegaconf import OmegaConf

        from gdlab import numerics

        plain: list[Any] = [
            c if isinstance(c, dict) else OmegaConf.to_container(c, resolve=True) for c in configs
        ]
        modes = {str(c["numerics"]) for c in plain}
        if len(modes) > 1 or not modes <= set(numerics.FLAGS):
            raise UsageError(
                f"numerics={','.join(sorted(modes))}: takes one of exact, fast for a whole sweep"
            )
        numerics.configure(modes.pop())
        from gdlab import lab
        from gdlab.summary import report

        settings = lab.Settings.of(plain[0], self.command)
        with self.screen.progress(len(plain)) as advance:
            listener: Any = _Told(self.screen, advance)
            outcomes = lab.carry_out(plain, overrides, settings, listener)
        self.failed += sum(o.error is not None for o in outcomes)
        if self.screen.level >= NORMAL or len(outcomes) > 1:
            report(outcomes, settings, listener.plan, self.screen)
        return outcomes


class _Told:
    """The lab's listener: keeps the plan and moves the bar."""

    def __init__(self, screen: Screen, advance: Any) -> None:
        self.screen, self.advance = screen, advance
        self.plan: Any = None

    def planned(self, plan: Any) -> None:
        self.plan = plan

    def advanced(self, jobs: int, steps: int) -> None:
        self.advance(jobs, steps)
