"""Serves the demo page of `make live`, and the tables as they are now."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from examples.browser_sdk import VERSION
from pipeline.warehouses.duckdb.database import Database

_FOLDER: Final = Path(__file__).with_name("live_page")
_FILES: Final = {"/": "live.html", "/live.css": "live.css", "/live.js": "live.js"}
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}
_QUERIES: Final = {
    "events": """
        SELECT message_id AS key, epoch_ms(received_at) AS "when", type, name, external_id AS contact,
               account_id AS account
        FROM events_resolved ORDER BY received_at DESC, timestamp DESC LIMIT 12
    """,
    "contacts": """
        SELECT external_id AS key, external_id AS contact, name, email, account_name AS account,
               array_to_string(previous_ids, ', ') AS "earlier ids"
        FROM contacts_resolved ORDER BY last_identified_at DESC LIMIT 8
    """,
    "accounts": """
        SELECT account_id AS key, account_id AS account, name, plan, employees, account_source AS "named by"
        FROM accounts ORDER BY last_named_at DESC LIMIT 8
    """,
}
_WRITTEN: Final = """
    SELECT message_id AS key FROM (SELECT message_id, received_at FROM events
    UNION ALL SELECT message_id, received_at FROM identity_calls) ORDER BY received_at DESC LIMIT 60
"""


class LivePage:
    """The demo page at the address of a socket that listens. `scripts` is the folder of Segment's SDK, where there is
    one; `warehouse` is the file whose tables are shown, which this process has open."""

    def __init__(
        self, listener: socket.socket, *, receiver: str, write_key: str, scripts: Path | None, warehouse: str
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.address = f"http://{host}:{port}"
        self.receiver = receiver
        self.warehouse = warehouse
        self._hosts = _hosts(listener)
        self._write_key = write_key
        self._scripts = scripts
        self._server = ThreadingHTTPServer((host, port), self._handler(), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.daemon_threads = True

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Serves while the block lasts."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def content(self, path: str) -> tuple[str, bytes] | None:
        """(the kind, the bytes) of what is at a path."""
        if path in _FILES:
            return _read(_FOLDER / _FILES[path])
        if path == "/config.json":
            return _json({"receiver": self.receiver, "writeKey": self._write_key, "sdk": self._scripts and VERSION})
        if path == "/tables.json":
            return _json(tables(self.warehouse))
        name = path.removeprefix("/sdk/")
        if name != path and self._scripts is not None and name in {file.name for file in self._scripts.glob("*.js")}:
            return _read(self._scripts / name)
        return None

    @property
    def policy(self) -> str:
        """What the page may load, and where it may send."""
        return f"default-src 'self'; img-src 'self' data:; connect-src 'self' {self.receiver}; frame-ancestors 'none'"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_named = self.headers.get("host") in page._hosts  # else another site's name may lead here
                asked = page.content(urlsplit(self.path).path) if is_named else None
                if asked is None:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                kind, content = asked
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Security-Policy", page.policy)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the browser is gone
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Logs nothing."""

        return Handler


def origins(listener: socket.socket) -> tuple[str, ...]:
    """Where the calls of a page come from that is served at the socket."""
    return tuple(f"http://{host}" for host in _hosts(listener))


def _hosts(listener: socket.socket) -> tuple[str, ...]:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}", f"localhost:{port}"


def tables(warehouse: str) -> dict[str, Any]:
    """The newest rows of each table, and the message_ids of the last calls that have a row."""
    rows = {name: Database.query(warehouse, query) for name, query in _QUERIES.items()}
    return {"tables": rows, "written": [row["key"] for row in Database.query(warehouse, _WRITTEN)]}


def _read(file: Path) -> tuple[str, bytes]:
    return _TYPES[file.suffix], file.read_bytes()


def _json(document: object) -> tuple[str, bytes]:
    return _TYPES[".json"], json.dumps(document).encode()
