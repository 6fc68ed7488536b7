"""Drawings made of characters: a curve on a log axis, and a landscape with a path over it.

Eight dots a character (Unicode's braille block): a canvas of w x h characters has 2w x 4h dots.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float
from rich.color import Color
from rich.style import Style
from rich.text import Text

# Braille: the bit of each of a character's dots, [4 rows, 2 columns].
BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
# Low ground to high ground, dark enough below for a bright path.
GROUND = np.array([[12, 44, 92], [22, 84, 130], [40, 122, 150], [92, 158, 160], [164, 194, 176]])
PATH, MARK = Style(color="bright_yellow"), Style(color="bright_white", bold=True)
START, END, EMPTY = "o", "x", "\u2800"
LEVELS = 10


def curve(
    t: Float[np.ndarray, " T"], y: Float[np.ndarray, " T"], width: int, height: int, title: str
) -> list[Text]:
    """y against t in `height` rows of `width` characters; y logarithmic where it is positive."""
    kept = np.isfinite(y)
    t, y = np.asarray(t, float)[kept], np.asarray(y, float)[kept]
    log = len(y) > 1 and bool((y > 0).all()) and y.max() / y.min() > 10
    z = np.log10(y) if log else y
    margin, rows = 8, height - 2
    dots = np.zeros((4 * rows, 2 * (width - margin)), bool)
    low, high = z.min(), z.max()
    span = high - low or 1.0
    across = np.linspace(t[0], t[-1], dots.shape[1])
    down = (high - np.interp(across, t, z)) / span * (dots.shape[0] - 1)
    line(dots, np.arange(dots.shape[1]), down)
    labels = {0: high, rows - 1: low} | ({rows // 2: high - span * (rows // 2) / (rows - 1)})
    out = [Text(f"{title}{' (log)' if log else ''}".center(width), Style(bold=True))]
    for r, text in enumerate(braille(dots)):
        value = labels.get(r)
        label = "" if value is None else f"{10**value if log else value:.1e}"
        out.append(Text(f"{label:>{margin - 1}}\u2502").append(text, Style(color="cyan")))
    left, right = f"{t[0]:.0f}", f"step {t[-1]:.0f}"
    out.append(Text(" " * margin + left + right.rjust(width - margin - len(left))))
    return out


def landscape(
    f: Float[np.ndarray, "r r"],
    path: Float[np.ndarray, "T 2"],
    box: Float[np.ndarray, "2 2"],
    width: int,
    height: int,
    title: str,
    colour: bool,
) -> list[Text]:
    """Level sets of f on `box` with the path drawn over them, from `o` to `x`.

    Args:
        f: values on a grid of the box, first index x1 (to the right), second x2 (upwards).
        box: (low, high) of each axis.
        colour: shade the ground; without it, level lines are dotted.
    """
    rows = height - 2
    dots = np.zeros((4 * rows, 2 * width), bool)
    rank = _levels(_sampled(f, dots.shape))
    way = np.zeros_like(dots)
    unit = (path - box[:, 0]) / (box[:, 1] - box[:, 0])
    x, y = unit[:, 0] * (dots.shape[1] - 1), (1 - unit[:, 1]) * (dots.shape[0] - 1)
    line(way, x, y)
    if not colour:
        level = np.floor(rank * LEVELS)
        dots[:, 1:] |= level[:, 1:] != level[:, :-1]
        dots[1:] |= level[1:] != level[:-1]
    marks = {_cell(x[0], y[0]): START, _cell(x[-1], y[-1]): END}
    out = [Text(title.center(width), Style(bold=True))]
    grounds, ways = braille(dots), braille(way)
    for r in range(rows):
        cells = []
        for c in range(width):
            shade = _shade(rank[4 * r + 2, 2 * c]) if colour else None
            if mark := marks.get((r, c)):
                cells.append((mark, MARK + Style(bgcolor=shade)))
            elif ways[r][c] != EMPTY:
                cells.append((ways[r][c] if colour else "*", PATH + Style(bgcolor=shade)))
            else:
                cells.append((" " if colour else grounds[r][c], Style(bgcolor=shade)))
        text = Text()
        for style, run in groupby(cells, key=lambda cell: cell[1]):
            text.append("".join(character for character, _ in run), style)
        out.append(text)
    (a, b), (c_, d) = box
    out.append(
        Text(f"x1 {a:.3g} to {b:.3g}, x2 {c_:.3g} to {d:.3g}".center(width), Style(dim=True))
    )
    return out


def line(dots: Bool[np.ndarray, "h w"], x: np.ndarray, y: np.ndarray) -> None:
    """Draws the polygon through (x, y), in dots, row 0 on top; what lies outside is cut off."""
    for x0, y0, x1, y1 in zip(x[:-1], y[:-1], x[1:], y[1:]):
        n = int(np.ceil(min(max(abs(x1 - x0), abs(y1 - y0)), 2000))) + 1
        columns = np.rint(np.linspace(x0, x1, n)).astype(int)
        rows = np.rint(np.linspace(y0, y1, n)).astype(int)
        inside = (columns >= 0) & (columns < dots.shape[1]) & (rows >= 0) & (rows < dots.shape[0])
        dots[rows[inside], columns[inside]] = True


def braille(dots: Bool[np.ndarray, "h w"]) -> list[str]:
    """The dots as rows of characters, four rows and two columns of dots each."""
    h, w = dots.shape[0] // 4, dots.shape[1] // 2
    bits = (dots.reshape(h, 4, w, 2) * BITS[None, :, None, :]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + b) for b in row) for row in bits]


def _cell(x: float, y: float) -> tuple[int, int]:
    return round(float(y)) // 4, round(float(x)) // 2


def _sampled(f: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """f at the dots: rows downwards are falling x2."""
    i = np.rint(np.linspace(0, f.shape[0] - 1, shape[1])).astype(int)
    j = np.rint(np.linspace(f.shape[1] - 1, 0, shape[0])).astype(int)
    return f[np.ix_(i, j)].T


def _levels(f: np.ndarray) -> np.ndarray:
    """Heights from 0 to 1, halfway between their logarithm above the lowest and their rank."""
    finite = np.isfinite(f)
    high = f[finite].max()
    f = np.where(finite, f, high)
    span = high - f.min() or 1.0
    log = np.log1p(1e3 * (f - f.min()) / span) / np.log1p(1e3)
    rank = np.argsort(np.argsort(f.ravel())).reshape(f.shape) / max(f.size - 1, 1)
    return np.clip((log + rank) / 2, 0, 1 - 1e-9)


def _shade(height: float) -> Color:
    """The colour of a height, in steps, so that level sets show."""
    at = np.floor(height * LEVELS) / (LEVELS - 1) * (len(GROUND) - 1)
    low = int(min(at, len(GROUND) - 2))
    red, green, blue = GROUND[low] + (at - low) * (GROUND[low + 1] - GROUND[low])
    return Color.from_rgb(red, green, blue)
