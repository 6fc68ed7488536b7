"""`hydra/launcher=gdlab`: hands all jobs of a sweep to the task at once.

Hydra executes this module at every start of every app: what is heavy is imported in `launch`.
"""

# Not `from __future__ import annotations`: Hydra executes plugin modules before they are in
# sys.modules, where a dataclass with annotations as text would look for them.
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    env_override,
    filter_overrides,
    setup_globals,
)
from omegaconf import OmegaConf


@dataclass
class GdlabLauncherConf:
    _target_: str = "hydra_plugins.gdlab_launcher.launcher.GdlabLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="gdlab", node=GdlabLauncherConf, provider="gdlab_launcher"
)


class GdlabLauncher(BasicLauncher):
    """Runs the jobs of a launch as one batch where the task offers it, else one after another.

    A task offers it by an attribute

        task.batch(configs, overrides, hydra_cfg) -> outcomes, one a job, in order

    where `configs` are plain containers with interpolations resolved, `overrides` are what each
    job sets, `hydra_cfg` is Hydra's node of the sweep, and an outcome has `value` (what the job
    returns; an optimizing sweeper minimizes it) and `error` (an exception, or None). All jobs
    are composed before the batch starts, so a job that cannot be composed stops the launch with
    its overrides named and nothing run; a job that fails in the batch fails alone.

    In a batch the process is shared, and so are its folder, its log and its environment:
    `hydra.job.env_set` is that of the sweep, `hydra.job.chdir`, `hydra.output_subdir` and
    `hydra.job_logging` have no effect, no output folders are made. `on_job_start` of callbacks
    is called for every job before the batch and `on_job_end` for every job after it.
    `hydra:job.num` resolves to the job's number.

    A task without `batch` is run by Hydra's BasicLauncher, in every respect.
    """

    @property
    def fuses(self) -> bool:
        """Whether the task takes all jobs at once."""
        return callable(getattr(self.task_function, "batch", None))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        if not self.fuses:
            return super().launch(job_overrides, initial_job_idx)
        from gdlab.launch.compose import FastComposer

        setup_globals()
        node = self.config.hydra
        configure_log(node.hydra_logging, node.verbose)
        if not hasattr(self, "composer"):  # an optimizing sweeper launches many times
            self.composer = FastComposer(self.hydra_context.config_loader, self.config)
        jobs = [list(job) for job in job_overrides]
        configs = self.composer.plain_all(jobs, initial_job_idx)
        asked = [filter_overrides(job) for job in jobs]
        callbacks = self.hydra_context.callbacks
        full: list[Any] = []
        if callbacks.callbacks:
            full = [self.composer.in_job(job, initial_job_idx + i) for i, job in enumerate(jobs)]
        with env_override(OmegaConf.to_container(node.job.env_set, resolve=True)):
            for config in full:
                callbacks.on_job_start(config=config, task_function=self.task_function)
            outcomes = self.task_function.batch(configs, asked, node)
        if len(outcomes) != len(jobs):
            raise RuntimeError(
                f"the task's batch gave {len(outcomes)} outcomes of {len(jobs)} jobs"
            )
        returns = [_returned(job, outcome) for job, outcome in zip(asked, outcomes)]
        for config, job_return in zip(full, returns):
            callbacks.on_job_end(config=config, job_return=job_return)
        return returns


def _returned(overrides: Sequence[str], outcome: Any) -> JobReturn:
    failed = outcome.error is not None
    return JobReturn(
        overrides=overrides,
        working_dir=os.getcwd(),
        task_name=JobRuntime.instance().get("name"),
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
        _return_value=outcome.error if failed else outcome.value,
    )
