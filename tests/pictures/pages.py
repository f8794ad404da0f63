"""Pictures of the pages that the program makes, by a browser without a window: the report and the debugger."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page

from pipeline.connections_file import load_connections
from tests import chromium
from tests.receiver.debugger.screenshots import EXAMPLES, example_messages
from tests.receiver.debugger.served import served

ROOT = Path(__file__).parents[2]
SIZE = (1100, 900)
SCHEMES = ("light", "dark")


def pictures(folder: Path, run: Sequence[str]) -> list[Path]:
    """Writes a picture of each page for each scheme, of a warehouse that the job makes with these arguments; returns
    the files. The arguments end with the warehouse's URL."""
    with tempfile.TemporaryDirectory() as name, chromium.started() as browser:
        place = Path(name)
        (place / "examples").symlink_to(EXAMPLES)
        _module(place, "pipeline", *run)
        _module(place, "pipeline.report", run[-1], "--output=report.html")
        return [*_report(browser, place / "report.html", folder), *_debugger(browser, folder)]


def _module(place: Path, module: str, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    subprocess.run(command, cwd=place, env=environment, capture_output=True, check=True)


def _report(browser: Browser, report: Path, folder: Path) -> list[Path]:
    files = []
    for scheme in SCHEMES:
        page = _page(browser, scheme)
        page.goto(report.as_uri())
        files.append(_taken(page, folder / f"report-{scheme}.png"))
    return files


def _debugger(browser: Browser, folder: Path) -> list[Path]:
    """With some of the examples, and the newest identity call of them selected."""
    files = []
    with served(load_connections(str(EXAMPLES / "connections.yaml"))) as server:
        server.store(*example_messages())
        for scheme in SCHEMES:
            page = _page(browser, scheme)
            page.goto(f"{server.address}/debugger")
            page.wait_for_selector(".call")
            page.locator('.call:has([data-outcome="identity_call"])').first.click()
            files.append(_taken(page, folder / f"debugger-{scheme}.png"))
    return files


def _page(browser: Browser, scheme: str) -> Page:
    viewport = {"width": SIZE[0], "height": SIZE[1]}
    return browser.new_context(color_scheme=scheme, viewport=viewport).new_page()  # type: ignore[arg-type]


def _taken(page: Page, file: Path) -> Path:
    page.screenshot(path=file)
    page.context.close()
    return file
