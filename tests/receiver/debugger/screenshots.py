"""Makes pictures of the debugger: `python -m tests.receiver.debugger.screenshots DIR`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page

from pipeline.connections_file import load_connections
from receiver.sink import Message
from tests import chromium
from tests.receiver.debugger.served import Served, served

EXAMPLES = Path(__file__).parents[3] / "examples"
WIDE = (1440, 900)
NARROW = (420, 860)
_CALLS = 160
_FROM = 600


def pictures(folder: Path) -> list[Path]:
    """Writes a picture of the debugger for each scheme and width; returns the files."""
    with served(load_connections(str(EXAMPLES / "connections.yaml"))) as server, chromium.started() as browser:
        server.store(*example_messages())
        return [
            picture(
                browser, server, folder / f"debugger-{scheme}-{'wide' if size is WIDE else 'narrow'}.png", scheme, size
            )
            for scheme in ("light", "dark")
            for size in (WIDE, NARROW)
        ]


def picture(browser: Browser, server: Served, file: Path, scheme: str, size: tuple[int, int]) -> Path:
    """Opens the page, selects the newest identity call, and writes a picture."""
    page = opened(browser, server, scheme=scheme, size=size)
    page.locator('.call:has([data-outcome="identity_call"])').first.click()
    page.screenshot(path=file)
    page.context.close()
    return file


def opened(browser: Browser, server: Served, *, scheme: str = "light", size: tuple[int, int] = WIDE) -> Page:
    """The debugger's page, once it shows calls."""
    viewport = {"width": size[0], "height": size[1]}
    page = browser.new_context(color_scheme=scheme, viewport=viewport).new_page()  # type: ignore[arg-type]
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
