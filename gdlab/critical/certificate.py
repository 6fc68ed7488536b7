"""Proof that exactly one critical point lies in a box: the Krawczyk test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gdlab.types import Objective, Verdict


def certify_verdicts(
    objectives: Sequence[Objective], owner: np.ndarray, verdicts: list[Verdict]
) -> None:
    """Marks in place the verdicts whose point is proved."""
