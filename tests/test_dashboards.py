"""The MLflow UI as a person sees it: Debian's chromium against a real `gdlab ui`."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

# As in a terminal, also where the tests run behind `&` or `nohup`.
HEARD = ["env", "--default-signal=INT,TERM"]
GDLAB = str(Path(sys.executable).with_name("gdlab"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# MLflow's tours and assistant stay closed.
SETTINGS = {
    "mlflow.assistant.panelOpen_v1": "false",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.detectIssues.guidanceShown_v1": "true",
    "mlflow.workflowType_v1": '"machine_learning"',
}
SEEDED = "".join(f"localStorage.setItem('{k}', '{v}');" for k, v in SETTINGS.items())
# Folder for pictures of every page, to be looked at.
PICTURES = os.environ.get("GDLAB_PICTURES")


@dataclass
class Lab:
    """A store, its UI and a browser."""

    folder: Path
    url: str
    browser: Any

    def page(self, fragment: str, wait: str, picture: str) -> Any:
        """The page at an address, once what is waited for is there."""
        page = self.browser.new_page()
        page.goto(f"{self.url}/#/experiments/{fragment}")
        page.locator(wait).first.wait_for(timeout=30_000)
        if PICTURES:
            page.wait_for_timeout(1500)
            page.screenshot(path=Path(PICTURES) / f"{picture}.png")
        return page

    def rows(self, sql: str) -> list[Any]:
        with sqlite3.connect(self.folder / "mlflow.db") as connection:
            return connection.execute(sql).fetchall()

    def view(self, number: int, name: str) -> str:
        charts = "" if name in ("leaderboard", "runs") else "&compareRunsMode=CHART"
        return f"{number}/runs?viewStateShareKey={name}{charts}&workflowType=machine_learning"


def gdlab(folder: Path, *args: str) -> None:
    subprocess.run([GDLAB, *args], cwd=folder, check=True, timeout=180)


def said(process: subprocess.Popen[str], pattern: str, seconds: float = 120) -> re.Match[str]:
    """Waits for a line of a process that matches."""
    assert process.stdout is not None
    deadline, text = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.5)[0]:
            line = process.stdout.readline()
            text += line
            if found := re.search(pattern, line):
                return found
            if not line:
                break
    raise AssertionError(f"{pattern} was not said in: {text}")


def ended(process: subprocess.Popen[str], by: signal.Signals) -> int:
    """The exit code of a process that is told to end; what it has still to say is dropped."""
    process.send_signal(by)
    process.communicate(timeout=90)
    return process.returncode


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("ui")
    rosenbrock = ["-q", "-m", "objective=rosenbrock"]
    # Experiment 1: medians over seeds, some of which diverge.
    gdlab(folder, *rosenbrock, "schedule.eta=0.001,0.002", "seed=range(30)")
    # Experiment 2: a few single runs with pictures; the last diverges.
    few = ["objective=himmelblau", "schedule.eta=0.003,0.01,0.3"]
    gdlab(folder, "-q", "-m", "tracking.experiment=few", *few)
    # Experiment 3: large.
    large = ["steps=30", "tracking.experiment=large", "tracking.metrics=[loss]"]
    gdlab(folder, *rosenbrock, *large, "schedule.eta=0.001,0.002", "seed=range(2500)")
    process = subprocess.Popen(
        [*HEARD, GDLAB, "ui", "few", "port=5230"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = said(process, r"(http://127\.0\.0\.1:\d+)/#/experiments/2/runs\?viewState")[1]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            context = browser.new_context(viewport={"width": 1500, "height": 1000})
            context.add_init_script(SEEDED)
            yield Lab(folder, url, context)
            browser.close()
    finally:
        assert ended(process, signal.SIGINT) == 0


def test_the_menu_holds_the_views(lab: Lab) -> None:
    page = lab.page(lab.view(1, "leaderboard"), "text=2 matching runs", "leaderboard")
    page.get_by_role("button", name="Leaderboard").first.click()
    for name in ("Leaderboard", "Curves", "Step size", "Critical points", "Every run"):
        page.get_by_text(name, exact=True).last.wait_for(timeout=5000)


def test_the_leaderboard_shows_its_columns_and_the_answer(lab: Lab) -> None:
    page = lab.page(lab.view(1, "leaderboard"), "text=2 matching runs", "answer")
    text = page.inner_text("body")
    assert re.search(
        r"best: schedule\.eta=0\.00\d .* times below the next choice, schedule\.eta=0", text
    )
    for head in ("loss", "loss_q90", "runs", "share_diverged", "schedule.eta"):
        assert page.get_by_text(head, exact=True).count(), head
    names = page.get_by_text(re.compile(r"^eta 0\.00\d, median of 30$")).all_inner_texts()
    assert len(names) == 2


def test_curves_have_lines_and_log_axes(lab: Lab) -> None:
    page = lab.page(lab.view(1, "curves"), ".js-plotly-plot .scatterlayer path.js-line", "curves")
    charts = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(p => ({
            y: p.layout.yaxis.type, x: p.layout.xaxis.type,
            lines: p.data.filter(d => d.y && d.y.length > 20).length}))"""
    )
    assert [chart["y"] for chart in charts[:3]] == ["log"] * 3
    assert all(chart["lines"] >= 2 for chart in charts[:3])


def test_a_diverged_run_empties_no_chart(lab: Lab) -> None:
    assert lab.rows(
        "select 1 from tags join runs using (run_uuid) where experiment_id = 2 "
        "and key = 'status' and value = 'diverged'"
    )
    page = lab.page(lab.view(2, "curves"), ".js-plotly-plot .scatterlayer path.js-line", "diverged")
    assert "No chart data" not in page.inner_text("body")
    (chart, *_) = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(p => ({
            top: p.layout.yaxis.range[1],
            lines: p.data.filter(d => d.y && d.y.length == 16).length}))"""
    )
    assert chart["lines"] >= 2
    assert chart["top"] < 6  # not at the 1e200 of the one that diverged


def test_step_sizes_and_critical_points_are_drawn(lab: Lab) -> None:
    for name in ("step-size", "critical-points"):
        page = lab.page(lab.view(2, name), ".js-plotly-plot", name)
        assert page.locator(".js-plotly-plot .scatterlayer path.point").count() > 2
    ends = page.evaluate(
        "() => document.querySelector('.js-plotly-plot').layout.xaxis.range.map(Math.abs)"
    )
    assert max(ends) < 10  # the end of the one that diverged, at 1e100, is not among them
    page = lab.page(lab.view(1, "critical-points"), ".js-plotly-plot .barlayer path", "shares")
    assert page.locator(".js-plotly-plot .barlayer path").count() >= 2


def test_a_runs_page_shows_its_picture_verdict_and_command(lab: Lab) -> None:
    ((run_id,),) = lab.rows(
        "select run_uuid from runs where experiment_id = 2 and name like '%eta 0.01'"
    )
    page = lab.page(f"2/runs/{run_id}", "img[src*='descent.png']", "run")
    assert "converged to a minimum (global) at (" in page.inner_text("body")
    wide = "() => document.querySelector(\"img[src*='descent.png']\").naturalWidth"
    page.wait_for_function(f"{wide[6:]} > 100", timeout=10_000)
    assert "gdlab tracking.experiment=few objective=himmelblau" in page.inner_text("body")


def test_the_summary_shows_table_and_curves(lab: Lab) -> None:
    ((run_id,),) = lab.rows(
        "select run_uuid from runs where experiment_id = 1 and name like 'summary%'"
    )
    # Not of what was asked for: drawn while the UI is up.
    picture = lab.folder / "mlruns" / "1" / run_id / "artifacts" / "curves.png"
    deadline = time.monotonic() + 60
    while not picture.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    page = lab.page(f"1/runs/{run_id}", "img[src*='curves.png']", "summary")
    assert "60 runs:" in page.inner_text("body")
    wide = "document.querySelector(\"img[src*='curves.png']\").naturalWidth > 100"
    page.wait_for_function(wide, timeout=10_000)


def test_five_thousand_runs_open_within_ten_seconds(lab: Lab) -> None:
    assert lab.rows("select count(*) from runs where experiment_id = 3")[0][0] > 5000
    for name, wait in (
        ("leaderboard", "text=2 matching runs"),
        ("runs", "a:has-text(' seed ')"),  # the run's link in the table
    ):
        seconds = []
        for _ in range(2):  # the better of two: the machine may be busy with something else
            began = time.monotonic()
            lab.page(lab.view(3, name), wait, f"large-{name}")
            seconds.append(time.monotonic() - began)
        assert min(seconds) < 10


def test_a_port_in_use_and_a_store_without_runs(lab: Lab) -> None:
    port = lab.url.rpartition(":")[2]
    process = subprocess.Popen(
        [*HEARD, GDLAB, "ui", f"port={port}"],
        cwd=lab.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        taken = said(process, rf"port {port} is in use; taking (\d+)")[1]
        said(process, rf"http://127\.0\.0\.1:{taken}/#/experiments/")
    finally:
        assert ended(process, signal.SIGTERM) == 128 + signal.SIGTERM
    with pytest.raises(OSError, match="refused"):  # its server ended with it
        socket.create_connection(("127.0.0.1", int(taken)), 2)
    for words in (["tracking.uri=sqlite:///none.db"], ["nobody"]):
        done = subprocess.run(
            [GDLAB, "ui", *words],
            cwd=lab.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
