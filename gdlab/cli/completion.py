"""Completion in a shell: verbs and their words here, overrides by Hydra; never an error line.

The shell's script (`gdlab -sc install=bash`) asks `gdlab -sc query=bash` with the line so far in
COMP_LINE; what is printed on stdout are the candidates. Anything else would land in the prompt.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence

FLAGS = ("-q", "--quiet", "-v", "--verbose")
SURVEYS = ("census", "basins")  # verbs that take overrides
NAMED = ("study", "figures", "report", "ui")  # verbs that take the name of a study


def is_query(args: Sequence[str]) -> bool:
    """Whether a shell asks for candidates."""
    asked = len(args) == 2 and args[0] in ("-sc", "--shell-completion")
    return asked and args[1].startswith("query=")


def answer(verbs: Sequence[str], kinds: Mapping[str, str], by_hydra: Callable[[], object]) -> None:
    """Prints the candidates for the line in COMP_LINE.

    Args:
        verbs: of the command line.
        kinds: what `gdlab list` takes, and the group of each.
        by_hydra: has Hydra print what completes the overrides in COMP_LINE.
    """
    said = io.StringIO()
    # Half a line is wrong more often than not: whatever is said about it goes nowhere.
    with (
        contextlib.suppress(Exception, SystemExit),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        program, *words = os.environ.get("COMP_LINE", "").split(" ")
        *before, last = words or [""]
        before = _without_flags(before)
        if before[-1:] != ["--import"]:
            found = _words(before, last, verbs, kinds)
            print(" ".join(found))
            if _takes_overrides(before):
                rest = [w for w in before if w not in SURVEYS]
                os.environ["COMP_LINE"] = " ".join([program, *rest, last])
                by_hydra()
    print(said.getvalue(), end="")


def _without_flags(words: Sequence[str]) -> list[str]:
    """The words without gdlab's own flags and the modules that are imported."""
    kept: list[str] = []
    for word in words:
        if kept[-1:] == ["--import"] and word:
            kept.pop()
        elif word and word not in FLAGS:
            kept.append(word)
    return kept


def _takes_overrides(before: Sequence[str]) -> bool:
    return not before or before[0] in SURVEYS or "=" in before[0] or before[0].startswith("-")


def _words(
    before: Sequence[str], last: str, verbs: Sequence[str], kinds: Mapping[str, str]
) -> list[str]:
    """The candidates that Hydra does not know: verbs, names of studies, kinds, choices to show."""
    from gdlab.launch import config

    known: list[str] = []
    if not before:
        known = list(verbs)
    elif len(before) == 1 and before[0] in NAMED:
        known = [study.name for study in config.studies()]
    elif before == ["list"]:
        known = [*kinds, "studies"]
    elif before == ["show"]:
        group, chosen, _ = last.partition("=")
        groups = (*config.GROUPS, "probe")
        known = [f"{name}=" for name in groups]
        if chosen and group in groups:
            known = [f"{group}={choice.name}" for choice in config.choices(group)]
    return [word for word in known if word.startswith(last)]
