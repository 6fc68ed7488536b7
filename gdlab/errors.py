"""Errors that a user can mend, and how they are said in one line."""

from __future__ import annotations

import contextlib
import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterator

# Where files lie that are no user's.
_OTHERS = (
    os.path.dirname(__file__) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


class UsageError(ValueError):
    """One line that names the key, the value, what it takes and what to do next."""


class MissingFact(UsageError):
    """A rule or probe needs a fact that the objective does not have."""


def suggest(name: str, known: list[str]) -> str:
    """`did you mean a, b?` or, with nothing near, the whole list."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """A context in which any error of a user's code becomes one line on `what`, e.g. `init=mine`.

    A `ValueError` is a refusal and speaks for itself; of others the type and the place are said.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, ValueError) and str(error) else raised(error)
        raise UsageError(f"{what}: {said}") from error


def raised(error: Exception) -> str:
    """`KeyError: 'eta' (my_lab.py, line 6)`: an error and where a person's own file raised it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, SyntaxError):
        return text  # says file and line itself
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<", *_OTHERS)):
            return f"{text} ({os.path.basename(frame.filename)}, line {frame.lineno})"
    return text
