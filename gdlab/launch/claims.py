"""What is claimed: published numbers and theorems, beside what the runs gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


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
    import pandas as pd

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
