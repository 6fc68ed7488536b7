"""What a person sees: on a terminal, at 60 columns, without colours, in a pipe; and completion."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from rich.text import Text

from gdlab.cli import braille
from gdlab.cli.main import HELP, VERBS, main

GDLAB = [sys.executable, "-c", "from gdlab.cli.entry import main; main()"]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-8]|4[0-8]|9[0-7])[;m]")
BRAILLE = re.compile("[\u2801-\u28ff]")
POINT = ["objective=fig4_6", "init=point", "init.x=[15,-5]", "schedule.eta=0.1"]


def on_terminal(columns: int, *args: str, **environment: str) -> str:
    """Output of `gdlab ARGS` on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*GDLAB, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment},
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait(60) == 0, b"".join(parts).decode()
    return b"".join(parts).decode()


def lines_of(output: str) -> list[str]:
    return [line.rstrip("\r") for line in ANSI.sub("", output).split("\n")]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("columns", [60, 100])
def test_a_descent_is_drawn_and_fits(columns) -> None:
    output = on_terminal(columns, *POINT)
    lines = lines_of(output)
    assert max(map(len, lines)) <= columns
    assert COLOUR.search(output)
    assert sum(bool(BRAILLE.search(line)) for line in lines) > 8
    title = next(
        line for line in lines if line.strip().startswith("quadratic") and "0.1" not in line
    )
    assert ("loss (log)" in title) == (columns == 100)  # side by side where there is room
    # f at the start: (3 15^2 - 4 15 5 + 3 5^2) / 2 = 225.
    assert any(re.search(r"2\.[23]e\+02│", line) for line in lines)
    known = on_terminal(columns, *POINT)
    assert "already" in known
    assert BRAILLE.search(known)


@pytest.mark.parametrize(
    ("columns", "survey"),
    [
        (60, ["census", "objective=six_hump_camel", "starts=256", "patience=256"]),
        (80, ["census", "objective=six_hump_camel", "starts=256", "patience=256"]),
        (60, ["basins", "resolution=8"]),
    ],
)
def test_a_survey_fits_and_says_where_its_picture_is(columns, survey) -> None:
    lines = lines_of(on_terminal(columns, *survey))
    paths = [line.partition(": ")[2] for line in lines if line.startswith(("picture: ", "table: "))]
    assert len(paths) == (3 if survey[0] == "census" else 2)
    assert all(Path(path).is_file() for path in paths)
    assert max(len(line) for line in lines if ": mlruns/" not in line) <= columns
    if survey[0] == "census":
        (saddle,) = [line for line in lines if "(0, 0)" in line]  # a zero is a zero, on one line
        assert saddle.split()[:4] == ["saddle,", "index", "1", "0"]
        assert ("known" in lines[0]) == (columns == 80)


def test_no_color_means_no_colour_and_level_lines_instead() -> None:
    output = on_terminal(60, *POINT, NO_COLOR="1")
    assert not COLOUR.search(output)
    lines = lines_of(output)
    assert max(map(len, lines)) <= 60
    drawn = "".join(lines)
    assert "*" in drawn
    assert "x" in drawn
    assert BRAILLE.search(drawn)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_terminal_that_cannot_draw_gets_no_drawing(environment) -> None:
    output = on_terminal(80, "steps=50", *POINT, **environment)
    assert "loss" in output
    assert not re.search("[\u2800-\u28ff]", output)


def test_in_a_pipe_there_is_neither_colour_nor_drawing() -> None:
    done = subprocess.run([*GDLAB, *POINT], capture_output=True, text=True)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert not BRAILLE.search(done.stdout)
    assert "gdlab ui gdlab" in done.stderr


@pytest.mark.parametrize("columns", ["", "abc", "0", "-5", "60"])
def test_any_columns_will_do(columns) -> None:
    done = subprocess.run(
        [*GDLAB, "list", "inits"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": columns},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "sobol" in done.stdout


def test_closed_streams_lead_nowhere(empty_folder) -> None:
    """And the store is not the file that is open in their place."""
    program = empty_folder / "gdlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{GDLAB[2]}" "$@"\n')
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"sh ./gdlab steps=5 seed=1 {closed}"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    done = subprocess.run([*GDLAB, "steps=5", "seed=1"], capture_output=True, text=True)
    assert "the store has this run already" in done.stdout


def test_a_sweep_says_in_one_sentence_who_won_by_how_much_and_what_it_reached(capsys) -> None:
    sweep = ["-m", *POINT[:3], "seed=0,1", "schedule=constant,exact", "steps=60"]
    for _ in range(2):  # computed, then known to the store
        assert main(sweep) == 0
        (sentence,) = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("best:")
        ]
        assert re.match(
            r"best: schedule=exact median loss \S+ over 2 seeds, 10\^\d+ times below the next "
            r"choice, schedule=constant; reached a minimum at \(0, 0\), known point 0 in all "
            r"2 runs$",
            sentence,
        ), sentence


def test_dots_lie_where_the_numbers_say() -> None:
    dots = np.zeros((8, 8), bool)
    braille.line(dots, np.array([0.0, 7.0, 99.0]), np.array([7.0, 0.0, -92.0]))
    np.testing.assert_array_equal(dots, np.fliplr(np.eye(8, dtype=bool)))
    assert braille.braille(np.ones((4, 2), bool)) == ["\u28ff"]
    assert braille.braille(np.zeros((4, 4), bool)) == ["\u2800\u2800"]
    step = np.arange(30.0)
    drawn = braille.curve(step, 10.0**-step, 50, 12, "loss")
    assert all(isinstance(line, Text) and len(line.plain) <= 50 for line in drawn)
    assert "1.0e+00" in drawn[1].plain
    assert "1.0e-29" in drawn[-2].plain
    x = np.linspace(-1, 1, 40)
    bowl = x[:, None] ** 2 + x[None] ** 2
    path = np.array([[-1.0, -1.0], [0.0, 0.0]])
    ground = braille.landscape(bowl, path, np.array([[-1, 1], [-1, 1.0]]), 30, 12, "bowl", False)
    assert [len(line.plain) for line in ground[:-1]] == [30] * 11
    assert ground[-2].plain[0] == "o"  # the start: left and below


def test_help_names_every_verb_with_an_example_in_60_columns(capsys) -> None:
    assert max(map(len, HELP.splitlines())) <= 60
    for verb in VERBS:
        assert re.search(rf"^  gdlab {verb}\b", HELP, re.M), verb
        assert re.search(rf"^    gdlab {verb}\b", HELP, re.M), verb
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == HELP


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gdlab stu", {"study", "study="}),
        ("gdlab ", {"study", "report", "objective="}),
        ("gdlab study te", {"textbook"}),
        ("gdlab list sch", {"schedules"}),
        ("gdlab show obj", {"objective="}),
        ("gdlab objective=him", {"objective=himmelblau"}),
        ("gdlab -m schedule=pol", {"schedule=polyak", "schedule=polynomial"}),
        ("gdlab show schedule=po", {"schedule=polyak", "schedule=polynomial"}),
        ("gdlab show objective=nonsense", set()),
        ("gdlab --import my_lab ", {"study", "objective="}),
        ("gdlab --import my_lab show met", {"method="}),
        ("gdlab --import my", set()),
        ("gdlab -v study te", {"textbook"}),
        ("gdlab census objective=him", {"objective=himmelblau"}),
        ("gdlab study textbook steps", set()),
        ("gdlab nonsense x", set()),
        ("gdlab objective=himmelblau 'seed=ra", set()),
    ],
)
def test_bash_completes_verbs_groups_and_choices(line, offered, tmp_path) -> None:
    here = tmp_path / "bin"
    here.mkdir()
    program = here / "gdlab"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{GDLAB[2]}" "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(gdlab -sc install=bash | sed s/-c$/gdlab/)"; '
        'hydra_bash_completion; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{here}:{os.environ['PATH']}",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_CWORD": str(line.count(" ")),
        },
    )
    assert offered <= set(done.stdout.split()), done.stderr
    assert not done.stderr  # it would land in the prompt
    if not offered:
        assert not done.stdout.strip()


def test_a_fault_is_one_line_and_says_how_to_see_more(monkeypatch, capsys) -> None:
    def broken(args, screen):
        raise RuntimeError("a\nb")

    monkeypatch.setitem(VERBS, "list", broken)
    assert main(["list"]) == 1
    said = r"gdlab: RuntimeError: a \(test_terminal.py, line \d+\); the same command with -v .*\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    assert main(["-v", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert re.search(r"\ngdlab: RuntimeError: a \(test_terminal.py, line \d+\)\n$", said)
