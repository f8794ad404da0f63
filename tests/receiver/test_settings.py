"""What SDKs are told before they send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.asgi import Request
from receiver.settings import settings


def destination(headers: dict[bytes, bytes], *, scheme: str = "http", is_behind_proxy: bool = False) -> dict[str, Any]:
    request = Request(method="GET", path="/", query=b"", headers=headers, scheme=scheme, peer=None)
    document = json.loads(settings(request, "key", is_behind_proxy=is_behind_proxy))
    assert document["plan"]["track"]["__default"]["enabled"] is True
    found: dict[str, Any] = document["integrations"]["Segment.io"]
    return found


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"in.example.com", "in.example.com/v1"),
        (b"127.0.0.1:8080", "127.0.0.1:8080/v1"),
        (b"[::1]:8080", "[::1]:8080/v1"),
        (b"evil.example/x", None),
        (b"a@evil.example", None),
        (b'"', None),
        (b"", None),
    ],
)
def test_the_host_is_that_of_the_request(host: bytes, expected: str | None) -> None:
    assert destination({b"host": host}).get("apiHost") == expected


@pytest.mark.parametrize(
    ("forwarded", "is_behind_proxy", "expected"),
    [(b"https", True, "https"), (b"https, http", True, "https"), (b"ftp", True, "http"), (b"https", False, "http")],
)
def test_the_protocol_is_the_browsers(forwarded: bytes, is_behind_proxy: bool, expected: str) -> None:
    headers = {b"host": b"h", b"x-forwarded-proto": forwarded}
    assert destination(headers, is_behind_proxy=is_behind_proxy)["protocol"] == expected
    assert destination({b"host": b"h"}, scheme="https")["protocol"] == "https"
