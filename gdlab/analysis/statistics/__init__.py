"""Statistics of runs: quantiles, intervals, paired comparisons, performance profiles.

Pure functions of tables and arrays. What is random takes its seed as an argument.
"""

from gdlab.analysis.statistics.comparison import holm, paired, performance_profile
from gdlab.analysis.statistics.intervals import Interval, bootstrap, wilson
from gdlab.analysis.statistics.quantiles import (
    ordered_quantiles,
    quantile_curves,
    scores,
    summary,
)

__all__ = [
    "Interval",
    "bootstrap",
    "holm",
    "ordered_quantiles",
    "paired",
    "performance_profile",
    "quantile_curves",
    "scores",
    "summary",
    "wilson",
]
