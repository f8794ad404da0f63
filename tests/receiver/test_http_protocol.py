"""A connection to the server: which requests the application gets whole, and what becomes of their answers."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from receiver.asgi import SUCCESS, Answer, ReceiveEvent, Request, Scope, SendEvent
from receiver.http_protocol import HttpProtocol

SECONDS = 10.0


@dataclass
class Stub:
    """An application that answers by ASGI what it does not answer whole, and tells in both cases what it got."""

    takes_whole: bool = True
    fault: Exception | None = None
    answer: Answer = SUCCESS
    is_stopping: bool = False
    asked: list[str] = field(default_factory=list)
    holds_answers: bool = False
    """Whether each answer waits for the test to `release` it."""
    held: list[Callable[[], None]] = field(default_factory=list)

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        self.asked.append(
            f"ASGI {scope['method']} {scope['raw_path'].decode()}?{scope['query_string'].decode()} {body!r}"
        )
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ASGI"})

    def answer_whole(self, request: Request, body: bytes, send: Callable[[Answer], None]) -> bool:
        if self.fault is not None:
            raise self.fault
        if not self.takes_whole:
            return False
        self.asked.append(f"whole {request.method} {request.path}?{request.query.decode()} {body!r}")
        if self.holds_answers:
            self.held.append(lambda: send(self.answer))
        else:
            asyncio.get_running_loop().call_soon(send, self.answer)
        return True

    async def wait_for_whole(self) -> None:
        """Until it has got a request whole, whose answer it holds."""
        await until(lambda: bool(self.held))

    def release(self) -> None:
        self.held.pop()()


@asynccontextmanager
async def connected(
    stub: Stub, **settings: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, uvicorn.Server]]:
    """A connection to a server of the application, and the server."""
    config = uvicorn.Config(stub, http=HttpProtocol, port=0, lifespan="off", log_config=None, **settings)
    server = uvicorn.Server(config)
    config.load()
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer, server
    finally:
        writer.close()
        server.should_exit = True
        await asyncio.wait_for(serving, SECONDS)


def post(body: bytes, path: bytes = b"/a?b=c", fields: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, fields, len(body), body)


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), SECONDS)


def exchanged(stub: Stub, *parts: bytes, answers: int) -> bytes:
    """What is answered to these parts, which come one after another, up to the end of so many answers."""

    async def exchange() -> bytes:
        received = b""
        async with connected(stub) as (reader, writer, _):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.05)
            while received.count(b"HTTP/1.1 ") < answers or not re.search(rb"(\}|ASGI)\Z", received):
                received += await asyncio.wait_for(reader.read(65536), SECONDS)
        return received

    return asyncio.run(exchange())


WHOLE, ASGI = "whole POST /a?b=c b'body'", "ASGI POST /a?b=c b'body'"
HEAD = post(b"body").removesuffix(b"body")
CHUNKED = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("what", "parts", "asked"),
    [
        ("whole", [post(b"body")], [WHOLE]),
        ("without a body", [post(b"")], ["whole POST /a?b=c b''"]),
        ("the head first", [HEAD, b"body"], [ASGI]),
        ("the head and a part", [HEAD + b"bo", b"dy"], [ASGI]),
        ("in the middle of the head", [HEAD[:30], HEAD[30:] + b"body"], [WHOLE]),
        ("byte by byte", [HEAD[:1], HEAD[1:2], HEAD[2:] + b"b", b"o", b"d", b"y"], [ASGI]),
        ("in chunks", [CHUNKED], [ASGI]),
        ("without a length", [b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"], ["ASGI GET /live? b''"]),
        ("of HTTP/1.0", [post(b"body").replace(b"1.1", b"1.0")], [ASGI]),
        ("for a proxy", [post(b"body", b"http://x/a?b=c")], [ASGI]),
        ("two", [post(b"body"), post(b"body")], [WHOLE, WHOLE]),
        ("two at once", [post(b"body") * 2], [WHOLE, ASGI]),
        ("one and a part", [post(b"body") + HEAD, b"body"], [WHOLE, ASGI]),
        ("others before and after", [CHUNKED, post(b"body"), CHUNKED, post(b"body")], [ASGI, WHOLE, ASGI, WHOLE]),
    ],
)
def test_a_request_is_asked_for_whole_where_it_came_whole(what: str, parts: list[bytes], asked: list[str]) -> None:
    stub = Stub()
    received = exchanged(stub, *parts, answers=len(asked))
    assert stub.asked == asked
    assert received.count(b"HTTP/1.1 200 OK\r\n") == len(asked)


def test_what_the_application_does_not_answer_whole_it_is_asked_by_asgi() -> None:
    stub = Stub(takes_whole=False)
    received = exchanged(stub, post(b"body"), post(b"body"), answers=2)
    assert stub.asked == [ASGI, ASGI]
    assert received.count(b"\r\n\r\nASGI") == 2


@pytest.mark.parametrize(
    ("what", "sent", "answer", "expected", "is_closed"),
    [
        ("a success", post(b"body"), SUCCESS, b'HTTP/1.1 200 OK\r\nDATE%b{"success":true}', False),
        (
            "the client's last",
            post(b"body", fields=b"Connection: close\r\n"),
            SUCCESS,
            b'HTTP/1.1 200 OK\r\nDATE%b{"success":true}',
            True,
        ),
        (
            "a refusal",
            post(b"body"),
            Answer(status=429, body=b'{"a":1}', headers=((b"retry-after", b"5"),)),
            b'HTTP/1.1 429 Too Many Requests\r\nDATE%b{"a":1}',
            False,
        ),
        (
            "our last",
            post(b"body"),
            Answer(status=413, body=b"{}", is_last=True),
            b"HTTP/1.1 413 Request Entity Too Large\r\nDATE%b{}",
            True,
        ),
    ],
)
def test_an_answer_is_written(what: str, sent: bytes, answer: Answer, expected: bytes, is_closed: bool) -> None:
    async def exchange() -> bytes:
        async with connected(Stub(answer=answer)) as (reader, writer, _):
            writer.write(sent)
            received = await asyncio.wait_for(reader.readuntil(answer.body), SECONDS)
            if is_closed:
                assert await asyncio.wait_for(reader.read(), SECONDS) == b""
            else:
                writer.write(sent)
                assert await asyncio.wait_for(reader.readuntil(answer.body), SECONDS) == received
        return received

    fields = [b"content-type: application/json", b"content-length: %d" % len(answer.body)]
    fields += [b"%b: %b" % header for header in answer.headers]
    if is_closed:
        fields.append(b"connection: close")
    written = re.sub(rb"date: [^\r]+ GMT\r\n", b"DATE", asyncio.run(exchange()))
    assert re.sub(rb"server: [^\r]+\r\n", b"", written) == expected % (b"\r\n".join(fields) + b"\r\n\r\n")


def test_a_fault_is_answered_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    stub = Stub(fault=KeyError("why"))
    with caplog.at_level(logging.ERROR):
        received = exchanged(stub, post(b"body"), answers=1)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in received
    assert "KeyError: 'why'" in caplog.text


def test_requests_wait_for_the_answer_of_one_that_came_whole() -> None:
    async def exchange() -> None:
        stub = Stub(holds_answers=True)
        async with connected(stub) as (reader, writer, _):
            writer.write(post(b"body") + CHUNKED)
            await stub.wait_for_whole()
            await asyncio.sleep(0.1)
            assert stub.asked == [WHOLE]
            stub.release()
            await asyncio.wait_for(reader.readuntil(b'{"success":true}'), SECONDS)
            await asyncio.wait_for(reader.readuntil(b"ASGI"), SECONDS)
            assert stub.asked == [WHOLE, ASGI]
            writer.write(post(b"body"))
            await stub.wait_for_whole()
            stub.release()
            await asyncio.wait_for(reader.readuntil(b'{"success":true}'), SECONDS)

    asyncio.run(exchange())


def test_whoever_went_away_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    async def exchange() -> None:
        stub = Stub(holds_answers=True)
        async with connected(stub) as (_, writer, _):
            writer.write(post(b"body"))
            await stub.wait_for_whole()
            writer.transport.abort()
            await asyncio.sleep(0.1)
            stub.release()
            await asyncio.sleep(0.1)

    with caplog.at_level(logging.WARNING):
        asyncio.run(exchange())
    assert caplog.text == ""


def test_a_connection_is_kept_from_the_last_answer_on() -> None:
    async def exchange() -> float:
        async with connected(Stub(), timeout_keep_alive=3) as (reader, writer, _):
            for part in (post(b"body"), HEAD[:30], HEAD[30:] + b"body"):
                writer.write(part)
                await asyncio.sleep(0.5)
            writer.write(post(b"body"))
            began = time.monotonic()
            received = await asyncio.wait_for(reader.read(), SECONDS)
            assert received.count(SUCCESS.body) == 3
            return time.monotonic() - began

    assert asyncio.run(exchange()) > 2.9


def test_the_server_ends_once_it_has_answered() -> None:
    async def exchange() -> None:
        stub = Stub(holds_answers=True)
        async with connected(stub) as (reader, writer, server):
            writer.write(post(b"body"))
            await stub.wait_for_whole()
            server.should_exit = True
            await asyncio.sleep(0.5)
            stub.release()
            received = await asyncio.wait_for(reader.read(), SECONDS)
        assert b"connection: close" in received
        assert received.endswith(SUCCESS.body)

    asyncio.run(exchange())
