"""Override lines: parsed as by Hydra's grammar, each once."""

from __future__ import annotations

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString, ValueType


class Parser:
    """Parses each override line once, and numbers and words without the grammar's machinery."""

    # Exactly the INT, FLOAT and ID of Hydra's OverrideLexer.g4 (less `1_000`, `.5`, `a-b`), for a
    # plain key; everything else goes to Hydra's own parser.
    _PLAIN = re.compile(
        r"(?P<key>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)="
        r"(?:(?P<int>[+-]?(?:0|[1-9][0-9]*))"
        r"|(?P<float>[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))"
        r"|(?P<word>(?!(?i:null|true|false|inf|nan)$)[A-Za-z_][A-Za-z0-9_]*))"
    )

    def __init__(self) -> None:
        self._hydra = OverridesParser.create()
        self._known: dict[str, Override] = {}

    def __call__(self, line: str) -> Override:
        known = self._known.get(line)
        if known is None:
            known = self._known[line] = self._plain(line) or self._hydra.parse_overrides([line])[0]
        return known

    def _plain(self, line: str) -> Override | None:
        found = self._PLAIN.fullmatch(line)
        if found is None:
            return None
        kind = found.lastgroup
        text = found[str(kind)]
        value = int(text) if kind == "int" else float(text) if kind == "float" else text
        return Override(
            type=OverrideType.CHANGE,
            key_or_group=found["key"],
            value_type=ValueType.ELEMENT,
            _value=value,
            input_line=line,
        )


def is_simple(o: Override) -> bool:
    """Whether it replaces a leaf by a plain value, which nothing converts or resolves."""
    if o.type is not OverrideType.CHANGE or o.package is not None or o.is_sweep_override():
        return False
    value = o._value
    items = value if isinstance(value, list) else [value]
    texts = [i.text if isinstance(i, QuotedString) else i for i in items]
    return all(
        t is None or type(t) in (int, float, bool) or (type(t) is str and "$" not in t)
        for t in texts
    )


def touches_hydra(o: Override) -> bool:
    return o.key_or_group == "hydra" or o.is_hydra_override()


def is_choice_of_name(o: Override) -> bool:
    """Whether it is `group=name`, with nothing added, deleted, renamed or listed."""
    value = o.value()
    return (
        o.type is OverrideType.CHANGE
        and o.package is None
        and isinstance(value, str)
        and re.fullmatch(r"[\w-]+(/[\w-]+)*", value) is not None
    )
