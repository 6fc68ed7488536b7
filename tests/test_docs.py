"""The documentation is run: every example of README and docs/, in a scratch folder.

A comment above a code block says what it is:

    <!-- file: NAME -->       its content is a file of the scratch folder
    <!-- output -->           what the block before it printed: its words and numbers in order
    <!-- needs a server -->   checked to parse only (a server, a browser, a network)
    <!-- slow -->             checked to parse here; other tests run it
    <!-- run -->, <!-- test -->   README: the two commands that .ci/run extracts and runs

Python blocks of one page share their names; lines of a shell block are calls of `gdlab`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gdlab import registry
from gdlab.cli import main as cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.stem for page in PAGES]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
COMMANDS = ("run", "test")
SERVER, SLOW = "needs a server", "slow"
DRAWN = re.compile(
    r"[^\w.,:;()\[\]{}'\"=+*/<>|%&#!?^-]+"
)  # bars, curves and other pictures of the terminal


@dataclass(frozen=True)
class Block:
    """One code block: its language, its text, the comment above it, its line."""

    language: str
    text: str
    mark: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    content = page.read_text()
    for m in FENCE.finditer(content):
        line = content.count("\n", 0, m.start("text")) + 1
        yield Block(m["language"], m["text"], m["mark"] or "", line)


def calls(text: str) -> list[list[str]]:
    """The command lines of a shell block, comments and continued lines as a shell reads them."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = {kind: dict(registry.imported(kind)) for kind in registry.ROOMS}
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]
    for kind, before in known.items():
        registry._factories[kind] = before | {
            name: f for name, f in registry.imported(kind).items() if f.__module__[:6] == "gdlab."
        }


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_example_runs(page: Path, folder: Path) -> None:
    names: dict[str, object] = {"__name__": page.stem.replace("-", "_")}
    printed, ran = "", 0
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.mark in COMMANDS:
            continue
        if block.mark.startswith("file: "):
            target = folder / block.mark.removeprefix("file: ")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
            if block.language == "python":
                compile(block.text, str(target), "exec")
        elif block.mark == "output":
            lost = first_out_of_order(words(block.text), words(printed))
            assert lost is None, f"{where}: {lost!r} is not next in the output; it is\n{printed}"
        elif block.language == "python":
            code = compile("\n" * block.line + block.text, page.name, "exec")
            if block.mark not in (SERVER, SLOW):
                printed = said(lambda code=code: exec(code, names))
                ran += 1
        elif block.language == "sh":
            for call in calls(block.text):
                assert call[0] == "gdlab", f"{where}: {call} is no call of gdlab"
                if block.mark in (SERVER, SLOW):
                    assert call[1] in cli.VERBS, f"{where}: {call[1]}: no such verb"
                    continue
                codes: list[int] = []
                printed = said(lambda call=call, codes=codes: codes.append(cli.main(call[1:])))
                assert codes == [0], f"{where}: {shlex.join(call)} exits with {codes}\n{printed}"
                ran += 1
        else:
            assert block.language in ("text", "yaml", "csv"), f"{where}: {block.language!r}"
    assert ran or page.stem == "design", f"{page.name} has no example that ran"
    for path in folder.glob("conf/*/*.yaml"):
        # Hydra composes from gdlab's own conf/ only; an example's keys are held to its factory.
        text, kind = path.read_text(), path.parent.name
        keys = yaml.safe_load(text)
        assert text.startswith("# ")
        known = registry.keys_of(registry.imported(kind)[keys.pop("name")])
        assert list(keys) == known


def said(action: object) -> str:
    """What an action prints, errors included."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        action()  # type: ignore[operator]
    return out.getvalue()


def first_out_of_order(shown: list[str], printed: list[str]) -> str | None:
    """The first word shown that does not follow, sooner or later, on the one before it."""
    rest = iter(printed)
    return next((word for word in shown if word not in rest), None)


@pytest.mark.parametrize(
    ("shown", "lost"),
    [
        ("loss 1.5 and 2.5", None),
        ("loss 2.5", None),  # a page may leave something out
        ("loss 2.5 and 1.5", "and"),
        ("2.5 1.5", "1.5"),
        ("loss 1.5 and 2.6", "2.6"),
    ],
)
def test_numbers_in_another_order_are_found(shown: str, lost: str | None) -> None:
    assert first_out_of_order(words(shown), words("loss 1.5 and 2.5")) == lost


def words(text: str) -> list[str]:
    return [word.rstrip(",;:.") for word in DRAWN.sub(" ", text).split()]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: p.stem)
def test_relative_links_exist(page: Path) -> None:
    prose = FENCE.sub("", page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    lost = [
        link
        for link in links
        if "://" not in link and not (page.parent / link.partition("#")[0]).exists()
    ]
    assert not lost


def test_files_that_a_page_names_exist() -> None:
    """Paths in backticks, as `gdlab/objectives/__init__.py`: those of the repository are there."""
    lost = []
    for page in PAGES:
        own = {b.mark.removeprefix("file: ") for b in blocks(page) if b.mark.startswith("file: ")}
        inside = {Path(name).name for name in own}
        for path in re.findall(
            r"`((?:gdlab|conf|tests|experiments|results|docs)/[\w./-]+)`", page.read_text()
        ):
            new = Path(path).name in inside or Path(path).stem in {Path(n).stem for n in inside}
            if not new and not (ROOT / path).exists():
                lost.append((page.name, path))
    assert not lost


def test_ci_runs_the_readme_s_commands_and_no_other_setup() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    found = {b.mark: b.text for b in blocks(README) if b.mark in COMMANDS}
    assert sorted(found) == sorted(COMMANDS)
    for name, block in found.items():
        # The function of .ci/run that extracts a block gives what is in the README.
        (function,) = re.findall(r"^block\(\) \{.*\}$", text, re.M)
        script = f'{function}\nblock "{name}"'
        out = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert out.stdout == block
        assert f'bash -euo pipefail -c "$(block {name})"' in text
        for line in block.splitlines():
            assert line not in text, f".ci/run repeats {line!r} instead of extracting it"


def test_readme_shows_the_tables_of_results() -> None:
    """`python tests/test_docs.py` copies them anew."""
    found = re.findall(r"^<!-- table: (\S+) -->$", README.read_text(), re.M)
    benchmarks = [f"results/benchmarks/{name}.md" for name in ("comparison", "sweeps", "kernel")]
    assert found == ["results/textbook/claims.md", *benchmarks]
    assert README.read_text() == with_tables(README.read_text())


def with_tables(text: str) -> str:
    """A page whose `<!-- table: FILE -->` are followed by what the file holds now."""

    def filled(m: re.Match[str]) -> str:
        path = ROOT / m["path"]
        shown = (
            f"\n[{m['path']}]({m['path']})\n\n{path.read_text().strip()}\n\n"
            if path.exists()
            else ""
        )
        return f"<!-- table: {m['path']} -->\n{shown}<!-- end of table -->"

    region = r"<!-- table: (?P<path>\S+) -->\n.*?<!-- end of table -->"
    return re.sub(region, filled, text, flags=re.S)


def test_constraints_are_exact_and_name_no_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)


@pytest.mark.slow
def test_an_installed_wheel_works_from_an_empty_folder(tmp_path: Path) -> None:
    """conf/, experiments/ and the plugins are in the wheel; nothing of the checkout is used."""
    wheels, venv, empty = tmp_path / "wheels", tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", str(ROOT), "--no-deps", "-w", str(wheels)], check=True)
    (wheel,) = wheels.glob("gdlab-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    # What gdlab needs is taken from here, gdlab itself is not: its own .pth is not followed.
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    here = next(Path(p) for p in sys.path if (Path(p) / "hydra").is_dir())
    (site / "needs.pth").write_text(f"{here}\n")
    start = "import sys; from gdlab.cli.main import main; sys.exit(main())"

    def gdlab(*args: str) -> str:
        out = subprocess.run(
            [venv / "bin" / "python", "-I", "-c", start, *args],
            cwd=empty, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"},
        )  # fmt: skip
        assert out.returncode == 0, out.stderr
        return out.stdout

    which = subprocess.run(
        [venv / "bin" / "python", "-I", "-c", "import gdlab; print(gdlab.__file__)"],
        cwd=empty, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(site) in which.stdout
    assert "himmelblau" in gdlab("list")
    assert "textbook" in gdlab("list", "studies")
    assert "converged" in gdlab()
    assert "4 jobs" in gdlab("-m", "seed=1,2,3,4", "steps=50")
    assert "26 of 26 claims hold" in gdlab("study", "textbook")
    assert (empty / "results" / "textbook" / "fig4_6.pdf").is_file()


ROW = re.compile(r"^\| (?P<what>[^|`]+) \| `(?P<path>[^`]+\.py)` \| `(?P<name>[\w.]+)` \|$", re.M)


def test_the_table_of_where_to_look_is_true() -> None:
    """Every file and function that docs/design.md sends a newcomer to is there."""
    rows = ROW.findall((ROOT / "docs" / "design.md").read_text())
    assert len(rows) >= 12
    for what, path, name in rows:
        body: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
        for part in name.split("."):
            found = [n for n in body if getattr(n, "name", None) == part]
            assert len(found) == 1, f"{what}: {path} has no {name}"
            body = getattr(found[0], "body", [])


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
