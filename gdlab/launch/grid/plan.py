"""From what was typed to the grid of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from gdlab.errors import UsageError, suggest
from gdlab.launch import config
from gdlab.launch.compose import FastComposer
from gdlab.launch.grid.axes import Axis, Grid, axis_of, zipped
from gdlab.launch.grid.points import Empty, read
from gdlab.launch.grid.presence import joined


def plan(
    lines: Sequence[str],
    composer: FastComposer,
    pairs: Any = None,
    points: str | None = None,
    fixed: Sequence[str] = (),
) -> Grid:
    """The grid that overrides, a zip and a file of points span.

    A key that only some choices of a swept group have is set where it is one; see `presence`.

    Args:
        lines: overrides, swept or not; a later one of the same key replaces the former.
        composer: of the app that they are for.
        pairs: keys to pair, or lists of keys.
        points: path of a CSV or Parquet file.
        fixed: overrides that every job begins with.

    Raises:
        UsageError: names the override, the zip, or the file and its column or line.
    """
    parser = OverridesParser.create(config_loader=composer.loader)
    try:
        parsed = parser.parse_overrides(list(lines))
    except HydraException as error:
        raise (config.explained(error, lines) or error) from error
    axes = {o.get_key_element(): axis_of(o) for o in parsed}
    for keys in _groups_of_keys(pairs):
        _zip(axes, keys)
    first: list[Axis] = []
    if points is not None:
        said = f"hydra.sweeper.points={points}"
        columns, rows = read(points)
        for key in columns:
            if key in axes or any(key in axis.keys for axis in axes.values()):
                raise UsageError(
                    f"{key}: both a column of {said} and an override; leave one of them out"
                )
        _check_columns(columns, composer, said)
        first = [Axis(columns, points, len(rows), lambda: rows, said)]
    grid = Grid(joined([*first, *dict.fromkeys(axes.values())], composer, fixed))
    for axis in grid.axes:
        if axis.source is not None:
            for line in (line for row in axis.rows() for line in row):
                if isinstance(line, Empty):
                    raise UsageError(line.words)
    return grid


def _check_columns(keys: Sequence[str], composer: FastComposer, said: str) -> None:
    """Raises for the first column that is no key of the app; those of groups are seen later."""
    master = composer.master
    groups = {str(group).replace("/", ".") for group in master.hydra.runtime.choices}
    for key in keys:
        if key.startswith("+") or composer.reader.group_exists(key.partition("@")[0]):
            continue
        parents = [key[:i] for i, letter in enumerate(key) if letter == "."]
        if any(parent in groups for parent in parents):
            continue
        node, _, last = key.rpartition(".")
        held = OmegaConf.select(master, node, throw_on_missing=False) if node else master
        if not OmegaConf.is_dict(held) or last not in held.keys():  # noqa: SIM118
            known = suggest(key, [str(k) for k in master if k != "hydra"])
            raise UsageError(f"{said}: column {key} is no key; {known}")


def _groups_of_keys(pairs: Any) -> list[list[str]]:
    if pairs is None:
        return []
    if OmegaConf.is_config(pairs):
        pairs = OmegaConf.to_container(pairs)
    groups = pairs if isinstance(pairs, list) else None
    if groups and not any(isinstance(g, list) for g in groups):
        groups = [groups]
    if not groups or not all(
        isinstance(g, list) and len(g) > 1 and all(isinstance(k, str) for k in g) for g in groups
    ):
        raise UsageError(
            f"hydra.sweeper.zip={pairs}: takes two keys or more, as [seed,schedule.eta], "
            "or a list of such lists"
        )
    return groups


def _zip(axes: dict[str, Axis], keys: Sequence[str]) -> None:
    """Makes one axis of several, in the place of each."""
    said = f"hydra.sweeper.zip=[{','.join(keys)}]"
    if len(set(keys)) < len(keys):
        raise UsageError(f"{said}: names a key twice")
    swept = [key for key, axis in axes.items() if axis.count > 1]
    for key in keys:
        if key not in axes:
            raise UsageError(f"{said}: {key} is not swept; swept: {', '.join(swept) or 'nothing'}")
        if len(axes[key].keys) > 1:
            raise UsageError(f"{said}: {key} is in another zip already")
    whole = zipped([axes[key] for key in keys], said)
    for key in keys:
        axes[key] = whole
