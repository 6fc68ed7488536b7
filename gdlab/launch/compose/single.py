"""One configuration, composed by Hydra from checked overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir

from gdlab.launch import config
from gdlab.launch.overrides import checked


def compose_one(overrides: Sequence[str], name: str = "config") -> Any:
    """The configuration that `gdlab OVERRIDES` would run (or another of `conf/`).

    Raises:
        UsageError: an override names no key or no choice, or has a value that does not fit.
    """
    config.publish_imported()
    lines = checked(overrides, name)
    where = str(config.folder("conf").resolve())
    with initialize_config_dir(where, version_base=config.VERSION_BASE):
        try:
            return compose(name, overrides=lines)
        except Exception as error:
            raise (config.explained(error, overrides) or error) from error
