"""Configurations of the many jobs of a sweep, equal to Hydra's own and two thousand times cheaper.

Hydra composes each job from nothing: it parses the overrides, walks the defaults list, merges
every YAML file and Hydra's own schema. Jobs of a sweep share almost all of that:

    config(job) = values(job) set in context(sweep) with the files of choices(job) exchanged

so Hydra composes once, each override is parsed and each choice's file read once, and a job costs a
copy and the values that it sets. Comparing 31 objectives, 7 methods and 8 schedules takes one
composition, not 1,736. Where a choice reaches beyond its group's place (it brings defaults, names
a package, or others write there) Hydra composes each combination with it; where Hydra's node is
overridden, or anything at all goes wrong, each job. Its results and its errors stand.
"""

from __future__ import annotations

from gdlab.launch.compose.composer import FastComposer
from gdlab.launch.compose.overrides import Parser
from gdlab.launch.compose.single import compose_one

__all__ = ["FastComposer", "Parser", "compose_one"]
