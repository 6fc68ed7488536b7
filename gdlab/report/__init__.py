"""`gdlab report NAME`: what a study or sweep found, as one HTML page that needs no network."""

from __future__ import annotations

from pathlib import Path

from gdlab.errors import UsageError


def write(name: str | None, uri: str | None, out: str | None) -> Path:
    """Writes the page of a study or experiment; returns its path.

    Args:
        name: as the store knows it; None where the store has but one.
        uri: the store; default `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`.
        out: the file; default `results/<name>/report.html`.

    Raises:
        UsageError: no such store, no runs of that name in it, or a file that cannot be written.
    """
    from gdlab.report.content import gathered
    from gdlab.report.page import rendered
    from gdlab.tracking.address import address
    from gdlab.tracking.read import studies

    uri = address(uri)
    known = studies(uri)
    if name is None:
        if len(known) != 1:
            found = ", ".join(known) or "none yet; gdlab study textbook makes one"
            raise UsageError(f"report: takes the name of a study or experiment; known: {found}")
        name = known[0]
    path = Path(out) if out else Path("results") / name / "report.html"
    if path.is_dir():
        raise UsageError(f"out={out}: is a folder; takes a file, e.g. out={path / 'report.html'}")
    page = rendered(gathered(name, uri))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"out={path}: cannot be written ({error.strerror})") from error
    return path
