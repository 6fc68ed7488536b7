"""What the tests check of every call of gdlab: the arrays' kinds and shapes, as jaxtyping has them.

Other hints are left alone: a wrong word from a user is to meet gdlab's own message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from beartype import beartype

F = TypeVar("F", bound=Callable[..., Any])
SHAPED = re.compile(r"\b(?:Float|Int|Bool|Num|Real|Shaped|Integer|Inexact)\[")


def checked(function: F) -> F:
    """The function, checked by beartype where an annotation has a shape."""
    hints = dict(function.__annotations__)
    kept = {name: hint for name, hint in hints.items() if SHAPED.search(str(hint))}
    # A constructor takes lists as well, and makes arrays of them.
    if not kept or function.__name__ == "__init__":
        return function
    function.__annotations__ = kept
    return beartype(function)
