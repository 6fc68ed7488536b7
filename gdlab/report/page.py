"""The page itself: content -> HTML in which everything is embedded."""

from __future__ import annotations

import base64
import json
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from gdlab import __version__
from gdlab.analysis.numbers import DIGITS, digits_of, number
from gdlab.analysis.parameters import is_parameter
from gdlab.errors import UsageError
from gdlab.report.content import Content


def rendered(content: Content) -> str:
    """The page as HTML; equal content gives equal text.

    Raises:
        UsageError: plotly, whose script the page carries, is not installed.
    """
    import jinja2

    here = resources.files("gdlab.report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"inline": _inline, "cells": _cells}
    template = environment.from_string((here / "page.html").read_text(encoding="utf-8"))
    interactive = bool(content.panels or content.scatter)
    return template.render(
        c=content,
        version=__version__,
        style=(here / "page.css").read_text(encoding="utf-8"),
        script=(here / "page.js").read_text(encoding="utf-8"),
        plotly=_plotly() if interactive else "",
        data=_json({"panels": content.panels, "scatter": content.scatter}),
        held=0 if content.claims is None else int((content.claims["holds"] == "yes").sum()),
    )


def _plotly() -> str:
    try:
        script = resources.files("plotly") / "package_data" / "plotly.min.js"
        return script.read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise UsageError(
            "report: its curves need plotly, which is not installed; pip install 'gdlab[report]'"
        ) from None


def _json(data: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _cells(table: pd.DataFrame) -> list[list[tuple[str, str, str]]]:
    """Rows of (text, value to sort by, class); numbers are set right, what is missing is empty."""
    columns = [_column(table[name]) for name in table.columns]
    return [list(row) for row in zip(*columns)]


def _column(values: pd.Series) -> list[tuple[str, str, str]]:
    name = str(values.name)
    setting = is_parameter(name)
    digits = digits_of([v for v in values if isinstance(v, float)]) if setting else DIGITS
    return [_cell(value, name, digits) for value in values]


def _cell(value: Any, name: str, digits: int) -> tuple[str, str, str]:
    if value is None or value is pd.NA or value != value:
        return "", "", "num"
    if isinstance(value, bool | np.bool_):
        return ("yes" if value else "no"), str(int(value)), ""
    if isinstance(value, int | np.integer):
        return f"{value:,}", str(int(value)), "num"
    if isinstance(value, float | np.floating):
        exact = float(value) + 0.0
        if name == "share":
            return f"{exact:.1%}", repr(exact), "num"
        whole = exact.is_integer() and abs(exact) < 1e9
        return (f"{exact:,.0f}" if whole else number(exact, digits)), repr(exact), "num"
    return str(value), "", ""
