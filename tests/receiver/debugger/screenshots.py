"""Makes pictures of both pages, the debugger and `make live`: `python -m tests.receiver.debugger.screenshots DIR`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from pipeline.connections_file import load_connections
from receiver.sink import Message
from tests import chromium
from tests.examples.live_process import running
from tests.receiver.debugger.served import Served, served

EXAMPLES = Path(__file__).parents[3] / "examples"
WIDE = (1440, 900)
NARROW = (420, 860)
LOOKS = (
    ("light-wide", "light", WIDE),
    ("light-narrow", "light", NARROW),
    ("dark-wide", "dark", WIDE),
    ("dark-narrow", "dark", NARROW),
)
CLICKS = ("text=Pricing", "text=Start a trial", "#signup button", "#company button", "text=Order for")
_CALLS = 160
_FROM = 600
_BETWEEN_CLICKS_MS = 300
_SETTLED_MS = 4000


def pictures(folder: Path) -> list[Path]:
    """Writes a picture of both pages for each scheme and width; returns the files."""
    return [*debugger_pictures(folder), *live_pictures(folder)]


def debugger_pictures(folder: Path) -> list[Path]:
    """The debugger with some of the examples, and the newest identity call of them selected."""
    files = []
    with served(load_connections(str(EXAMPLES / "connections.yaml"))) as server, chromium.started() as browser:
        server.store(*example_messages())
        for look, scheme, size in LOOKS:
            page = opened(browser, server, scheme=scheme, size=size)
            page.locator('.call:has([data-outcome="identity_call"])').first.click()
            files.append(_picture(page, folder / f"debugger-{look}.png"))
    return files


def live_pictures(folder: Path) -> list[Path]:
    """The page of `make live` once somebody has signed up and joined a company."""
    files = []
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as live, chromium.started() as browser:
        for look, scheme, size in LOOKS:
            page = _new_page(browser, scheme, size)
            page.goto(live.address("The demo page"))
            page.wait_for_selector("body[data-ready]")
            for clicked in (
                "text=Pricing",
                "text=Start a trial",
                "#signup button",
                "#company button",
                "text=Order for",
            ):
                page.click(clicked)
                page.wait_for_timeout(_BETWEEN_CLICKS_MS)
            expect(page.locator("#calls .row")).to_have_count(len(CLICKS), timeout=30_000)
            page.wait_for_timeout(_SETTLED_MS)
            files.append(_picture(page, folder / f"live-{look}.png"))
    return files


def _picture(page: Page, file: Path) -> Path:
    page.screenshot(path=file)
    page.context.close()
    return file


def _new_page(browser: Browser, scheme: str, size: tuple[int, int]) -> Page:
    viewport = {"width": size[0], "height": size[1]}
    return browser.new_context(color_scheme=scheme, viewport=viewport).new_page()  # type: ignore[arg-type]


def opened(browser: Browser, server: Served, *, scheme: str = "light", size: tuple[int, int] = WIDE) -> Page:
    """The debugger's page, once it shows calls."""
    page = _new_page(browser, scheme, size)
    page.goto(f"{server.address}/debugger")
    page.wait_for_selector(".call")
    return page


def example_messages() -> Iterator[Message]:
    """Some of the examples, as the receiver stores them."""
    for line in (EXAMPLES / "events.jsonl").read_bytes().splitlines()[_FROM : _FROM + _CALLS]:
        try:
            json.loads(line)
        except ValueError:
            yield Message(connection="Web app", payload=line)
            continue
        yield Message(connection="Web app", payload=b'{"batch":[%b],"receivedAt":"2026-11-29T12:00:00Z"}' % line)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.receiver.debugger.screenshots DIR")
    print(*pictures(Path(sys.argv[1])), sep="\n")
