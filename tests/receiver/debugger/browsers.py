"""Asks the debugger as a browser does, without a server between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from receiver.debugger.application import Debugger
from receiver.sink import Message

PATIENCE_S = 20.0


def track(name: str, **fields: Any) -> Message:
    call = {"type": "track", "event": name, "userId": "u1", "messageId": name, **fields}
    document = {"batch": [call], "receivedAt": "2026-03-01T00:00:00Z"}
    return Message(connection="default", payload=json.dumps(document).encode())


def scope(path: str, *, method: str = "GET", client: str | None = "127.0.0.1", **headers: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    named = {"host": "localhost:8080", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": None if client is None else (client, 50_000),
    }


async def answer(debugger: Debugger, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what does not go on."""
    browser = Browser(debugger, asked)
    await asyncio.wait_for(browser.task, PATIENCE_S)
    return browser.status, browser.headers, browser.body


class Browser:
    """A request that is under way."""

    def __init__(self, debugger: Debugger, asked: dict[str, Any]) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        self.takes = asyncio.Event()
        """Whether it takes what is sent."""
        self.takes.set()
        self._gone = asyncio.Event()
        self._news = asyncio.Event()
        self.task: asyncio.Future[None] = asyncio.ensure_future(debugger(asked, self._receive, self._send))

    async def _receive(self) -> MutableMapping[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        await self.takes.wait()
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = {name.decode(): value.decode() for name, value in event["headers"]}
        else:
            self.body += event["body"]
            self.is_complete = not event["more_body"]
        self._news.set()

    async def leave(self) -> None:
        self._gone.set()
        await asyncio.wait_for(self.task, PATIENCE_S)

    @property
    def events(self) -> list[dict[str, str]]:
        """The server-sent events so far."""
        texts = self.body.decode().split("\n\n")[:-1]
        return [dict(line.split(": ", 1) for line in text.split("\n") if line != ": ") for text in texts]

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [call for event in self._calls_events() for call in event["calls"]]

    @property
    def names(self) -> list[str]:
        return [call["name"] for call in self.calls]

    @property
    def missing(self) -> int:
        return sum(event["missing"] for event in self._calls_events())

    @property
    def last_event_id(self) -> str:
        return next(event["id"] for event in reversed(self.events) if "id" in event)

    def _calls_events(self) -> list[dict[str, Any]]:
        return [json.loads(event["data"]) for event in self.events if event.get("event") == "calls"]

    async def until(self, holds: Callable[[Browser], object]) -> Browser:
        async def wait() -> None:
            while not holds(self):
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(wait(), PATIENCE_S)
        return self


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test's coroutine."""
    asyncio.run(test())  # type: ignore[arg-type]
