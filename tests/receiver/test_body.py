"""Inflating while counting."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest

from receiver.asgi import Event
from receiver.body import Body, BodyRefused, is_plain
from receiver.limits import Limits, Load

PLAIN = bytes(range(256)) * 400


def gzipped(content: bytes) -> bytes:
    """The same bytes in every process, since tests are named by them."""
    return gzip.compress(content, mtime=0)


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def read(encoding: bytes, parts: Sequence[bytes], *, limit: int = 1_000_000) -> bytes:
    events: list[Event] = [
        {"type": "http.request", "body": part, "more_body": position < len(parts) - 1}
        for position, part in enumerate(parts)
    ]

    async def receive() -> Event:
        return events.pop(0)

    in_flight = Load(Limits())
    body = Body(receive, {b"content-encoding": encoding}, in_flight)

    async def whole() -> bytes:
        content = await body.read(limit=limit, seconds=5)
        assert in_flight.bytes == body.size == len(content)
        return content

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("whole", [PLAIN]),
        ("empty", [b""]),
        ("in two parts", [PLAIN[:9], PLAIN[9:]]),
        ("the first is late", [None, PLAIN]),
        ("the second is late", [PLAIN[:9], None, PLAIN[9:]]),
    ],
)
def test_a_body_is_read_when_it_comes(what: str, parts: Sequence[bytes | None]) -> None:
    """None among the parts is a turn of the event loop in which nothing comes."""
    left = list(parts)

    async def receive() -> Event:
        while (part := left.pop(0)) is None:
            await asyncio.sleep(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def whole() -> bytes:
        in_flight = Load(Limits())
        body = Body(receive, {}, in_flight)
        content = await body.read(limit=1_000_000, seconds=5)
        assert in_flight.bytes == body.size == len(content)
        return content

    assert asyncio.run(whole()) == (PLAIN if any(parts) else b"")


def test_a_body_that_does_not_come_is_given_up_in_time() -> None:
    async def silent() -> None:
        body = Body(asyncio.Event().wait, {}, Load(Limits()))  # type: ignore[arg-type]
        with pytest.raises(BodyRefused, match="in time"):
            await body.read(limit=100, seconds=0.05)

    asyncio.run(silent())


@pytest.mark.parametrize("limit", [0, 9])
def test_a_body_that_is_too_long_is_not_counted(limit: int) -> None:
    async def receive() -> Event:
        return {"type": "http.request", "body": bytes(10)}

    in_flight = Load(Limits())
    with pytest.raises(BodyRefused, match="more than"):
        asyncio.run(Body(receive, {}, in_flight).read(limit=limit, seconds=5))
    assert in_flight.bytes == 0


@pytest.mark.parametrize(
    ("what", "headers", "expected"),
    [
        ("its length alone", {b"content-length": b"3"}, True),
        ("no length", {}, False),
        ("another length", {b"content-length": b"4"}, False),
        ("two lengths", {b"content-length": b"3, 3"}, False),
        ("a length with a zero before it", {b"content-length": b"03"}, False),
        ("an encoding", {b"content-length": b"3", b"content-encoding": b"gzip"}, False),
        ("chunks", {b"content-length": b"3", b"transfer-encoding": b"chunked"}, False),
    ],
)
def test_a_plain_body_is_of_the_length_that_is_told(what: str, headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_plain(headers, b"abc") is expected


@pytest.mark.parametrize("size", [1, 7, 1000, 10**9], ids="{} at once".format)
@pytest.mark.parametrize(
    ("encoding", "packed", "expected"),
    [
        (b"", PLAIN, PLAIN),
        (b"identity", PLAIN, PLAIN),
        (b"gzip", gzipped(PLAIN), PLAIN),
        (b"X-GZIP ", gzipped(PLAIN), PLAIN),
        (b"gzip", gzipped(b""), b""),
        (b"gzip", gzipped(PLAIN[:50]) + gzipped(PLAIN[50:]), PLAIN),
        (b"deflate", zlib.compress(PLAIN), PLAIN),
        (b"deflate", raw(PLAIN), PLAIN),
    ],
)
def test_a_body_comes_to(encoding: bytes, packed: bytes, expected: bytes, size: int) -> None:
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    if size < 1000:
        parts = [*parts[:40], b"".join(parts[40:])]
    assert read(encoding, parts) == expected


@pytest.mark.parametrize(
    ("what", "encoding", "parts", "status"),
    [
        ("nothing", b"gzip", [b""], None),
        ("cut short", b"gzip", [gzipped(PLAIN)[:-1]], 400),
        ("the head alone", b"gzip", [gzipped(PLAIN)[:5]], 400),
        ("no gzip", b"gzip", [b"{}"], 400),
        ("no zlib", b"deflate", [b"{}"], 400),
        ("a wrong checksum", b"gzip", [gzipped(PLAIN)[:-8] + b"\0" * 8], 400),
        ("what follows zlib's stream", b"deflate", [zlib.compress(PLAIN) + b"x"], 400),
        ("what follows gzip's", b"gzip", [gzipped(PLAIN) + b"x" * 20], 400),
        ("hundreds of gzips", b"gzip", [gzipped(b"") * 300], 400),
        ("an unknown one", b"br", [b""], 415),
        ("two", b"gzip, gzip", [b""], 415),
        ("a bomb", b"gzip", [gzipped(b"0" * 2_000_000)], 413),
        ("a bomb in parts", b"gzip", [b"", *map(bytes, zip(gzipped(b"0" * 2_000_000)))], 413),
        ("a bomb of gzips", b"gzip", [gzipped(b"0" * 100_000) * 11], 413),
        ("too much", b"", [b"0" * 600_000, b"0" * 600_000], 413),
    ],
)
def test_a_body_is_refused(what: str, encoding: bytes, parts: list[bytes], status: int | None) -> None:
    if status is None:
        assert read(encoding, parts) == b""
        return
    with pytest.raises(BodyRefused) as refused:
        read(encoding, parts)
    assert refused.value.status == status


def test_a_bomb_costs_no_more_than_the_limit() -> None:
    bomb = gzipped(b"0" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(BodyRefused):
        read(b"gzip", [bomb])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
