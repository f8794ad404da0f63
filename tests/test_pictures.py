"""The pictures of the README are those that the program makes now."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import chromium, pictures
from tests.pictures import flow, pages, terminal

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
README = (ROOT / "README.md").read_text("utf-8")
MADE_BY = "run: python -m tests.pictures"
MOST_BYTES = 250_000
"""Of a picture: a page of 800 kB is read on a train."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every picture, made now."""
    chromium.require()
    folder = tmp_path_factory.mktemp("pictures")
    return {file.name: file for file in pictures.made(folder)}


def test_the_readme_shows_every_picture_and_there_is_no_other() -> None:
    shown = set(re.findall(r"docs/pictures/([\w.-]+)", README))
    assert shown == {file.name for file in FOLDER.iterdir()}


def test_the_drawing_is_what_the_script_draws() -> None:
    assert (FOLDER / "flow.svg").read_text("utf-8") == flow.picture(), MADE_BY


def test_the_boxes_lie_beside_each_other_and_inside() -> None:
    for box in flow.BOXES:
        assert box.x > 0
        assert box.x + box.width < flow.WIDTH
        assert box.y + box.height < flow.HEIGHT
    for one in flow.BOXES:
        for other in flow.BOXES:
            apart = one.x + one.width <= other.x or one.y + one.height <= other.y
            assert one == other or apart or other.x + other.width <= one.x or other.y + other.height <= one.y


def test_the_terminal_shows_what_a_run_prints(made: dict[str, Path]) -> None:
    shown, printed = (path.read_text("utf-8") for path in (FOLDER / "terminal.svg", made["terminal.svg"]))
    assert terminal.lines_of(shown) == terminal.lines_of(printed), MADE_BY
    assert shown == printed, MADE_BY
    assert terminal.lines_of(shown)[0] == "$ make run"
    assert any(" read = " in line for line in terminal.lines_of(shown))


def test_every_picture_is_made_and_of_its_size(made: dict[str, Path]) -> None:
    assert set(made) == {file.name for file in FOLDER.iterdir()}
    for name in made:
        assert (FOLDER / name).stat().st_size < MOST_BYTES
        if name.endswith(".svg"):
            ElementTree.fromstring((FOLDER / name).read_text("utf-8"))
        else:
            assert size(made[name]) == size(FOLDER / name) == pages.SIZE


def size(png: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width, height


def test_a_picture_says_what_it_shows() -> None:
    texts = re.findall(r"!\[(.*?)\]\(docs/pictures/", README) + re.findall(r'<img alt="(.*?)"', README)
    assert len(texts) == 5
    assert all(len(text) > 20 for text in texts)


@pytest.mark.parametrize("name", ["flow.svg", "terminal.svg", "speed.svg"])
def test_a_drawing_asks_nothing_of_a_network(name: str) -> None:
    svg = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", (FOLDER / name).read_text("utf-8"))
    assert "http" not in svg
    assert "<script" not in svg
