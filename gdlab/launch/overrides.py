"""Overrides as they were typed, checked before Hydra composes them.

What is wrong is said in one line that names the key and the nearest one that exists. Hydra composes
a whole sweep once before it takes its jobs apart, with the default choice of every group that is
swept; keys of the other choices are handed to it as sweeps of one value, which it leaves out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from gdlab import registry
from gdlab.errors import UsageError, suggest
from gdlab.launch.vocabulary import FACTORIES, Vocabulary, study_names

LIBRARY = "optax"  # whose rules are choices of `method` and `schedule`, as optax/NAME
MANY = "gdlab -m makes a sweep of them, and a list is written in brackets"


def checked(lines: Sequence[str], name: str = "config", sweep: bool = False) -> list[str]:
    """The lines as Hydra takes them.

    Args:
        name: of the configuration in `conf/` that they are for.
        sweep: whether they describe many jobs (`-m`).

    Raises:
        UsageError: a line is not in Hydra's grammar, or names no key or no choice.
    """
    parser = OverridesParser.create()
    parsed = with_library_names([_parsed(line, parser) for line in lines], parser)
    return Overrides(parsed, Vocabulary(name), sweep).lines()


class Overrides:
    """The overrides of one call.

    Attributes:
        chosen: group -> the choices that it may have in a job.
    """

    def __init__(self, parsed: Sequence[Override], words: Vocabulary, sweep: bool) -> None:
        self.parsed, self.words, self.sweep = parsed, words, sweep
        experiment = any(o.key_or_group == "experiment" for o in parsed)
        points = any(o.key_or_group == "hydra.sweeper.points" for o in parsed)
        self.chosen: dict[str, list[str]] = {}
        for group, default in words.groups.items():
            mine = [o for o in parsed if o.key_or_group == group and not isinstance(o._value, dict)]
            typed = [choice for o in mine[-1:] for choice in _values(o, words.choices(group))]
            # A study or a file of points may choose what is not typed.
            unknown = any("$" in choice for choice in typed) or (points and not typed)
            every = unknown or (experiment and not typed)
            self.chosen[group] = words.choices(group) if every else typed or [default]

    def lines(self) -> list[str]:
        return [self._line(o) for o in self.parsed]

    def _line(self, o: Override) -> str:
        line, key = str(o.input_line), o.key_or_group
        if not key:
            raise UsageError(f"{line}: lacks a key; an override is KEY=VALUE, as steps=100")
        if key == "hydra" and o.is_delete():
            raise UsageError(f"{line}: Hydra needs its own node; set keys of it, hydra.KEY=VALUE")
        if key == "hydra" or o.is_hydra_override():
            return line
        if key == "experiment":
            self._check_study(o)
        elif key in self.words.groups:
            self._check_choice(o)
        elif o.package is not None:
            raise self._no_key(f"{key}@{o.package}")
        elif o.is_delete():
            self._check_deletion(o)
        elif "." in key and key.partition(".")[0] in self.words.groups:
            return self._value_line(o, line)
        elif key not in self.words.values:
            raise self._no_key(line.partition("=")[0])
        elif o.is_sweep_override() and not self.sweep:
            raise UsageError(f"{line}: is more than one value: {MANY}")
        return line

    def _check_study(self, o: Override) -> None:
        for name in _values(o, study_names()):
            if name not in study_names() and "$" not in name:
                raise UsageError(
                    f"experiment={name}: no such study; {suggest(name, study_names())}"
                )

    def _check_choice(self, o: Override) -> None:
        group, line = o.key_or_group, str(o.input_line)
        known = self.words.choices(group)
        takes = f"takes a choice of {group}, as {group}={self.words.groups[group]}"
        if o.is_delete() or o.package is not None:
            raise UsageError(f"{line}: {takes}")
        if isinstance(o._value, dict):
            for key in o._value:
                self._check_key(f"{group}.{_text(key)}", added=o.is_add() or o.is_force_add())
            return
        if o.is_add() or o.is_force_add():
            raise UsageError(f"{line}: {takes}, without +")
        if o.is_sweep_override() and not self.sweep:
            raise UsageError(f"{line}: is more than one value: {MANY}")
        for choice in _values(o, known):
            if reason := registry.REFUSED.get(group, {}).get(choice):
                raise UsageError(f"{group}={choice}: {reason}")
            if choice not in known and "$" not in choice:
                raise UsageError(f"{group}={choice}: no such {group}; {suggest(choice, known)}")

    def _check_deletion(self, o: Override) -> None:
        key = o.key_or_group
        group, dot, _ = key.partition(".")
        if group not in FACTORIES or group not in self.words.groups or not dot:
            shown = key if key in self._known() else None
            if shown is None:
                raise self._no_key(key)
            raise UsageError(f"~{key}: every run has one; write {key}=VALUE")
        self._check_key(key)

    def _value_line(self, o: Override, line: str) -> str:
        """Checks `group.key=value`; rewrites it where Hydra's own composition may lack the key."""
        group, _, rest = o.key_or_group.partition(".")
        if o.is_add() or o.is_force_add():
            self._check_key(o.key_or_group, added=True)
            return line
        if not self.sweep and o.is_sweep_override():
            raise UsageError(f"{line}: is more than one value: {MANY}")
        named, _, own = rest.partition(".")
        if own and named in self.words.choices(group) and not self._has(o.key_or_group):
            if named not in self.chosen[group]:
                raise UsageError(
                    f"{line}: sets a key of {group}={named}, which is not chosen; write "
                    f"{group}={named} too"
                )
            if f"{group}.{own}" not in self.words.keys(group, named):
                raise self._no_key(o.key_or_group, self.words.keys(group, named))
            if not self.sweep:
                return f"{group}.{own}={line.partition('=')[2]}"
        else:
            self._check_key(o.key_or_group)
        value = line.partition("=")[2]
        if self.sweep and group in FACTORIES and not o.is_sweep_override() and value.strip():
            return f"{o.key_or_group}=choice({value})"
        return line

    def _check_key(self, key: str, added: bool = False) -> None:
        group, _, _ = key.partition(".")
        if added and group in FACTORIES:
            return  # a parameter that the file does not name: the factory's signature decides
        parent, _, last = key.rpartition(".")
        if not self._has(key) and not (last.isdigit() and self._has(parent)):
            raise self._no_key(key)

    def _has(self, key: str) -> bool:
        group = key.partition(".")[0]
        return any(key in self.words.keys(group, choice) for choice in self.chosen[group])

    def _known(self) -> list[str]:
        keys = [
            k for g, choices in self.chosen.items() for c in choices for k in self.words.keys(g, c)
        ]
        return list(dict.fromkeys([*self.words.words, *keys]))

    def _no_key(self, key: str, known: Iterable[str] | None = None) -> UsageError:
        bare = key.lstrip("+~")
        every = list(known or (self._known() if "." in bare else self.words.words))
        return UsageError(f"{key}: no such key; {suggest(bare, every)}")


def check_complete(cfg: Mapping[str, Any], name: str = "config") -> None:
    """Raises a `UsageError` where a composed configuration lacks a key, or has one that is none.

    However it was set: by a study, a file of points, an interpolation.
    """
    words = _vocabulary(name)
    for key in cfg:
        if key not in words.words:
            raise UsageError(f"{key}: no such key; {suggest(str(key), words.words)}")
    for key in (*words.values, *words.groups):
        if key not in cfg:
            raise UsageError(f"{key}: is missing; every run has one")
    for group, default in words.groups.items():
        if not isinstance(cfg[group], Mapping):
            raise UsageError(
                f"{group}={cfg[group]}: takes a choice of {group}, as {group}={default}"
            )


def with_library_names(parsed: Sequence[Override], parser: OverridesParser) -> list[Override]:
    """`method=optax method.name=lion` as `method=optax/lion`: the name is part of the choice."""
    found = list(parsed)
    for group in registry.REFUSED:
        whole = [o for o in found if o.key_or_group == group and o._value == LIBRARY]
        if not whole:
            continue
        names = [o for o in found if o.key_or_group == f"{group}.name"]
        if not names:
            raise UsageError(
                f"{group}={LIBRARY}: which one? {group}={LIBRARY} {group}.name=NAME; "
                f"gdlab list {group} has them all"
            )
        values = ",".join(f"{LIBRARY}/{value}" for value in _values(names[-1], []))
        line = _parsed(f"{group}={values}", parser)
        found = [line if o is whole[-1] else o for o in found if o not in names]
    return found


def _parsed(line: str, parser: OverridesParser) -> Override:
    try:
        return parser.parse_overrides([line])[0]
    except (HydraException, ValueError, RecursionError) as error:
        key, equals, value = line.partition("=")
        if not equals and re.fullmatch(r"[\w.+@/-]+", line):
            said = f"{line}: lacks a value; an override is KEY=VALUE, as {line}=1"
        elif not equals or not key.strip():
            said = f"{line!r}: is no override, which is KEY=VALUE, as steps=100"
        elif re.search(r"\s[\w.]+=", value):
            first, *more = re.split(r"\s+(?=[\w.]+=)", line)
            said = (
                f"{line}: holds {1 + len(more)} overrides; write each as a word of its own: "
                f"{' '.join(map(_quoted, [first, *more]))}"
            )
        else:
            said = f"{line}: not in Hydra's grammar; quote the value: {_quoted(line)}"
        raise UsageError(" ".join(said.split())) from error


def _quoted(line: str) -> str:
    """A line whose value is a text for the shell and for Hydra."""
    key, _, value = line.partition("=")
    return (
        line
        if re.fullmatch(r"[\w.+-]*", value, re.ASCII)
        else f"'{key}={json.dumps(value, ensure_ascii=False)}'"
    )


def _values(o: Override, known: Sequence[str]) -> list[str]:
    """The texts of a choice, or of all that a sweep takes; a value that is no text as written."""
    value = o._value
    if isinstance(value, Glob):
        return value.filter(list(known))
    if not o.is_sweep_override():
        return [_text(value)]
    if isinstance(value, RangeSweep):
        return [_text(value.start)]  # of numbers, none of which is a choice
    return [_text(v) for v in o.sweep_iterator()] if o.is_discrete_sweep() else []


def _text(value: Any) -> str:
    if isinstance(value, QuotedString):
        return value.text
    return "null" if value is None else str(value)


_vocabularies: dict[str, Vocabulary] = {}


def _vocabulary(name: str) -> Vocabulary:
    if name not in _vocabularies:
        _vocabularies[name] = Vocabulary(name)
    return _vocabularies[name]
