"""The README's table and plot, and the page of the benchmarks, are what `make bench` measured: docs/benchmarks.json.

`python -m tests.benchmarks.test_results --update` draws them anew; with a folder, of the `results.json` that is there.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import results
from benchmarks.results import Figure
from tests.pictures import MEASURED

DOCS = Path(__file__).parents[2] / "docs"
PLOT = DOCS / "pictures" / "speed.svg"
README = DOCS.parent / "README.md"
PAGES = (README, DOCS / "benchmarks.md")
_BLOCK = re.compile(r"(<!-- results: [^\n]* -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def updated(page: Path) -> str:
    figures = results.read(MEASURED)
    table = results.table(results.of_many_shapes(figures) if page == README else figures)
    return _BLOCK.sub(lambda block: f"{block[1]}\n{table}\n\n{block[3]}", page.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_was_measured(page: Path) -> None:
    assert _BLOCK.search(page.read_text("utf-8"))
    assert page.read_text("utf-8") == updated(page), "run: python -m tests.benchmarks.test_results --update"


def test_the_plot_shows_what_was_measured() -> None:
    """Where the words stand depends on the fonts of the machine."""
    assert words(PLOT.read_text("utf-8")) == words(results.plot(results.read(MEASURED)))


def words(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text and element.text.strip()]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    figures = [
        Figure(name="cost", unit="times", by_shape={"small": 1.5, "large": 2.0}, goal=1.75),
        Figure(name="rate", unit="a second", by_shape={"any": 3.0}, goal=2.0, higher_is_better=True),
    ]
    results.write(figures, tmp_path)
    assert results.read(tmp_path / "results.json") == figures
    assert (tmp_path / "results.md").read_text("utf-8") == results.table(figures) + "\n"


def test_a_plot_shows_each_shape_with_its_value() -> None:
    shapes = {"small": 1.25, "middle": 1.5, "large": 2.5}
    plot = results.plot([Figure(name="cost", unit="times", by_shape=shapes, goal=2.0)])
    assert [word for word in (*shapes, "1.25", "2.50", "goal: at most 2") if word not in plot] == []


if __name__ == "__main__":
    if sys.argv[1:2] != ["--update"] or len(sys.argv) > 3:
        sys.exit("usage: python -m tests.benchmarks.test_results --update [FOLDER]")
    for folder in sys.argv[2:]:
        shutil.copy(Path(folder) / "results.json", MEASURED)
    for page in PAGES:
        page.write_text(updated(page), "utf-8")
    PLOT.write_text(results.plot(results.read(MEASURED)), "utf-8")
