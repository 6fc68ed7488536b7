"""Errors that a user can mend, and how they are said in one line."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator, Sequence

# Where files lie that are no user's.
_OTHERS = (
    os.path.dirname(__file__) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)

# Lines of a traceback that is told as text.
_FRAME = re.compile(r'File "(.*)", line (\d+), in .*')
_ERROR = re.compile(r"[A-Za-z_][\w.]*(: |$)")


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

    A `ValueError` is a refusal and speaks for itself; of others, `SystemExit` among them, the type
    and the place are said.
    """
    try:
        yield
    except MissingFact:
        raise
    except UsageError as error:
        if str(error).startswith(what.partition("=")[0]):
            raise
        raise UsageError(f"{what}: {error}") from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        said = str(error) if isinstance(error, ValueError) and str(error) else raised(error)
        raise UsageError(f"{what}: {said}") from error


def raised(error: BaseException) -> str:
    """`KeyError: 'eta' (my_lab.py, line 6)`: an error and where a person's own file raised it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("Traceback (most recent call last)" in line for line in lines):
        return _told(lines)
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, SyntaxError):
        return text  # says file and line itself
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(("<", *_OTHERS)):
            return f"{text} ({os.path.basename(frame.filename)}, line {frame.lineno})"
    return text


def _told(lines: Sequence[str]) -> str:
    """The same from a traceback that an error tells, as XLA's do where a callback raised one."""
    frames = [(i, m) for i, line in enumerate(lines) if (m := _FRAME.fullmatch(line))]
    after = frames[-1][0] + 1 if frames else 0
    said = [line for line in lines[after:] if _ERROR.match(line)]
    own = [m for _, m in frames if not m[1].startswith(("<", *_OTHERS))]
    text = said[0] if said else lines[0]
    return f"{text} ({os.path.basename(own[-1][1])}, line {own[-1][2]})" if own else text
