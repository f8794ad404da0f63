"""Inflating while counting."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest

from receiver.asgi import Event
from receiver.body import Body, BodyRefused
from receiver.limits import Limits, Load

PLAIN = bytes(range(256)) * 400


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


@pytest.mark.parametrize("size", [1, 7, 1000, 10**9], ids="{} at once".format)
@pytest.mark.parametrize(
    ("encoding", "packed", "expected"),
    [
        (b"", PLAIN, PLAIN),
        (b"identity", PLAIN, PLAIN),
        (b"gzip", gzip.compress(PLAIN), PLAIN),
        (b"X-GZIP ", gzip.compress(PLAIN), PLAIN),
        (b"gzip", gzip.compress(b""), b""),
        (b"gzip", gzip.compress(PLAIN[:50]) + gzip.compress(PLAIN[50:]), PLAIN),
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
        ("cut short", b"gzip", [gzip.compress(PLAIN)[:-1]], 400),
        ("the head alone", b"gzip", [gzip.compress(PLAIN)[:5]], 400),
        ("no gzip", b"gzip", [b"{}"], 400),
        ("no zlib", b"deflate", [b"{}"], 400),
        ("a wrong checksum", b"gzip", [gzip.compress(PLAIN)[:-8] + b"\0" * 8], 400),
        ("what follows zlib's stream", b"deflate", [zlib.compress(PLAIN) + b"x"], 400),
        ("what follows gzip's", b"gzip", [gzip.compress(PLAIN) + b"x" * 20], 400),
        ("hundreds of gzips", b"gzip", [gzip.compress(b"") * 300], 400),
        ("an unknown one", b"br", [b""], 415),
        ("two", b"gzip, gzip", [b""], 415),
        ("a bomb", b"gzip", [gzip.compress(b"0" * 2_000_000)], 413),
        ("a bomb in parts", b"gzip", [b"", *map(bytes, zip(gzip.compress(b"0" * 2_000_000)))], 413),
        ("a bomb of gzips", b"gzip", [gzip.compress(b"0" * 100_000) * 11], 413),
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
    bomb = gzip.compress(b"0" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(BodyRefused):
        read(b"gzip", [bomb])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
