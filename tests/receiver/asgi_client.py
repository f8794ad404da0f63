"""Drives the application in process: a sink that keeps messages in memory, and requests without a server.

A request reaches the application by ASGI, or whole, as the server hands it over that has its head and its body."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import unquote

from receiver.application import Application
from receiver.asgi import Answer, AsgiApplication, Request, fields_of, headers_of
from receiver.sink import Message, Unavailable
from receiver.sources import ReceivingConnection, Sources
from schemas.tables import Timestamp

WRITE_KEY = "site-write-key"
API_KEY = "site-api-key"
SECRET = "site-shared-secret"
APP_KEY = "app-write-key"
ORIGIN = "https://www.example.com"
RECEIVED_AT = "2026-03-01T12:00:00.250000Z"
NOW = Timestamp(1_772_366_400_250_000)

SITE = ReceivingConnection(
    name="Marketing site",
    path="marketing-site",
    api_key=API_KEY,
    shared_secret=SECRET,
    write_keys=(WRITE_KEY,),
    origins=frozenset({ORIGIN}),
)
APP = ReceivingConnection(name="App", path="app", write_keys=(APP_KEY,))
SIGNED = ReceivingConnection(name="Signed", path="signed", shared_secret=SECRET)
KEYED = ReceivingConnection(name="Keyed", path="keyed", api_key="keyed-api-key")
CONNECTIONS = (SITE, APP, SIGNED, KEYED)


@dataclass
class MemorySink:
    """Keeps messages in memory; `failure` is raised instead where it is set."""

    stored: list[Message] = field(default_factory=list)
    failure: Unavailable | None = None
    is_open: bool = False

    async def start(self) -> None:
        self.is_open = True

    async def store(self, messages: Sequence[Message]) -> None:
        if self.failure is not None:
            raise self.failure
        self.stored += messages

    def problem(self) -> str | None:
        return None if self.failure is None else str(self.failure)

    async def close(self) -> None:
        self.is_open = False


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """The application, its sink, and requests to it; they come whole where `sends_whole` is set, and they have one
    part."""

    sends_whole: ClassVar = False

    def __init__(
        self,
        *,
        connections: Sequence[ReceivingConnection] = CONNECTIONS,
        peer: str = "127.0.0.1",
        sink: MemorySink | None = None,
        **settings: Any,
    ) -> None:
        self.sink = sink or MemorySink()
        self.peer = peer
        settings.setdefault("clock", lambda: NOW)
        self.application = Application(Sources(connections), self.sink, **settings)

    @property
    def stored(self) -> list[Message]:
        return self.sink.stored

    @property
    def calls(self) -> list[Any]:
        """The calls of all stored messages."""
        return [call for message in self.stored for call in json.loads(message.payload)["batch"]]

    @property
    def envelope(self) -> dict[str, Any]:
        """The one message that is stored."""
        (message,) = self.stored
        envelope: dict[str, Any] = json.loads(message.payload)
        return envelope

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Answered:
        return asyncio.run(self.requested(method, target, body, headers))

    def post(self, target: str, document: object = None, **headers: str) -> Answered:
        """A POST of a document, with the site's write key in Basic unless there are headers. Underscores in their names
        are dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", target, body, named or basic(WRITE_KEY))

    async def requested(
        self,
        method: str,
        target: str,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        to: AsgiApplication | None = None,
    ) -> Answered:
        pairs = [*(headers.items() if isinstance(headers, Mapping) else headers)]
        path, _, query = target.partition("?")
        if self.sends_whole and isinstance(body, bytes) and to is None:
            if not any(name.lower() == "content-length" for name, _ in pairs):
                pairs.append(("Content-Length", str(len(body))))
            request = Request(
                method=method,
                path=path,
                query=query.encode(),
                headers=headers_of(_fields(pairs)),
                scheme="http",
                peer=self.peer,
            )
            answered = await self._answered_whole(request, body)
            if answered is not None:
                return answered
        described = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "scheme": "http",
            "client": (self.peer, 40000),
            "headers": _fields(pairs),
        }
        return await called(to or self.application, described, [body] if isinstance(body, bytes) else body)

    async def _answered_whole(self, request: Request, body: bytes) -> Answered | None:
        """What the application answers; None where it has to be asked by ASGI."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if not self.application.answer_whole(request, body, answered.set_result):
            return None
        assert not answered.done(), "it is answered in a later turn of the event loop"
        answer = await answered
        headers = {name.decode(): value.decode("latin-1") for name, value in fields_of(answer)}
        return Answered(answer.status, headers, answer.body)


def _fields(pairs: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]


async def called(application: AsgiApplication, scope: dict[str, Any], parts: Sequence[bytes]) -> Answered:
    """What the application answers to a body that comes in parts; after the last, nothing more comes."""
    events = [
        {"type": "http.request", "body": part, "more_body": position < len(parts) - 1}
        for position, part in enumerate(parts)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        if events:
            return events.pop(0)
        return await asyncio.Event().wait()

    async def send(event: Any) -> None:
        sent.append(event)

    await application(scope, receive, send)
    start, *rest = sent
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Answered(start["status"], headers, b"".join(event["body"] for event in rest))


def basic(key: str, *, colon: bool = True, padded: bool = True) -> dict[str, str]:
    encoded = base64.b64encode(f"{key}{':' * colon}".encode()).decode()
    return {"Authorization": f"Basic {encoded if padded else encoded.rstrip('=')}"}
