"""The end of a launch: aggregate runs, the summary run, the experiment's note and its views.

What is needed is gathered while runs are stored, so that nothing is read back; only runs that the
store knew before are. The ids of what is written depend on the experiment, the sweep and the
setting: the same sweep, run again, replaces its own.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.analysis import parameters, ranking, tables, wording
from gdlab.analysis.endings import Ending
from gdlab.analysis.numbers import written
from gdlab.analysis.ranking import Ranking, Standing
from gdlab.tracking import aggregate, describe, keys, parquet, summary, view, views
from gdlab.tracking.aggregate import Gathered
from gdlab.tracking.keys import RunData
from gdlab.tracking.provenance import provenance
from gdlab.tracking.records import Parts
from gdlab.tracking.summary import is_number

if TYPE_CHECKING:
    from gdlab.tracking.store import Store
    from gdlab.types import Records

STATE = "gdlab.launches"  # tag of an experiment: what its views and its note are made of
ANSWERS = 12
MOST = 1000  # aggregate runs of a sweep; its table has all settings
MANY = 500  # runs, from which on the store's indices are looked at


class Closing:
    """What one launch leaves behind beside its runs.

    Args:
        store: where they are kept.
        sweep: id of the launch.
        params: resolved parameters of each job (each configuration once).
        marks: steps that each job records.
        swept: parameters that differ between jobs, `seed` last.
        command: what the user typed.
        study: name of the study; its views cover all of its sweeps.
        large: whether records are pooled, as its runs keep none of their own.
        artifacts: whether files are kept at all.

    Attributes:
        records: where a large sweep's records are, see `keys.RECORDS`. They are pooled in a local
            folder; a server has no place for them before the sweep has ended, and each run its own.
    """

    def __init__(
        self,
        store: Store,
        sweep: str,
        params: Sequence[Mapping[str, Any]],
        marks: Sequence[Any],
        swept: Sequence[str],
        command: str,
        study: str | None = None,
        large: bool = False,
        artifacts: bool = True,
    ) -> None:
        self.store, self.sweep, self.params, self.swept = store, sweep, params, list(swept)
        self.command, self.study = command, study
        self.large, self.artifacts = large, artifacts
        # An aggregate stands for the runs of one choice on one problem.
        self.over = [key for keys_of in parameters.telling(params) for key in keys_of]
        self.seeds = any(parameters.role(key) == "pair" for key in self.swept)
        groups = np.zeros(len(params), int)
        for g, members in enumerate(parameters.grouped(params, self.over)):
            groups[members] = g
        self.gathered = Gathered(groups.tolist(), marks)
        self.known: dict[int, str] = {}
        self.ids: dict[int, str] = {}
        self.failed = 0
        self.populations = False
        derived = keys.run_id_for(store.experiment, f"summary/{sweep}")
        self.summary_id = store.run_ids([derived])[derived]
        several = large and artifacts and len(params) > 1 and store.files_first
        self.pooled = several and store.run_folder(self.summary_id) is not None
        self.records = self.summary_id if self.pooled else keys.OWN if several else None

    @property
    def shown(self) -> dict[str, str]:
        """Tags of the launch's flat runs: with seeds swept, views show the aggregates instead."""
        return {keys.ROLE: keys.RUN} | ({} if self.seeds else {keys.SHOWN: "yes"})

    def keep(self, members: Sequence[int], runs: Sequence[RunData]) -> None:
        """Takes runs that are about to be stored."""
        for i, run in zip(members, runs, strict=True):
            if run.status == "FINISHED":
                self.populations |= "starts" in run.metrics
                self.ids[i] = run.run_id
                self.gathered.keep(i, run)
            else:
                self.failed += 1

    def pool(
        self, records: Records, lanes: Sequence[slice], runs: Sequence[RunData]
    ) -> AbstractContextManager[None]:
        """A context to store runs in: keeps the records of those without artifacts of their own."""
        if not self.pooled:
            return nullcontext()
        return self._parts.write(records, lanes, [run.run_id for run in runs])

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self.store, self.summary_id)

    def close(self) -> None:
        """Writes aggregates, the summary, the note and the views."""
        fresh = len(self.gathered.ends)
        if self.pooled:
            self._parts.settle(changed=bool(fresh or self.failed))
        if self.known and not fresh and self._is_summed_up():
            return
        stored = self.store.stored_runs(list(self.known.values()), aggregate.CURVES)
        for i, run in zip(self.known, stored, strict=True):
            self.ids[i] = run.run_id
            self.gathered.keep(i, run)
        if not self.gathered.ends:
            return
        jobs = sorted(self.gathered.ends)
        found = ranking.rank([self.params[i] for i in jobs], [self._end(i) for i in jobs])
        # Standings by the group that gathered their curves.
        standings = {int(self.gathered.group[jobs[s.members[0]]]): s for s in found.standings}
        if len(self.params) > 1:
            line = wording.line(found)
            bands = dict(self.gathered.quantiles())
            runs = self._aggregates(standings, bands) if self.seeds else []
            runs.append(self._summary(line, found, standings, bands))
            self.store.write(runs, force=True)
        else:
            name = describe.run_name(self.params[0], ["seed"])
            line = f"{name}: {wording.answer(found.problems[0])}"
        if not self.seeds and len(self.params) > 1:
            ids = {jobs[k]: s.rank for s in found.standings for k in s.members}
            self.store.set_metric(keys.RANK, {self.ids[i]: rank for i, rank in ids.items()})
        self._present(line, complete=not self.known)
        if len(self.params) >= MANY:
            self.store.analyze()

    def _end(self, i: int) -> Ending:
        return self.gathered.ends[i]

    def _is_summed_up(self) -> bool:
        """Whether an earlier call closed this very sweep."""
        return len(self.params) == 1 or self.store.holds(self.summary_id)

    def _aggregates(
        self, standings: Mapping[int, Standing], bands: Mapping[int, Mapping[str, np.ndarray]]
    ) -> list[RunData]:
        """The choices' aggregate runs: of all, or of the best thousand."""
        runs = []
        now = int(time.time() * 1000)
        members = self.gathered.members()
        best = sorted(standings, key=lambda g: standings[g].rank)[:MOST]
        text = self._identities(best)
        for g in sorted(best):
            first, standing = members[g][0], standings[g]
            paired = [k for k in self.params[first] if parameters.role(k) == "pair"]
            params = {
                k: v
                for k, v in self.params[first].items()
                if k not in paired or k not in self.swept
            }
            short = [k for k in self.over if k.endswith(".name")]
            words = [str(params[k]) for k in short if k in params]
            words += [
                f"{k.rpartition('.')[2]} {written(params[k], describe.DIGITS)}"
                for k in self.over
                if k not in short and k in params
            ]
            name = " ".join(words) or describe.run_name(params, self.over)
            n = len(standing.endings)
            own = ranking.rank(
                [self.params[i] for i in members[g]], [self._end(i) for i in members[g]]
            )
            runs.append(
                RunData(
                    run_id=keys.run_id_for(
                        self.store.experiment, f"aggregate/{self.sweep}/{text[g]}"
                    ),
                    name=f"{name}, median of {n}",
                    params=describe.params_text(params),
                    tags=self._tags(keys.AGGREGATE)
                    | {keys.SHOWN: "yes"}
                    | aggregate.verdict_tags(standing.endings),
                    metrics=aggregate.metrics_of(
                        self.gathered.grids[g], bands[g], standing.endings, standing.rank
                    ),
                    start_ms=now,
                    end_ms=now,
                    note=f"**Median of {n:,} runs that differ in their starts; `_q10` and "
                    f"`_q90` are quantiles.** {wording.answer(own.problems[0])}",
                )
            )
        return runs

    def _identities(self, groups: Sequence[int]) -> dict[int, str]:
        """What an aggregate's id is made of: what tells its group apart."""
        firsts = {g: self.params[self.gathered.members()[g][0]] for g in groups}
        return {
            g: json.dumps([repr(params.get(k)) for k in self.over]) for g, params in firsts.items()
        }

    def _tags(self, role: str) -> dict[str, str]:
        study = {keys.STUDY: self.study} if self.study else {}
        return {keys.ROLE: role, keys.SWEEP: self.sweep, **study, **provenance()}

    def _summary(
        self,
        line: str,
        found: Ranking,
        standings: Mapping[int, Standing],
        bands: Mapping[int, Mapping[str, np.ndarray]],
    ) -> RunData:
        now = int(time.time() * 1000)
        counts = Counter(end.status for end in self.gathered.ends.values())
        numbers = {"jobs": len(self.params), "failed": self.failed, **counts}
        table = ranking.columns(found)
        files: dict[str, bytes] = {}
        if self.artifacts:
            drawn = summary.curves(self.gathered, standings, bands, self.over, self.seeds)
            if drawn is not None:  # the picture is made when it is first looked at
                files[summary.CURVES] = parquet.content(drawn)
            files["table.csv"] = tables.csv(table).encode()
            files["table.md"] = tables.markdown(table).encode()
        ends = list(self.gathered.ends.values())
        text = summary.report(
            line, table, ends, len(self.params), self.failed, self.command, self.pooled
        )
        source = describe.picture_link(self.summary_id, summary.PICTURE)
        is_drawn = summary.CURVES in files
        note = f"{text}\n\n![curves]({source})" if is_drawn else text
        if self.artifacts:
            local = f"{text}\n\n![curves]({summary.PICTURE})\n" if is_drawn else text
            files["report.md"] = local.encode()
        over = ", ".join(key.removesuffix(".name") for key in self.swept) or "nothing"
        return RunData(
            run_id=self.summary_id,
            name=f"summary of {len(self.params):,} runs over {over}",
            tags=self._tags(keys.SUMMARY),
            metrics={name: ([0], [float(n)]) for name, n in numbers.items()},
            artifacts=files,
            start_ms=now,
            end_ms=now,
            note=note[: keys.TAG_LENGTH],
        )

    def _present(self, line: str, complete: bool) -> None:
        """The experiment's note and views."""
        tags = self.store.tags()
        try:
            state = json.loads(tags.get(STATE, "{}"))
        except ValueError:
            state = {}
        launches = {k: v for k, v in state.items() if k != self.sweep}
        mine = {"line": line, "swept": self.swept[:12], "jobs": len(self.params)}
        launches = {self.sweep: mine, **dict(list(launches.items())[: ANSWERS - 1])}
        single = len(self.params) == 1
        lines = [v["line"] for v in launches.values()]
        note = "\n".join([lines[0], "", *(f"- before: {text}" for text in lines[1:])])
        self.store.tag({STATE: json.dumps(launches), keys.NOTE: note[: view.LIMIT]})
        if single and not self.study and any(v["jobs"] > 1 for v in launches.values()):
            return  # the views stay those of the last sweep
        seen = [self.swept] if not self.study else [v["swept"] for v in launches.values()]
        swept = list(dict.fromkeys(key for keys_of in seen for key in keys_of))
        swept = swept or ["objective.name", "method.name", "schedule.name", "schedule.eta", "seed"]
        medians = self.seeds and not self.study
        alone = bool(self.study) or single or not (complete or self.seeds)
        views.write_views(
            self.store,
            sorted(swept, key=lambda key: key == "seed"),
            only=views.condition(shown="yes", sweep="" if alone else self.sweep),
            every=views.condition(role=keys.RUN, sweep=self.sweep) if medians else "",
            medians=medians,
            shares=self.populations,
            numeric=[k for k in swept if all(is_number(p.get(k)) for p in self.params)],
            has_eta=all("schedule.eta" in p for p in self.params),
            logarithms=self.seeds or not self.large,
            ranges=self.gathered.ranges(summary.DRAWN),
        )
