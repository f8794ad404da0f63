"""The picture of a terminal, from what a command really printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

ROOT = Path(__file__).parents[2]
COLUMNS = 116
SECONDS = ("1.2", "2,520")
"""What stands for the seconds and the rate of the machine that the picture is made on."""

_TIMING = re.compile(r"(?<= calls in )([\d,.]+)(?= s, )|(?<= s, )([\d,]+)(?= calls per second)")
_SIZE, _ADVANCE, _LINE = 13.0, 7.83, 18.0
_MARGIN, _BAR = 16.0, 34.0
_FONT = "ui-monospace, SFMono-Regular, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_BACKGROUND, _TEXT, _DIM = "#0d1117", "#d1d7e0", "#9198a1"
_COLORS = {"green": "#57ab5a", "red": "#f47067", "yellow": "#daaa3f", "cyan": "#39c5cf", "blue": "#539bf5"}
_DRAWN = re.compile(r"<text [^>]*>(.*?)</text>")


class Run(NamedTuple):
    """Characters of one look, from a column on."""

    column: int
    words: str
    is_bold: bool
    is_dim: bool
    color: str


def captured(*arguments: str) -> str:
    """What the job prints for these arguments on a terminal of COLUMNS columns, with its colours, and with SECONDS in
    place of the time that it took. It runs in a new folder that has the examples."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "examples").symlink_to(ROOT / "examples")
        ran = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=name,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    values = iter(SECONDS)
    return _TIMING.sub(lambda _: next(values), ran.stdout)


def picture(command: Sequence[str], printed: str) -> str:
    """A terminal in which the lines of a command were typed, and what it printed came."""
    typed = [Text(line) for line in command]
    lines = [line for text in (*typed, *Text.from_ansi(printed).split()) for line in _wrapped(text)]
    width = 2 * _MARGIN + COLUMNS * _ADVANCE
    height = _BAR + _MARGIN + _LINE * len(lines)
    body = "".join(_drawn(number, line) for number, line in enumerate(lines))
    buttons = "".join(f'<circle cx="{20 + 18 * each}" cy="18" r="5.5" fill="#3d444d"/>\n' for each in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{_FONT}" font-size="{_SIZE:g}">\n'
        f"<title>{escape(command[0])}, and what it prints</title>\n"
        f'<rect width="{width:g}" height="{height:g}" rx="10" fill="{_BACKGROUND}"/>\n{buttons}{body}</svg>\n'
    )


def lines_of(svg: str) -> list[str]:
    """The lines that a picture shows, without the spaces at their ends."""
    return [unescape(re.sub(r"<[^>]*>", "", line)).rstrip() for line in _DRAWN.findall(svg)]


def _wrapped(text: Text) -> Iterator[Text]:
    """A line as a terminal breaks it, at its last column."""
    yield from text.divide(range(COLUMNS, max(len(text), 1), COLUMNS))


def _runs(line: Text) -> Iterator[Run]:
    """The line's characters by their look, in order."""
    looks: list[tuple[bool, bool, str]] = [(False, False, _TEXT)] * len(line)
    for span in line.spans:
        style = span.style
        if isinstance(style, str):
            continue
        color = _COLORS.get(style.color.name, _TEXT) if style.color else _TEXT
        for at in range(span.start, span.end):
            bold, dim, before = looks[at]
            looks[at] = (bold or bool(style.bold), dim or bool(style.dim), color if style.color else before)
    start = 0
    for at in range(1, len(line) + 1):
        if at == len(line) or looks[at] != looks[start]:
            yield Run(start, line.plain[start:at], *looks[start])
            start = at


def _drawn(number: int, line: Text) -> str:
    y = _BAR + _LINE * (number + 0.8)
    spans = []
    for run in _runs(line):
        looks = ' font-weight="600"' if run.is_bold else ""
        color = _DIM if run.is_dim else run.color
        x, length = _MARGIN + run.column * _ADVANCE, len(run.words) * _ADVANCE
        spans.append(
            f'<tspan x="{x:g}" textLength="{length:g}" fill="{color}"{looks}>{escape(run.words, quote=False)}</tspan>'
        )
    return f'<text y="{y:g}" xml:space="preserve">{"".join(spans)}</text>\n'
