"""What a person sees while it runs and when it is done; plain lines where output is no terminal."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gdlab.tracking.address import shown

QUIET, NORMAL, VERBOSE = 0, 1, 2
MORE = "the same command with -v shows more"


class Screen:
    """stdout for results, stderr for progress and errors.

    Args:
        level: `QUIET` (results and errors only), `NORMAL` or `VERBOSE`.
    """

    def __init__(self, level: int = NORMAL) -> None:
        self.level = level
        _open_closed()
        for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows `?`
            if hasattr(stream, "reconfigure") and not _knows_unicode(stream.encoding):
                stream.reconfigure(errors="replace")
        width = None if sys.stdout.isatty() else _columns()
        self.out = Console(highlight=False, width=width, soft_wrap=not sys.stdout.isatty())
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return Screen, (self.level,)  # consoles hold locks; a worker makes its own

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self.out.width

    @property
    def draws(self) -> bool:
        """Whether pictures can be shown: a terminal that knows Unicode, and no quiet."""
        able = self.out.is_terminal and not self.out.is_dumb_terminal
        return able and self.level > QUIET and self.unicode

    @property
    def unicode(self) -> bool:
        """Whether any character can be shown."""
        return _knows_unicode(self.out.encoding)

    @property
    def colours(self) -> bool:
        """Whether colours are shown; NO_COLOR and TERM=dumb say no."""
        return self.out.color_system is not None and not self.out.no_color

    def draw(self, panels: Sequence[Sequence[Any]], beside: bool) -> None:
        """Pictures made of lines of text, one above the other or side by side."""
        if not beside:
            for panel in panels:
                for line in panel:
                    self.out.print(line, no_wrap=True, crop=True)
            return
        for lines in zip(*panels, strict=True):
            self.out.print(*lines, sep="   ", no_wrap=True, crop=True)

    def say(self, text: str = "", style: str | None = None) -> None:
        """A line of the result."""
        self.out.print(shown(text), style=style, markup=False)

    def tell(self, text: str) -> None:
        """A line about the way; not printed when quiet."""
        if self.level >= NORMAL:
            self.err.print(shown(text), markup=False)

    def fail(self, text: str) -> None:
        """An error: one line."""
        line = shown(" ".join(str(text).split()))
        self.err.print(f"[bold red]gdlab:[/] {_escaped(line)}")

    def trace(self, error: BaseException) -> None:
        """Where an error comes from."""
        self.err.print(shown("".join(traceback.format_exception(error))), markup=False, end="")

    def table(self, rows: Sequence[Sequence[Any]], headers: Sequence[str], title: str = "") -> None:
        """A small table."""
        if not self.out.is_terminal:
            self._plain_table(rows, headers, title)
            return
        table = Table(title=title or None, title_justify="left", header_style="bold", box=None)
        for header in headers:
            table.add_column(header, overflow="fold")
        for row in rows:
            table.add_row(*(_escaped(str(cell)) for cell in row))
        self.out.print(table)

    def _plain_table(
        self, rows: Sequence[Sequence[Any]], headers: Sequence[str], title: str
    ) -> None:
        cells = [list(headers), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
        if title:
            self.say(title)
        for row in cells:
            self.say("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self, total: int, known: int = 0) -> Iterator[Any]:
        """A bar of jobs with steps per second; yields `advance(jobs, steps)`."""
        if self.level < NORMAL or total < 2:
            yield lambda jobs, steps: None
            return
        began, done = time.perf_counter(), [known, 0]

        def speed() -> str:
            return f"{done[1] / max(time.perf_counter() - began, 1e-9):.3g} steps/s"

        if not self.err.is_terminal:
            said = [began]

            def line(jobs: int, steps: int) -> None:
                done[0] += jobs
                done[1] += steps
                if time.perf_counter() - said[0] > 5:
                    said[0] = time.perf_counter()
                    self.tell(f"{done[0]:,} of {total:,} jobs, {speed()}")

            yield line
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self.err,
            transient=True,
        ) as bar:
            task = bar.add_task("jobs", total=total, completed=known, speed="")

            def advance(jobs: int, steps: int) -> None:
                done[1] += steps
                bar.update(task, advance=jobs, speed=speed())

            yield advance


def _open_closed() -> None:
    """Streams that are closed (`>&-`) lead nowhere; no file of ours must get their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _columns() -> int:
    """COLUMNS where it is a number, else 100."""
    asked = os.environ.get("COLUMNS", "")
    return int(asked) if asked.isdecimal() and int(asked) else 100


def _knows_unicode(encoding: str | None) -> bool:
    return (encoding or "").lower().startswith("utf")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
