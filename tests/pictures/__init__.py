"""The pictures of the README, in `docs/pictures`, drawn or taken of real runs: `python -m tests.pictures`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from benchmarks import results
from tests.pictures import flow, pages, terminal

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "docs" / "benchmarks.json"
"""What `make bench` measured."""


def made(folder: Path) -> list[Path]:
    """Writes every picture into the folder; returns the files."""
    drawn = {
        folder / "flow.svg": flow.picture(),
        folder / "terminal.svg": run_in_a_terminal(),
        folder / "speed.svg": results.plot(results.read(MEASURED)),
    }
    for file, svg in drawn.items():
        file.write_text(svg, "utf-8")
    return [*drawn, *pages.pictures(folder, run_arguments())]


def run_in_a_terminal() -> str:
    """The picture of `make run`."""
    return terminal.picture(["$ make run", recipe("run")], terminal.captured(*run_arguments()))


def run_arguments() -> list[str]:
    """What `make run` gives to the job."""
    python, dash_m, module, *arguments = shlex.split(recipe("run"))
    assert (python, dash_m, module) == (".venv/bin/python", "-m", "pipeline")
    return arguments


def recipe(target: str) -> str:
    """What a target of the Makefile runs, as make prints it."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert found is not None
    return found[1].strip()
