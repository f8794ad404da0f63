"""The address of an image as a call."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from receiver.envelope import NoCalls
from receiver.pixel import pixel_call


def data(document: object, *, padded: bool = True) -> str:
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    return f"data={quote(encoded if padded else encoded.rstrip('='), safe='+')}"


@pytest.mark.parametrize(
    ("query", "call"),
    [
        (data({"userId": "u", "messageId": "m"}), {"userId": "u", "messageId": "m"}),
        (data({"userId": "ü?>>>", "messageId": "m"}, padded=False), {"userId": "ü?>>>", "messageId": "m"}),
        ("userId=u&messageId=m", {"userId": "u", "messageId": "m"}),
        (
            "messageId=m&context.page.url=x%26y&context.ip=1",
            {"messageId": "m", "context": {"page": {"url": "x&y"}, "ip": "1"}},
        ),
        ("messageId=m&a=1&a.b=2", {"messageId": "m", "a": "1"}),
        ("messageId=m&a.b=2&a=1", {"messageId": "m", "a": {"b": "2"}}),
        ("messageId=m&a=", {"messageId": "m", "a": ""}),
        ("messageId=m&a=1&a=2", {"messageId": "m", "a": "1"}),
    ],
)
def test_a_query_is(query: str, call: dict[str, Any]) -> None:
    found = pixel_call(f"{query}&writeKey=k".encode())
    assert json.loads(found.body) == {**call}
    assert found.write_key == b"k"


def test_a_key_may_stand_in_the_data() -> None:
    assert pixel_call(data({"writeKey": "k"}).encode()).write_key == b"k"


def test_two_of_one_address_are_two_calls() -> None:
    ids = {json.loads(pixel_call(b"userId=u&event=Opened").body)["messageId"] for _ in range(2)}
    assert len(ids) == 2


def test_names_nest_so_deep_and_no_deeper() -> None:
    call = json.loads(pixel_call(b"a" + b".a" * 5000 + b"=1").body)
    call.pop("messageId")
    depth = 0
    while isinstance(call, dict):
        (call,) = call.values()
        depth += 1
    assert depth == 21


@pytest.mark.parametrize(
    "query",
    [b"data=", b"data=x", b"data=W10=", b"data=bnVsbA==", b"data=ew==", b"data=%ff", b"a=1&" * 600, b"\xff=1"],
)
def test_what_is_no_call(query: bytes) -> None:
    with pytest.raises(NoCalls):
        pixel_call(query)


def test_half_a_surrogate_pair_is_no_call() -> None:
    with pytest.raises(NoCalls):
        pixel_call(b"data=" + base64.b64encode(b'{"a":"\\ud800"}'))
