"""Runs the whole way on this machine, for `make live`.

Starts the receiver, a job on the directory that it fills, and a demo page: each click there is a call, and beside it
the tables show what becomes of it. Needs nothing but Python and what Prism needs; Segment's own SDK comes from npm
where that is, else the page sends by itself. Ends at Ctrl-C, and leaves the tables in `demo.duckdb`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from examples import browser_sdk
from examples.live_server import LivePage, origins
from pipeline.__main__ import main as segment_pipeline
from pipeline.companion import running
from pipeline.run import stop
from pipeline.warehouses.duckdb.database import Database

HOST: Final = "127.0.0.1"
_CONNECTION: Final = "Demo shop"
_WRITE_KEY: Final = "LIVE_WRITE_KEY"
_ALIAS_WINDOW_S: Final = 0.5
"""A contact's row waits for the end of its window: half a second, so that it is there within three seconds of the call,
of which the receiver's file takes one."""
_START_S: Final = 30.0
_LOOK_S: Final = 0.25
_PORTS: Final = 20
"""So many ports are tried, from the one that is asked for."""


_LISTENING: Final = re.compile(r"listening at (http://[^\s,]+),")
_TAKEN: Final = "cannot be used, on"


class FailedError(Exception):
    """What ends the demonstration, in one line."""


def run(argv: Sequence[str] | None = None) -> int:
    """Runs until it is told to stop. Returns 0 then; a failure is one line, and 1."""
    parser = argparse.ArgumentParser(prog="make live", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="of the page; the next free one (default: 8000)")
    parser.add_argument("--receiver_port", type=int, default=8080, help="the receiver's, likewise (default: 8080)")
    parser.add_argument("--warehouse", type=Path, default=Path("demo.duckdb"), help="made anew: demo.duckdb")
    parser.add_argument("--no_browser", action="store_true", help="only print the page's address")
    parser.add_argument("--no_npm", action="store_true", help="do not ask npm for Segment's SDK")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="segment-live-", ignore_cleanup_errors=True) as folder:
            return _live(Path(folder), options)
    except FailedError as failed:
        print(f"make live: {failed}", file=sys.stderr)
        return 1


def _live(folder: Path, options: argparse.Namespace) -> int:
    """Runs everything in the folder until it is told to stop."""
    print(f"The receiver's files and its log are in {folder} while this runs", flush=True)
    key = secrets.token_hex(12)
    inbox, warehouse = folder / "inbox", options.warehouse.absolute()
    inbox.mkdir()
    for old in (warehouse, warehouse.with_name(f"{warehouse.name}.wal")):
        old.unlink(missing_ok=True)
    log = folder / "receiver.log"
    with free_socket(options.port) as page_socket:
        connections = _connections(folder, origins(page_socket))
        command = [sys.executable, "-m", "receiver", f"--connections={connections}", f"--directory={inbox}"]
        with _receiver(command, {_WRITE_KEY: key}, log, options.receiver_port) as receiver:
            scripts = _scripts(ask_npm=not options.no_npm)
            page = LivePage(page_socket, receiver=receiver, write_key=key, scripts=scripts, warehouse=str(warehouse))
            watch = _Watch(page, log, open_browser=not options.no_browser)
            with page.served(), watch.watching():
                status = segment_pipeline(
                    [
                        f"--input_directory={inbox}",
                        f"--connections={connections}",
                        f"--warehouse=duckdb:///{warehouse}",
                        f"--alias_window={_ALIAS_WINDOW_S:g}",
                    ]
                )
    if watch.problem is not None:
        raise FailedError(watch.problem)
    return status


def free_socket(port: int) -> socket.socket:
    """A socket that listens at the port, or the next that is free. Raises FailedError."""
    for candidate in range(port, min(port + _PORTS, 65_536)):
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, candidate))
    raise _no_port(port)


def _no_port(port: int) -> FailedError:
    return FailedError(f"the ports {port} to {port + _PORTS - 1} are in use; give another by --port or --receiver_port")


def _scripts(*, ask_npm: bool) -> Path | None:
    """The folder of Segment's SDK; None where the page has to do without."""
    if not ask_npm:
        return None
    if not browser_sdk.is_kept():
        print(f"Segment's SDK for browsers ({browser_sdk.PACKAGE}) is not here yet: npm gets it, once", flush=True)
    try:
        return browser_sdk.scripts()
    except browser_sdk.MissingError as missing:
        print(f"The page sends its calls itself, without Segment's SDK: {missing}", flush=True)
        return None


def _connections(folder: Path, origins: Sequence[str]) -> Path:
    """The connections file: one connection, whose calls come from the page."""
    receive = {"write_keys": [f"${{{_WRITE_KEY}}}"], "origins": [*origins]}
    mapping = {"method": "group", "fallback": "email_domain"}
    document = {"connections": [{"name": _CONNECTION, "account_mapping": mapping, "receive": receive}]}
    file = folder / "connections.yaml"
    file.write_text(json.dumps(document, indent=2))
    return file


# ---- the receiver ----


@contextlib.contextmanager
def _receiver(command: Sequence[str], environment: Mapping[str, str], log: Path, port: int) -> Iterator[str]:
    """Runs the receiver at the port, or at the next that is free, and gives its address. Only the receiver itself knows
    that: a port that is free now may be taken a moment later. Raises FailedError."""
    for candidate in range(port, port + _PORTS):
        with (
            log.open("wb") as output,
            running([*command, f"--host={HOST}", f"--port={candidate}"], environment, output),
        ):
            address = _address_told(log)
            if address is not None:
                yield address
                return
    raise _no_port(port)


def _address_told(log: Path) -> str | None:
    """The address that the receiver tells when it listens, None where its port is taken. Raises FailedError."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        written = log.read_text(errors="replace").strip()
        if (told := _LISTENING.search(written)) is not None:
            return told[1]
        if _TAKEN in written:
            return None
        if written:
            break
        time.sleep(_LOOK_S / 5)
    raise FailedError(f"the receiver does not start: {_last_line(log.read_text(errors='replace').strip())}")


def _lives(address: str) -> bool:
    """Whether the receiver is there; one that is busy is."""
    try:
        with urllib.request.urlopen(f"{address}/live", timeout=10):
            return True
    except urllib.error.URLError as error:
        return not isinstance(error.reason, ConnectionError)
    except (TimeoutError, ConnectionError):
        return True


def _last_line(text: str) -> str:
    lines = text.splitlines()
    return lines[-1] if lines else "it says nothing"


class _Watch:
    """Tells where the page is once the job has made the tables, and stops the job when the receiver is gone."""

    def __init__(self, page: LivePage, log: Path, *, open_browser: bool) -> None:
        self.problem: str | None = None
        self._page = page
        self._log = log
        self._open_browser = open_browser
        self._ended = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        is_told = False
        while not self._ended.wait(_LOOK_S):
            is_told = is_told or self._tell()
            if not _lives(self._page.receiver):
                last = _last_line(self._log.read_text(errors="replace").strip())
                self.problem = f"the receiver has ended: {last}"
                stop()
                return

    def _tell(self) -> bool:
        """Whether the tables are made: then the address is told."""
        if not Database.row_counts(self._page.warehouse, ("events", "contacts", "accounts")):
            return False
        print(f"\nThe demo page:  {self._page.address}", flush=True)
        print(f"The debugger:   {self._page.receiver}/debugger", flush=True)
        print("Ctrl-C ends all of it.\n", flush=True)
        if self._open_browser and _has_display():
            webbrowser.open(self._page.address)
        return True


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
