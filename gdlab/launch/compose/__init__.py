"""Configurations of the many jobs of a sweep, equal to Hydra's own and two thousand times cheaper.

Hydra composes each job from nothing: it parses the overrides, walks the defaults list, merges
every YAML file and Hydra's own schema. Jobs of a sweep share almost all of that:

    config(job) = values(job) applied to base(groups(job))

so each override is parsed once, each file is read once, each distinct choice of groups is merged
once, and a job costs a copy of its base and the values that it sets, both by Hydra's own code.
Where that might not hold (Hydra's node is overridden by a job, or anything at all goes wrong on
the short way) the job is composed by Hydra's own loader, whose result and whose errors stand.
"""

from __future__ import annotations

from gdlab.launch.compose.composer import FastComposer
from gdlab.launch.compose.overrides import Parser

__all__ = ["FastComposer", "Parser"]
