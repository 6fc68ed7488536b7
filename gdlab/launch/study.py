"""A study: a question, the runs that answer it, the claims that they are held to, its figures.

`Study.carry_out` runs what the store lacks; `Study.write` makes tables and figures from the stored
runs alone. It writes `results/<study>/`, and the same bytes whenever the numbers are the same:
no time, no commit, no path is in there (the runs' tags in the store have them).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdlab import numerics, registry
from gdlab.analysis import tables
from gdlab.errors import UsageError
from gdlab.launch import study_files
from gdlab.launch.claims import Claim, claims_table
from gdlab.launch.stored import Stored
from gdlab.launch.study_files import Experiment
from gdlab.tracking.address import address

if TYPE_CHECKING:
    from gdlab.launch.plan import Outcome, Plan
    from gdlab.launch.settings import Settings

DRAWING = ("matplotlib", "tueplots", "pandas", "scipy")


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
