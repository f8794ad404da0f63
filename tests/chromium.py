"""Chromium without a window, for tests of what browsers do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def require() -> str:
    """The path of the browser. Skips the test where there is none; in CI that is a failure."""
    for path in map(shutil.which, _COMMANDS):
        if path is not None:
            return path
    missing = "there is no Chromium: on Debian, apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def started() -> Iterator[Browser]:
    """Runs a browser with a new profile while the block lasts. An event loop of this thread runs as long, so that
    nothing in the block may start another."""
    path = require()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()
