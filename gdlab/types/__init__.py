"""The nouns of the laboratory: objectives and their facts, step rules, records, verdicts.

d = dimension, T = recorded steps, n = starts (or jobs), k = known points.
Everything here is frozen data; what computes with it lives in the folders above.
"""

from gdlab.types.objective import Array, CriticalPoints, Facts, Objective
from gdlab.types.records import COLUMNS, REASONS, STATUSES, Record, Records
from gdlab.types.rules import FromFacts, Method, Schedule
from gdlab.types.verdict import KINDS, Verdict

__all__ = [
    "COLUMNS",
    "KINDS",
    "REASONS",
    "STATUSES",
    "Array",
    "CriticalPoints",
    "Facts",
    "FromFacts",
    "Method",
    "Objective",
    "Record",
    "Records",
    "Schedule",
    "Verdict",
]
