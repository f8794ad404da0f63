"""Whom a received text names: what a purge decides by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core import ids, times
from transforms.core.named_ids import named_calls

AT = "2025-03-01T09:00:00Z"


def named(payload: bytes, attributes: dict[str, object] | None = None) -> set[str]:
    return set().union(*(call.ids for call in named_calls(payload, attributes)))


@pytest.mark.parametrize(
    ("what", "payload", "expected"),
    [
        ("an id", b'{"type":"track","userId":"ann"}', {"ann"}),
        ("escaped", b'{"type":"track","userId":"\\u0061nn"}', {"ann"}),
        ("padded", b'{"type":"track","userId":" ann\\t"}', {"ann"}),
        ("an integer", b'{"type":"track","userId":7}', {"7"}),
        ("a float without a fraction", b'{"type":"track","userId":7.0}', {"7"}),
        ("an integer of any size", b'{"userId":123456789012345678901234567890}', {"123456789012345678901234567890"}),
        ("an array in its place", b'{"type":"track","userId":["ann", 7]}', {"ann", "7"}),
        ("an object in its place", b'{"type":"track","userId":{"id":"ann"}}', {"ann"}),
        ("a placeholder names nobody", b'{"type":"track","userId":"null","anonymousId":"p"}', {"p"}),
        ("each id field", b'{"userId":"a","anonymousId":"b","previousId":"c"}', {"a", "b", "c"}),
        ("any spelling of the name", b'{"type":"track","User_ID":"ann","anonymous id":"p"}', {"ann", "p"}),
        ("an escaped name", b'{"type":"track","user\\u0049d":"ann"}', {"ann"}),
        ("a field that is there twice", b'{"userId":"ann","userId":"bob"}', {"ann", "bob"}),
        ("an alias's other names", b'{"type":"alias","from":"ann","to":"bob"}', {"ann", "bob"}),
        ("no other call's", b'{"type":"track","from":"ann","to":"bob","userId":"carl"}', {"carl"}),
        (
            "not what is a value elsewhere",
            b'{"type":"track","userId":"bob","event":"ann","properties":["ann"]}',
            {"bob"},
        ),
        ("nor an id field further in", b'{"type":"track","userId":"bob","properties":{"userId":"ann"}}', {"bob"}),
        ("unless nobody else is named", b'{"type":"track","properties":{"userId":"ann","by":"bob"}}', {"ann"}),
        ("a wrapped call", b'{"message":{"type":"track","userId":"ann"}}', {"ann"}),
        ("the items of an array", b'[{"userId":"ann"},{"userId":"bob"},3,["x"]]', {"ann", "bob"}),
        ("the items of a batch", b'{"batch":[{"userId":"ann"},{"anonymousId":"p"}]}', {"ann", "p"}),
        ("a batch's own id", b'{"userId":"ann","batch":[{"userId":"bob"}]}', {"ann", "bob"}),
        ("a bad item's", b'[{"userId":"bob"},{"userId":"ann","a":"\\ud800"}]', {"ann", "bob"}),
        ("half a surrogate pair", b'{"userId":"ann","traits":{"a":"\\ud800"}}', {"ann"}),
        ("half a surrogate pair in the id", b'{"userId":"ann\\ud800"}', {"ann", "ann\ud800"}),
        ("what is too deep", b'{"userId":"ann","a":' + b"[" * 2000 + b"]" * 2000 + b"}", {"ann"}),
        ("too deep, and cut off", b"[" * 2000 + b'{"userId":"ann"}', {"ann"}),
        ("NaN", b'{"userId":"ann","a":NaN}', {"ann"}),
        ("a bad byte elsewhere", b'{"type":"track","userId":"ann","event":"\xff"}', {"ann"}),
        ("a bad byte in front of an escaped id", b'{"event":"\xff","userId":"\\u0061nn"}', {"ann"}),
        ("Latin-1", '{"userId":"andré"}'.encode("latin-1"), {"andr", "andré"}),
        ("UTF-16", '{"userId":"ann"}'.encode("utf-16"), {"ann"}),
        ("UTF-32", '{"userId":"ann"}'.encode("utf-32-le"), {"ann"}),
        ("a byte order mark", b'\xef\xbb\xbf{"userId":"ann"}', {"ann"}),
        ("deep arrays beside a byte that is no UTF-8", b'{"userId":"ann","a":"\xff"},' + b"[" * 900, {"ann"}),
        ("an array of arrays of no UTF-8", b"[" * 800 + b'{"userId":"ann","a":"\xff"}' + b"]" * 800, {"ann"}),
        ("cut off", b'{"type":"track","userId":"ann","event":"Bou', {"ann"}),
        ("cut off in an escaped id", b'{"user_id": " \\u0061nn \\n', {"ann"}),
        ("cut off within a character", '{"userId":"ann","a":"é'.encode()[:-1], {"ann"}),
        ("a quote too many", b'{"note":"5" tall","userId":"ann"}', {"ann"}),
        ("no JSON, an integer", b'{"userId": 7, "a":', {"7"}),
        ("no JSON, an array", b'{"userId": ["ann", 7], "a":', {"ann", "7"}),
        ("no JSON, an alias", b'{"type": "alias", "from": "ann", "a":', {"ann"}),
        ("no JSON, no alias", b'{"type": "track", "from": "ann", "a":', set()),
        ("no JSON, a value elsewhere", b'{"event":"ann","old_user_id":"x","Old User ID":"y","a":', set()),
        ("Python's spelling", b"{'userId': 'ann', 'a': None}", {"ann"}),
        ("a form", b"type=track&user_id=ann&a=b", {"ann"}),
        ("encoded twice", b'"{\\"userId\\":\\"ann\\"}"', {"ann"}),
        ("encoded twice, and cut off", b'"{\\"userId\\":\\"ann\\",\\"a', {"ann"}),
        ("two messages in one", b'{"userId":"ann"}{"userId":"bob"}', {"ann", "bob"}),
        ("a row that was refused", b'{"table":"contacts","key":["ann"],"row":{"previous_ids":["p"]}}', {"ann", "p"}),
        ("an account's row names nobody", b'{"table":"accounts","key":["acme"],"row":null}', set()),
        ("nothing", b"", set()),
        ("an error page", b"<html>userId</html>", set()),
    ],
)
def test_it_names_what_its_id_fields_hold(what: str, payload: bytes, expected: set[str]) -> None:
    assert named(payload) >= expected
    assert {id for id in named(payload) if id not in expected and id not in ("7.0", "annÿ")} == set()


def test_attributes_count_for_every_call() -> None:
    calls = named_calls(b'[{"userId":"bob"},{"userId":"carl"}]', {"userId": "ann", "connection": "web"})
    assert [call.ids for call in calls] == [{"ann", "bob"}, {"ann", "carl"}]


@pytest.mark.parametrize(
    ("what", "payload", "expected"),
    [
        ("a call's own", b'{"type":"track","userId":"ann","timestamp":"%s"}', AT),
        ("whatever the call is refused for", b'{"type":"x","userId":{},"timestamp":"%s"}', AT),
        ("half a surrogate pair", b'{"userId":"ann","a":"\\ud800","timestamp":"%s"}', AT),
        ("none", b'{"type":"track","userId":"ann"}', None),
        ("what is no JSON has none", b'{"userId":"ann","timestamp":"%s"', None),
    ],
)
def test_a_call_is_of_its_own_time(what: str, payload: bytes, expected: str | None) -> None:
    (call,) = named_calls(payload.replace(b"%s", AT.encode()))
    assert call.timestamp == (None if expected is None else times.read(expected))


def test_an_item_has_the_time_of_its_batch() -> None:
    _, own, inherited = named_calls(
        b'{"sentAt":"2025-03-01T09:00:00Z","batch":[{"userId":"a","timestamp":"2025-02-01"},{"userId":"b"}]}'
    )
    assert (own.timestamp, inherited.timestamp) == (times.read("2025-02-01"), times.read(AT))


@pytest.mark.parametrize(
    ("timestamp", "message_id", "is_after"),
    [
        (10, "a", False),
        (11, "a", False),
        (11, "b", False),
        (11, "c", True),
        (11, None, False),
        (12, None, True),
        (None, "c", False),
    ],
)
def test_what_is_after_a_stamp_is_after_by_time_and_message_id(
    timestamp: int | None, message_id: str | None, is_after: bool
) -> None:
    payload: dict[str, Any] = {"userId": "ann", "messageId": message_id}
    if timestamp is not None:
        payload["timestamp"] = f"2025-03-01T09:00:{timestamp}Z"
    (call,) = named_calls(json.dumps(payload).encode())
    delete = times.read("2025-03-01T09:00:11Z")
    assert delete is not None
    assert call.is_after((delete, "b")) is is_after


@given(
    id=st.text(min_size=1), escaped=st.booleans(), at=st.integers(0, 3), bad=st.sampled_from((b"", b"\xff", b"\xc3"))
)
def test_an_id_is_named_however_it_is_written(id: str, escaped: bool, at: int, bad: bytes) -> None:
    """Whole, or next to a byte that is no UTF-8, or cut off behind it."""
    expected = ids.read(id)
    payload = json.dumps({"type": "track", "userId": id, "event": "x"}, ensure_ascii=escaped).encode(
        errors="surrogatepass"
    )
    places = (payload, payload.replace(b'"x"', b'"' + bad + b'"'), payload[:-5], b"[" + payload + b",")
    if expected is not None and not any(0xD800 <= ord(char) < 0xE000 for char in id):
        assert expected in named(places[at])


@pytest.mark.parametrize(
    "part", [b"userId:[", b'"userId":{"userId":', b'userId:\\"', b'\\"userId\\":\\"', b"[", b'"', b"user "]
)
def test_a_text_is_searched_in_time_that_grows_with_its_length(part: bytes) -> None:
    """A search that is quadratic would not end within a test."""
    assert len(named_calls(part * (1_000_000 // len(part)) + b"\xff")) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_read(payload: bytes) -> None:
    assert len(named_calls(payload)) >= 1
