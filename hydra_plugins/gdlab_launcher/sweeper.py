"""`hydra/sweeper=gdlab`: grids as Hydra's own, zips, and points from a file.

    gdlab -m schedule.eta=0.01,0.1 'seed=range(100)'                    a grid of 200 jobs
    gdlab -m seed=1,2,3 schedule.eta=0.1,0.2,0.3 \\
             'hydra.sweeper.zip=[seed,schedule.eta]'                    3 jobs, paired
    gdlab -m hydra.sweeper.points=points.csv method=gradient,adam       2 jobs a row of the file
    gdlab -m schedule=constant,backtracking schedule.eta=0.01,0.02      3 jobs: each choice takes
                                                                        the keys that it has
"""

# Not `from __future__ import annotations`: see launcher.py.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional  # noqa: UP035

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, env_override, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from gdlab.errors import UsageError


@dataclass
class GdlabSweeperConf:
    """What `hydra.sweeper.` takes.

    Attributes:
        max_batch_size: jobs of one launch; all of them by default.
        params: axes as in Hydra's own sweeper, `{key: values}`; the command line's come after.
        zip: `[key, key, ...]`: axes that are walked side by side, or a list of such lists.
        points: CSV or Parquet file whose columns are keys and whose rows are jobs.
        max_jobs: a sweep of more jobs is refused.
    """

    _target_: str = "hydra_plugins.gdlab_launcher.sweeper.GdlabSweeper"
    max_batch_size: Optional[int] = None  # noqa: UP045
    params: Optional[Dict[str, str]] = field(default_factory=dict)  # noqa: UP006, UP045
    zip: Any = None
    points: Optional[str] = None  # noqa: UP045
    max_jobs: Any = "${oc.select:max_jobs,100000}"


ConfigStore.instance().store(
    group="hydra/sweeper", name="gdlab", node=GdlabSweeperConf, provider="gdlab_launcher"
)


class GdlabSweeper(Sweeper):
    """Hydra's BasicSweeper, which counts before it multiplies and composes each job only once.

    Every job is composed before the first one runs, whatever the launcher and the batch size:
    one that cannot be composed is named with its overrides. A task may check them further by an
    attribute

        task.check(configs, overrides, together)

    with `configs` and `overrides` of all jobs as in `task.batch` (see launcher.py), and whether
    they are run by it; it is not called where all jobs are one batch, which checks them itself.

    Where the launcher runs all jobs as one batch, a job that fails leaves the others standing and
    is seen in its `JobReturn`; any other launcher's failure is raised, as BasicSweeper does.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: Mapping[str, str] | None = None,
        zip: Any = None,
        points: str | None = None,
        max_jobs: int = 100_000,
    ) -> None:
        self.max_batch_size, self.max_jobs = max_batch_size, max_jobs
        self.params, self.zip, self.points = params, zip, points
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Runs every job.

        Args:
            arguments: overrides of the command line.

        Returns:
            For each launch, what its jobs returned.

        Raises:
            UsageError: the sweep is empty, too large, or one of its jobs cannot be composed.
        """
        from gdlab.launch.compose import FastComposer
        from gdlab.launch.grid import plan

        composer = FastComposer(self.hydra_context.config_loader, self.config)
        params = [f"{key}={values}" for key, values in (self.params or {}).items()]
        grid = plan([*params, *arguments], composer, self.zip, self.points)
        grid.check_size(self.max_jobs)
        jobs = list(grid.jobs())
        size = self._batch_size(len(jobs))
        fused = getattr(self.launcher, "fuses", False)
        if not (fused and size >= len(jobs)):  # that one checks all jobs first by itself
            self._check(jobs, composer, fused)
        self._write_config()
        returns: list[Sequence[JobReturn]] = []
        for first in range(0, len(jobs), size):
            results = self.launcher.launch(jobs[first : first + size], initial_job_idx=first)
            if not fused:
                for result in results:
                    _ = result.return_value  # raises where the job failed
            returns.append(results)
        return returns

    def _batch_size(self, jobs: int) -> int:
        if self.max_batch_size is None:
            return max(1, jobs)
        if not isinstance(self.max_batch_size, int) or self.max_batch_size < 1:
            raise UsageError(
                f"hydra.sweeper.max_batch_size={self.max_batch_size}: takes a whole number >= 1, "
                "or null for all jobs at once"
            )
        return self.max_batch_size

    def _check(self, jobs: list[list[str]], composer: Any, fused: bool) -> None:
        check = getattr(self.task_function, "check", None)
        if check is None:
            composer.check(jobs)
            return
        with env_override(OmegaConf.to_container(self.config.hydra.job.env_set, resolve=True)):
            check(composer.plain_all(jobs), [filter_overrides(job) for job in jobs], fused)

    def _write_config(self) -> None:
        """`multirun.yaml`, as BasicSweeper; `hydra.output_subdir=null` asks for no such files."""
        if self.config.hydra.output_subdir is None:
            return
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
