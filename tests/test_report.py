"""The report: one page that holds everything it shows; opened from disk in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gdlab.cli.main import main

STUDY = """
# a study of two step sizes
defaults:
  - override /record: all
study: tiny
tracking:
  artifacts: always
sweeps:
  sizes: [objective=fig4_6, init=point, "init.x=[15.0,-5.0]", "schedule.eta=0.1,0.2,0.3", steps=30]
"""
MODULE = '''
from gdlab.figures import style
from gdlab import Claim

QUESTION = "Does <b>1 - eta lambda</b> rule the decay & the limit?"


def claims(curves):
    f = curves[curves["job"] == 0].sort_values("step")["loss"].to_numpy()
    return [Claim("f_30/f_29 at eta = 0.1 < 1", 0.81, f[-1] / f[-2], 1e-3, "theory"),
            Claim("and above a half", 1.0, float(f[-1] / f[-2] > 0.5), 0, "theory")]


def table(runs):
    return runs[["job", "loss", "steps", "status"]]


def figures(curves):
    """The decay."""
    figure, ax = style.figure()
    for _, rows in curves.groupby("job"):
        ax.semilogy(rows["step"], rows["loss"])
    return {"decay": figure}
'''


class Read(HTMLParser):
    """Addresses, scripts and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value)
        assert tag not in ("link", "iframe", "object", "base")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "style":
            assert "url(" not in data
            assert "@import" not in data
        elif self.inside != "script":
            self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with a study, a sweep over seeds and one that diverges, and their reports."""
    place = tmp_path_factory.mktemp("report")
    before = Path.cwd()
    os.chdir(place)
    try:
        (place / "experiments").mkdir()
        (place / "experiments" / "tiny.yaml").write_text(STUDY)
        (place / "experiments" / "tiny.py").write_text(textwrap.dedent(MODULE))
        assert main(["-q", "study", "tiny"]) == 0
        seeds = ["objective=rosenbrock", "seed=range(12)", "steps=200"]
        assert main(["-q", "-m", *seeds, "schedule=backtracking,polyak"]) == 0
        assert main(["-q", "-m", *seeds, "schedule.eta=0.001,0.002,1"]) == 0
        assert main(["-q", "report", "tiny"]) == 0
        assert main(["-q", "report", "gdlab", "out=pages/sweep.html"]) == 0
        yield place
    finally:
        os.chdir(before)


def pages(folder: Path) -> list[Path]:
    return [folder / "results" / "tiny" / "report.html", folder / "pages" / "sweep.html"]


def test_the_page_holds_all_that_it_shows(folder) -> None:
    for path in pages(folder):
        page = path.read_text()
        read = Read(page)
        assert all(a.startswith("data:image/png;base64,") for a in read.addresses)
        assert len(read.addresses) >= (path.parent.name == "tiny")
        assert str(folder) not in page


def test_a_studys_page_has_question_claims_figures_table_and_command(folder) -> None:
    read = Read(pages(folder)[0].read_text())
    text = " ".join(read.text)
    for words in (
        "Does <b>1 - eta lambda</b> rule the decay & the limit?",
        "2 of 2",
        "f_30/f_29 at eta = 0.1 < 1",
        "and above a half",
        "decay",
        "The decay.",
        "gdlab study tiny",
        "jax ",
    ):
        assert words in text
    assert len(read.addresses) == 1


def test_a_sweeps_page_says_who_won_and_how_to_repeat_it(folder) -> None:
    text = " ".join(Read(pages(folder)[1].read_text()).text)
    assert re.search(r"best: schedule=polyak .*median loss \S+ over 12 seeds, .* times below", text)
    assert "gdlab -m objective=rosenbrock 'seed=range(12)' steps=200" in text
    assert "schedule.eta=0.001,0.002,1" in text
    assert "diverged" in text


def test_equal_stores_give_equal_pages(folder) -> None:
    before = pages(folder)[1].read_bytes()
    assert main(["-q", "report", "gdlab", "out=pages/again.html"]) == 0
    assert (folder / "pages" / "again.html").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["gdlb"], ["gdlb", "known: gdlab, tiny"]),
        ([], ["known: gdlab, tiny"]),
        (["tiny", "out=experiments"], ["out=experiments", "folder"]),
        (["tiny", "outt=x"], ["outt=x", "out=FILE"]),
        (["tiny", "tracking.uri=sqlite:///none.db"], ["none.db"]),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(folder, capsys, args, says) -> None:
    assert main(["report", *args]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.strip().splitlines()) == 1
    for words in says:
        assert words in err


@pytest.mark.browser
def test_the_page_opened_from_disk(folder, tmp_path) -> None:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for path in pages(folder):
            for scheme in ("light", "dark"):
                said, asked = [], []
                page = browser.new_page(color_scheme=scheme)
                page.on("console", lambda m, said=said: said.append(m.text))
                page.on("pageerror", lambda e, said=said: said.append(str(e)))
                page.on("request", lambda r, asked=asked: asked.append(r.url))
                page.goto(path.as_uri())
                page.wait_for_selector("#curve-chart .scatterlayer .trace")
                assert _background(page) == {"light": 255, "dark": 20}[scheme]
                for quantity in page.locator("#quantity option").all():
                    page.select_option("#quantity", quantity.get_attribute("value"))
                page.check("#logsteps")
                assert page.locator("#curve-chart .xtitle").text_content() == "step t"
                assert page.locator("#sweep-chart .point").count() > 2
                _assert_sorts(page)
                pdf = page.pdf(path=str(tmp_path / "page.pdf"))
                assert pdf.startswith(b"%PDF")
                assert not said
                assert [u for u in asked if not u.startswith(("data:", "blob:"))] == [path.as_uri()]
                page.close()
        browser.close()


def _background(page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(re.findall(r"\d+", colour)[0])


def _assert_sorts(page) -> None:
    """The column `loss` of the last table: ascending at a click, descending at the next."""
    table = page.locator("table.sortable").last
    heads = [text.strip() for text in table.locator("th").all_text_contents()]
    column = heads.index("loss") + 1
    cells = table.locator(f"tbody td:nth-child({column})")
    head = table.locator(f"th:nth-child({column}) span")

    def values() -> list[float]:
        return [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.v)") if v]

    for reverse in (False, True):
        head.click()
        found = values()
        assert len(found) > 2
        assert found == sorted(found, reverse=reverse)
    head.press("Enter")
    assert values() == sorted(values())
