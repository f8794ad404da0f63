"""A server before the receiver that fails as servers and networks do, for as many requests as it is told."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fault(Enum):
    """What becomes of a request with calls."""

    ERROR = auto()
    """500."""
    RATE_LIMITED = auto()
    """429, to be sent again after a second."""
    NO_ANSWER = auto()
    """The connection ends without an answer."""
    SILENCE = auto()
    """Nothing comes, until the client gives up."""
    LOST_ANSWER = auto()
    """The receiver stores it and answers, and the connection ends before the answer has come."""


class FaultyServer(ThreadingHTTPServer):
    """Each request that posts calls meets the next fault of the plan; after the last, the receiver."""

    daemon_threads = True

    def __init__(self, receiver: str, plan: Sequence[Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.host}"
        self._plan = list(plan)
        self._lock = threading.Lock()
        self.before_loss: Callable[[], None] | None = None
        """Called when an answer is about to be lost: the client does not know yet."""
        self.preflights: list[str] = []
        """The paths that a browser asked about."""
        self.refused: list[int] = []
        """What the receiver answered to requests with calls where it was not 200."""
        self.stored: set[str] = set()
        """The ids of the calls that it answered 200 to, whether or not the answer was lost."""
        self.delivered: set[str] = set()
        """The ids of the calls whose senders know it."""

    def next_fault(self) -> Fault | None:
        with self._lock:
            return self._plan.pop(0) if self._plan else None

    @property
    def is_through(self) -> bool:
        """Whether every fault was met."""
        return not self._plan


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_GET(self) -> None:
        self._pass()

    def do_OPTIONS(self) -> None:
        self.server.preflights.append(self.path)
        self._pass()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.rstrip("/").endswith("/m"):
            self._pass(body)  # what the client measures of itself
            return
        try:
            self._meet(self.server.next_fault(), body)
        except ConnectionError:  # one of the two is gone
            self.close_connection = True

    def _meet(self, fault: Fault | None, body: bytes) -> None:
        if fault is Fault.ERROR:
            self._fail(500)
        elif fault is Fault.RATE_LIMITED:
            self._fail(429, ("Retry-After", "1"))
        elif fault is Fault.NO_ANSWER:
            self.close_connection = True
        elif fault is Fault.SILENCE:
            self.connection.recv(1)
            self.close_connection = True
        elif fault is Fault.LOST_ANSWER:
            self._note(body, self._ask(body)[0])
            if self.server.before_loss is not None:
                self.server.before_loss()
            self.close_connection = True
        else:
            status = self._pass(body)
            self._note(body, status)
            self.server.delivered |= self._ids(body) if status == 200 else set()

    def _note(self, body: bytes, status: int) -> None:
        if status == 200:
            self.server.stored |= self._ids(body)
        else:
            self.server.refused.append(status)

    def _ids(self, body: bytes) -> set[str]:
        """The ids of the calls of a request."""
        document = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        return {call["messageId"] for call in document.get("batch", [document])}

    def _fail(self, status: int, *headers: tuple[str, str]) -> None:
        """Answers as a server does whose failures pages may read."""
        origin = self.headers.get("Origin", "*")
        allowed = (("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", "Retry-After"))
        self._answer(status, [*allowed, *headers], b'{"success":false}')

    def _pass(self, body: bytes = b"") -> int:
        """Has the receiver answer; its status."""
        status, headers, content = self._ask(body)
        self._answer(status, headers, content)
        return status

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        receiver = HTTPConnection(self.server.receiver, timeout=30)
        with contextlib.closing(receiver):
            receiver.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                receiver.putheader(name, value)
            receiver.endheaders(body)
            answer = receiver.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def before(receiver: str, plan: Sequence[Fault]) -> Iterator[FaultyServer]:
    """A server before the receiver at HOST:PORT, while the block lasts."""
    server = FaultyServer(receiver, plan)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
