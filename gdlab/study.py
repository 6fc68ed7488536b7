"""A study: a question, the runs that answer it, the claims that they are held to, its figures.

`run` carries out what the store lacks; `redraw` makes tables and figures from the stored runs
alone. Both write `results/<study>/`, and write the same bytes whenever the numbers are the same:
no time, no commit, no path is in there (the runs' tags in the store have them).
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gdlab import experiment, numerics, tables
from gdlab.errors import UsageError
from gdlab.experiment import Experiment

if TYPE_CHECKING:
    from gdlab.terminal import Screen

DRAWING = ("matplotlib", "tueplots", "pandas", "scipy")
DIGITS = 13  # decimals of a claim's numbers: below them lies the last bit's noise


@dataclass(frozen=True)
class Claim:
    """A number that was published (or is a theorem), and what the runs gave.

    Attributes:
        text: what is claimed.
        expected: the number.
        measured: what the runs gave.
        tolerance: largest |measured - expected| that counts as agreement.
        source: where the claim is made.
    """

    text: str
    expected: float
    measured: float
    tolerance: float = 1e-12
    source: str = ""

    @property
    def ok(self) -> bool:
        """Whether the claim holds; a measured NaN does not."""
        return bool(abs(float(self.measured) - float(self.expected)) <= self.tolerance)


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim: claim, expected, measured, tolerance, holds, source."""
    return pd.DataFrame(
        {
            "claim": [c.text for c in claims],
            "expected": [round(float(c.expected), DIGITS) for c in claims],
            "measured": [round(float(c.measured), DIGITS) for c in claims],
            "tolerance": [c.tolerance for c in claims],
            "holds": [c.ok for c in claims],
            "source": [c.source for c in claims],
        },
        columns=["claim", "expected", "measured", "tolerance", "holds", "source"],
    )


@dataclass(frozen=True)
class Stored:
    """A study's runs as the store has them, in the order in which the study names them.

    Attributes:
        name: of the study.
        keys: sweep -> keys of its jobs.
        uri: the store.
    """

    name: str
    keys: Mapping[str, Sequence[str]]
    uri: str

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a job: `sweep`, `job` (its number in the sweep), and the columns of `load`.

        Raises:
            UsageError: the store lacks some of the runs.
        """
        from gdlab.tracking import keys
        from gdlab.tracking.read import load

        found = load(self.name, self.uri).drop_duplicates(keys.KEY).set_index(keys.KEY)
        wanted = [
            (sweep, i, key) for sweep, all_of in self.keys.items() for i, key in enumerate(all_of)
        ]
        lost = sum(key not in found.index for _, _, key in wanted)
        if lost:
            raise UsageError(
                f"study {self.name}: {lost} of its {len(wanted)} runs are not in "
                f"tracking.uri={self.uri}; gdlab study {self.name} runs them"
            )
        # The tag `sweep` is an id of the call that made a run; here it is the sweep's name.
        rows = found.loc[[key for _, _, key in wanted]].reset_index().drop(columns=keys.SWEEP)
        # What else the store holds must leave no trace: neither columns nor their types.
        rows = rows.dropna(axis="columns", how="all").astype(object).infer_objects()
        rows.insert(0, "sweep", [sweep for sweep, _, _ in wanted])
        rows.insert(1, "job", [i for _, i, _ in wanted])
        return rows

    @cached_property
    def curves(self) -> pd.DataFrame:
        """All recorded steps of the single descents, long form.

        Columns: `sweep`, `job`, `run_id`, `step`, `loss`, `grad_norm`, `step_size`, then the rest
        of the record (`gap`, `slope`, `angle`, ..., the path as `x0`, `x1` for d <= 3) where a
        run keeps its full record; then the run's parameters.
        """
        names = ["sweep", "job", "run_id"]
        singles = self.runs[~self._is_population()]
        parts: list[pd.DataFrame] = []
        thin = []
        for row in singles[names].to_dict("records"):
            record = self._parquet(row["run_id"], "record.parquet")
            if record is None:
                thin.append(row["run_id"])
            else:
                parts.append(record.assign(**{n: row[n] for n in names}))
        if thin:
            parts.append(self._histories(singles, set(thin)))
        return self._with_params(parts)

    @cached_property
    def ends(self) -> pd.DataFrame:
        """The starts and end points of runs with many starts, one row a start.

        Columns: `sweep`, `job`, `run_id`, `start0` ..., `x0` ..., `steps`, `status`, `loss`,
        `grad_norm`, `kind`, `index`, `reached`; then the run's parameters.
        """
        names = ["sweep", "job", "run_id"]
        parts = []
        for row in self.runs.loc[self._is_population(), names].to_dict("records"):
            table = self._parquet(row["run_id"], "ends.parquet")
            if table is not None:
                parts.append(table.assign(**{n: row[n] for n in names}))
        return self._with_params(parts)

    def give(self, function: Callable[..., Any]) -> Any:
        """Calls one of the study's functions with the tables that its parameters name."""
        return function(
            **{name: getattr(self, name) for name in inspect.signature(function).parameters}
        )

    def _is_population(self) -> np.ndarray:
        if "starts" not in self.runs:
            return np.zeros(len(self.runs), bool)
        return self.runs["starts"].notna().to_numpy()

    def _parquet(self, run_id: str, path: str) -> pd.DataFrame | None:
        from gdlab.tracking.read import artifact

        try:
            return pd.read_parquet(io.BytesIO(artifact(run_id, path, self.uri)))
        except UsageError:
            return None  # sweeps of many jobs keep no artifacts a run

    def _histories(self, singles: pd.DataFrame, thin: set[str]) -> pd.DataFrame:
        from gdlab.tracking.read import load_curves

        names = ["run_id", "step", "loss", "grad_norm", "step_size"]
        curves = load_curves(self.name, self.uri, metrics=names[2:])[names]
        wanted = singles.loc[singles["run_id"].isin(thin), ["sweep", "job", "run_id"]]
        return wanted.merge(curves, on="run_id")

    def _with_params(self, parts: list[pd.DataFrame]) -> pd.DataFrame:
        if not parts:
            return pd.DataFrame(columns=["sweep", "job", "run_id", "step"])
        table = pd.concat(parts, ignore_index=True)
        front = ["sweep", "job", "run_id"]
        table = table[front + [c for c in table.columns if c not in front]]
        names = [c for c in self.runs.columns if "." in c and not c.startswith("params.")]
        params = self.runs[["sweep", "job", *names]]
        return table.merge(params, on=["sweep", "job"], how="left", suffixes=("", "_"))


@dataclass
class Study:
    """One call of `gdlab study` or `gdlab figures`."""

    name: str
    overrides: Sequence[str] = ()
    experiment: Experiment = field(init=False)

    def __post_init__(self) -> None:
        self.experiment = experiment.load(self.name)
        self.jobs = experiment.jobs(self.experiment, self.overrides)
        flat = [job for all_of in self.jobs.values() for job in all_of]
        configs = iter(experiment.compose(flat))
        self.configs = {
            sweep: [next(configs) for _ in all_of] for sweep, all_of in self.jobs.items()
        }
        most = self.first["max_jobs"]
        if len(flat) > most:
            raise UsageError(
                f"max_jobs={most}: study {self.name} has {len(flat):,} jobs; "
                "shorten a sweep or set max_jobs"
            )

    @property
    def first(self) -> Mapping[str, Any]:
        """The first job's configuration, which has what holds for the whole study too."""
        return next(iter(self.configs.values()))[0]

    def carry_out(self, screen: Screen) -> int:
        """Runs what the store lacks; returns how many jobs failed."""
        flat = [c for configs in self.configs.values() for c in configs]
        numerics.settle(c["numerics"] for c in flat)
        from gdlab import lab
        from gdlab.summary import report

        failed = 0
        with screen.progress(len(flat)) as advance:
            for sweep, configs in self.configs.items():
                settings = lab.Settings.of(configs[0], self.command("study"))
                listener = lab.Listener(advance)
                outcomes = lab.carry_out(configs, self.jobs[sweep], settings, listener)
                if settings.dry_run:
                    screen.say(f"sweep {sweep}:")
                    report(outcomes, settings, listener.plan, screen)
                for outcome in outcomes:
                    if outcome.error is not None:
                        failed += 1
                        screen.fail(f"{' '.join(outcome.overrides)}: {outcome.error}")
        return failed

    def stored(self) -> Stored:
        """The runs, by the keys of their configurations."""
        from gdlab import lab  # noqa: F401  (numerics are set before jax starts)
        from gdlab.build import build

        keys = {sweep: [build(c).key for c in all_of] for sweep, all_of in self.configs.items()}
        return Stored(self.name, keys, str(self.first["tracking"]["uri"]))

    def command(self, verb: str) -> str:
        return shlex.join(["gdlab", verb, self.name, *self.overrides])

    def write(self, stored: Stored, into: Path) -> list[Claim]:
        """Claims, table and figures of the stored runs, as files in `into`; returns the claims."""
        from gdlab.figures import style

        module = self.experiment.module
        claims = list(stored.give(module.claims))
        checked = claims_table(claims)
        files = {
            "claims.csv": tables.csv(checked, _FORMS).encode(),
            "claims.md": tables.markdown(checked, _FORMS).encode(),
            "table.csv": tables.csv(stored.give(module.table)).encode(),
        }
        for name, figure in stored.give(style.styled(module.figures)).items():
            title = f"{self.name}: {name}"
            files[f"{name}.pdf"] = style.rendered(figure, "pdf", title=title)
            files[f"{name}.png"] = style.rendered(figure, "png", title=title)
        _clear(into)
        into.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (into / name).write_bytes(content)
        manifest = self.manifest(stored, files)
        (into / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        return claims

    def manifest(self, stored: Stored, files: Mapping[str, bytes]) -> dict[str, Any]:
        """Where the files come from: command, configurations' keys, versions; and their hashes."""
        from gdlab.tracking.provenance import versions

        # Where the store is makes no difference to what is in it.
        given = [line for line in self.overrides if not line.startswith("tracking.")]
        return {
            "study": self.name,
            "question": self.experiment.module.QUESTION,
            "command": shlex.join(["gdlab", "study", self.name, *given]),
            "redraw": shlex.join(["gdlab", "figures", self.name, *given]),
            "versions": versions() | {name: version(name) for name in DRAWING},
            "sweeps": {
                sweep: {"overrides": list(lines), "runs": [key[:16] for key in stored.keys[sweep]]}
                for sweep, lines in self.experiment.sweeps.items()
            },
            "sha256": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
        }


_FORMS = {"expected": ".13g", "measured": ".13g", "tolerance": ".3g"}


def run(
    name: str,
    overrides: Sequence[str] = (),
    screen: Screen | None = None,
    into: Path | None = None,
) -> int:
    """Runs a study, checks its claims, draws it into `results/<name>/`.

    Args:
        overrides: Hydra overrides that every job is given.
        screen: where to say what happens.
        into: folder of the results.

    Returns:
        Exit code: 0, or 1 where a job failed or a claim does not hold.
    """
    screen = _screen(screen)
    study = Study(name, overrides)
    failed = study.carry_out(screen)
    if failed:
        screen.fail(f"study {name}: {failed} jobs failed; nothing was drawn")
        return 1
    if study.first["dry_run"]:
        return 0
    return _drawn(study, screen, into)


def redraw(
    name: str,
    overrides: Sequence[str] = (),
    screen: Screen | None = None,
    into: Path | None = None,
) -> int:
    """Claims, tables and figures again, from the stored runs alone; arguments as for `run`."""
    return _drawn(Study(name, overrides), _screen(screen), into)


def _drawn(study: Study, screen: Screen, into: Path | None) -> int:
    into = into or Path("results") / study.name
    claims = study.write(study.stored(), into)
    broken = [claim for claim in claims if not claim.ok]
    screen.say(study.experiment.module.QUESTION, style="bold")
    screen.table(
        [
            (
                "holds" if c.ok else "BROKEN",
                c.text,
                tables.text(float(c.expected), ".10g"),
                tables.text(float(c.measured), ".10g"),
            )
            for c in claims
        ],
        ("", "claim", "expected", "measured"),
    )
    screen.say(f"{len(claims) - len(broken)} of {len(claims)} claims hold; results in {into}/")
    for claim in broken:
        screen.fail(
            f"{claim.text}: measured {float(claim.measured)!r}, "
            f"expected {float(claim.expected)!r} "
            f"to {claim.tolerance:g} ({claim.source})"
        )
    return 1 if broken else 0


def _clear(into: Path) -> None:
    """Removes what an earlier call wrote there, by its manifest; other files stay."""
    try:
        old = json.loads((into / "manifest.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return
    for name in old:
        if "/" not in name:
            (into / name).unlink(missing_ok=True)


def _screen(screen: Screen | None) -> Screen:
    if screen is not None:
        return screen
    from gdlab.terminal import Screen as Terminal

    return Terminal()
