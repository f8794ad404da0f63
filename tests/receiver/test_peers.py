"""Whose address a browser's is, behind proxies."""

from __future__ import annotations

import pytest

from receiver.asgi import Request
from receiver.peers import client_address


@pytest.mark.parametrize(
    ("what", "peer", "forwarded", "proxies", "expected"),
    [
        ("no proxy", "192.0.2.1", None, 0, "192.0.2.1"),
        ("what a sender claims", "192.0.2.1", "1.1.1.1", 0, "192.0.2.1"),
        ("one proxy", "10.0.0.1", "203.0.113.9", 1, "203.0.113.9"),
        ("one proxy, and what a sender claims", "10.0.0.1", "1.1.1.1, 203.0.113.9", 1, "203.0.113.9"),
        ("two proxies", "10.0.0.1", "1.1.1.1,203.0.113.9 , 35.1.1.1", 2, "203.0.113.9"),
        ("fewer than there are proxies", "10.0.0.1", "203.0.113.9", 2, None),
        ("none that tells", "10.0.0.1", None, 1, None),
        ("no address", "10.0.0.1", "unknown", 1, None),
        ("no text", "10.0.0.1", "\xff", 1, None),
        ("IPv6", "2001:DB8::1", None, 0, "2001:db8::1"),
        ("IPv4 within IPv6", "::ffff:192.0.2.1", None, 0, "192.0.2.1"),
        ("a socket of files", None, None, 0, None),
    ],
)
def test_the_address_is(what: str, peer: str | None, forwarded: str | None, proxies: int, expected: str | None) -> None:
    headers = {} if forwarded is None else {b"x-forwarded-for": forwarded.encode("latin-1")}
    request = Request(method="POST", path="/v1/t", query=b"", headers=headers, scheme="http", peer=peer)
    assert client_address(request, proxies) == expected
