"""A study: a question, the runs that answer it, the claims that they are held to, its figures.

`Study.carry_out` runs what the store lacks; `Study.write` makes tables and figures from the stored
runs alone. It writes `results/<study>/`, and the same bytes whenever the numbers are the same:
no time, no commit, no path is in there (the runs' tags in the store have them).
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gdlab import numerics, registry
from gdlab.analysis import tables
from gdlab.errors import UsageError
from gdlab.launch import study_files
from gdlab.launch.study_files import Experiment
from gdlab.tracking.address import address, shown

if TYPE_CHECKING:
    from gdlab.launch.plan import Outcome, Plan
    from gdlab.launch.settings import Settings

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
                f"tracking.uri={shown(self.uri)}; gdlab study {self.name} runs them"
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


@dataclass(frozen=True)
class Carried:
    """One sweep of a study, carried out."""

    sweep: str
    outcomes: Sequence[Outcome]
    settings: Settings
    plan: Plan


@dataclass
class Study:
    """One call of `gdlab study` or `gdlab figures`."""

    name: str
    overrides: Sequence[str] = ()
    experiment: Experiment = field(init=False)

    def __post_init__(self) -> None:
        self.experiment = study_files.load(self.name)
        with study_files.composing() as composer:
            self.jobs = study_files.jobs(self.experiment, self.overrides, composer)
            flat = [job for all_of in self.jobs.values() for job in all_of]
            configs = iter(study_files.compose(flat, composer))
        self.configs = {
            sweep: [next(configs) for _ in all_of] for sweep, all_of in self.jobs.items()
        }
        most = registry.check("max_jobs", self.first["max_jobs"], int)
        if len(flat) > most:
            raise UsageError(
                f"max_jobs={most}: study {self.name} has {len(flat):,} jobs; "
                "shorten a sweep or set max_jobs"
            )

    @property
    def first(self) -> Mapping[str, Any]:
        """The first job's configuration, which has what holds for the whole study too."""
        return next(iter(self.configs.values()))[0]

    def carry_out(self, advance: Callable[[int, int], None]) -> Iterator[Carried]:
        """Runs what the store lacks, sweep by sweep."""
        numerics.settle(c["numerics"] for configs in self.configs.values() for c in configs)
        from gdlab.launch.build import build
        from gdlab.launch.campaign import Listener, carry_out
        from gdlab.launch.settings import Settings

        for sweep, configs in self.configs.items():  # what is wrong with the last is said first
            for cfg, asked in zip(configs, self.jobs[sweep], strict=True):
                try:
                    build(cfg)
                    Settings.of(cfg)
                except UsageError as error:
                    raise UsageError(f"sweep {sweep} ({' '.join(asked[1:])}): {error}") from error
        for sweep, configs in self.configs.items():
            settings = Settings.of(configs[0], self.command("study"))
            listener = Listener(advance)
            outcomes = carry_out(configs, self.jobs[sweep], settings, listener)
            yield Carried(sweep, outcomes, settings, listener.plan)

    def stored(self) -> Stored:
        """The runs, by the keys of their configurations."""
        numerics.configure()  # before jax starts
        from gdlab.launch.build import build

        keys = {sweep: [build(c).key for c in all_of] for sweep, all_of in self.configs.items()}
        return Stored(self.name, keys, address(self.first["tracking"]["uri"]))

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
        given = [line for line in self.overrides if not line.lstrip("+~").startswith("tracking")]
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


def _clear(into: Path) -> None:
    """Removes what an earlier call wrote there, by its manifest; other files stay."""
    try:
        old = json.loads((into / "manifest.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return
    for name in old:
        if "/" not in name:
            (into / name).unlink(missing_ok=True)
