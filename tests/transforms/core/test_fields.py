"""The names of a message's fields, in any spelling, and what is no message at all."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from schemas.segment import FIELDS, MAX_DEPTH
from tests.histories import Message, line
from tests.transforms.core.calls import PAGE, deep, plain
from transforms.core.dead_letters import Reason, Refused
from transforms.core.fields import MessageFields, check_depth, may_be_too_deep, parse, parse_item


def fields(message: Message | bytes) -> dict[str, Any]:
    """What a message says, by the spec's names."""
    parsed = parse(message if isinstance(message, bytes) else line(message))
    assert isinstance(parsed, MessageFields)
    values = {name: plain(getattr(parsed, name)) for name in MessageFields.__struct_fields__}
    return {name: value for name, value in values.items() if value not in (None, {})}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_in_any_spelling(name: str) -> None:
    value: Any = {"k": 1} if name in ("traits", "properties", "context", "integrations") else "value"
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    spaced = snake.replace("_", " ")
    for spelling in (name, name.upper(), name.lower(), name.title(), snake, snake.upper(), spaced, spaced.title()):
        assert fields({spelling: value}) == {name: value}
    assert fields({f"_{name[0]} {name[1:]}_": value}) == {name: value}


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("the spec's spelling, before", {"userId": "u", "user_id": "v"}, {"userId": "u"}),
        ("the spec's spelling, behind", {"user_id": "v", "userId": "u"}, {"userId": "u"}),
        ("the first of the others", {"User ID": "v", "user_id": "w"}, {"userId": "v"}),
        ("a null is absent", {"userId": None, "user_id": "v"}, {"userId": "v"}),
        ("a null in another spelling is absent", {"USERID": None, "user_id": "v"}, {"userId": "v"}),
        ("an object that is null", {"Traits": {"k": 1}, "traits": None}, {"traits": {"k": 1}}),
        ("a value of any type stands", {"userId": [], "user_id": "v"}, {"userId": []}),
        ("an empty string stands", {"userId": "", "user_id": "v"}, {"userId": ""}),
        ("all null", {"userId": None, "USERID": None}, {}),
        ("hyphens are part of a name", {"user-id": "v"}, {}),
        ("other fields are not read", {"ip": "::1", "users": "v", "": 1}, {}),
        ("other fields hide nothing", {"ip": "", "Message ID": "m", "name": "n"}, {"name": "n", "messageId": "m"}),
        ("from and to", {"from": "a", "to": "u"}, {"from_": "a", "to": "u"}),
        ("from and to in any case", {"FROM": "a", "To": "u"}, {"from_": "a", "to": "u"}),
        ("from and to beside ids", {"previousId": "a", "from": "b"}, {"previousId": "a", "from_": "b"}),
        ("from as it is written first", {"From": "b", "from": "a"}, {"from_": "a"}),
        ("a batch in another spelling", {"Batch": []}, {"batch": []}),
        ("a field of the spec that is not read", {"_metadata": {"k": 1}}, {"_metadata": {"k": 1}}),
    ],
)  # fmt: skip
def test_the_spec_s_spelling_goes_first_then_the_first_in_the_message(
    what: str, message: Message, expected: Message
) -> None:
    assert fields(message) == expected


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("the last of a repeated key", b'{"userId":"u","userId":"v"}', {"userId": "v"}),
        ("the last of a repeated key, null", b'{"userId":"u","userId":null}', {}),
        ("the last of a repeated key in another spelling", b'{"user_id":"u","user_id":"v"}', {"userId": "v"}),
        ("the last of a repeated object", b'{"traits":{"a":1},"traits":{"b":2}}', {"traits": {"b": 2}}),
        ("white space", b' \t\r\n{ "userId" :\r"u"\n}\t', {"userId": "u"}),
        ("escapes in a name", b'{"user\\u0049d":"u"}', {"userId": "u"}),
        ("escapes in a value", b'{"userId":"\\u0075\\ud83d\\ude00\\n"}', {"userId": "u\U0001f600\n"}),
        ("an empty object", b"{}", {}),
        ("an integer beyond 64 bits", b'{"userId":36893488147419103232}', {"userId": 2**65}),
        ("a key of 10 kB", b'{"%b":1,"userId":"u"}' % (b"k" * 10_000), {"userId": "u"}),
        ("a number beyond FLOAT64 elsewhere", b'{"x":1e400,"userId":"u"}', {"userId": "u"}),
        ("a number beyond FLOAT64 in an object", b'{"traits":{"a":[2]},"x":-1e400}', {"traits": {"a": [2]}}),
    ],
)
def test_json_is_read_as_rfc_8259_has_it(what: str, message: bytes, expected: Message) -> None:
    assert fields(message) == expected


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" + b"0" * 4400])
def test_a_number_beyond_python_is_not_a_number(number: bytes) -> None:
    value = fields(b'{"userId":%b}' % number)["userId"]
    assert value != value


NO_JSON = [
    *(b"", b" ", b"\n", b"{", b"}", b"{}}", b"{} {}", b"[", b"]", b"[}", b"nonsense", b"undefined", b"\0", b"{}\0"),
    *(b'{"type":"page",}', b'{"type" "page"}', b"{type:1}", b"{'type':1}", b'{"type":page}', b'{,"a":1}', b'{"a":}'),
    *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}'),
    *(b'{"a":0x1}', b'{"a":1e}', b'{"a":-}', b'{"a":True}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"b}'),
    *(b'{"a":"\t"}', b'{"a":"\n"}', b'{"a":"\x00"}', b"{/* */}", b"// a\n{}", b'\x0b{"type":"page"}', b"\xc2\xa0{}"),
    *(b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b'{"a":"\xff"}', b'{"a":"\xc0\x80"}', b'{"a":"\xed\xa0\x80"}'),
    *(b'{"a":"\\ud800"}', b'{"a":"\\udc00"}', b'{"a":"\\ud800\\ud800"}', b'{"a":"\\ud800x"}', b'{"\\udfff":1}'),
    *(b'{"a":"\\ud800\\u0041"}', b'{"userId":"\\ud800"}', b"\x1f\x8b\x08\0", b"[1,]", b'["\xff"]', b'{"\xff":1}'),
    b'{"batch":[{"b":"\\ud800"}],"x":[{"b":"\\ud800"}]}',
    *(b"[" * 5000, b"]" * 5000, b'{"a":' * 5000, b"5", b'"text"', b"null", b"true", b'{"a":1}garbage', b"[1]x"),
]  # fmt: skip


@pytest.mark.parametrize("message", NO_JSON, ids=[repr(message[:24]) for message in NO_JSON])
def test_what_the_parser_refuses_is_invalid_json(message: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(message)
    assert refused.value.reason is Reason.INVALID_JSON
    assert refused.value.detail


def test_the_detail_says_where_it_is_no_utf_8() -> None:
    with pytest.raises(Refused) as refused:
        parse(b'{"a":"\xff"}')
    assert refused.value.detail == "not UTF-8 at byte 6"


@pytest.mark.parametrize(
    ("what", "message", "expected"),
    [
        ("nothing", b" [ ] ", []),
        ("objects, as they are written", b'\n[ {"a" : 1} ,{}\t]', [b'{"a" : 1}', b"{}"]),
        ("anything", b'[1,"x",null,[2]]', [b"1", b'"x"', b"null", b"[2]"]),
        ("half a surrogate pair", b'[{"a":1}, {"b":"\\ud800"} ,{}]', [b'{"a":1}', b'{"b":"\\ud800"}', b"{}"]),
        ("what looks like items", b'[{"a":"},{"},{"a":"\\"},{"}]', [b'{"a":"},{"}', b'{"a":"\\"},{"}']),
        (
            "too deep for the parser",
            b'[{"a":1}, {"b":%b} ,{}]' % deep(3000),
            [b'{"a":1}', b'{"b":%b}' % deep(3000), b"{}"],
        ),
        (
            "too deep, and half a surrogate pair",
            b'[{"\\udc00":1},[%b1%b],{"a":1}]' % (b"[" * 2000, b"]" * 2000),
            [b'{"\\udc00":1}', b"[%b1%b]" % (b"[" * 2000, b"]" * 2000), b'{"a":1}'],
        ),
    ],
)
def test_items_of_an_array_are_told_apart_whatever_is_in_them(what: str, message: bytes, expected: list[bytes]) -> None:
    parsed = parse(message)
    assert isinstance(parsed, list)
    assert [bytes(item) for item in parsed] == expected


@pytest.mark.parametrize("item", [b"1", b'"x"', b"null", b"true", b"[]", b"[{}]", b"1e400"])
def test_an_item_is_an_object(item: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_item(item)
    assert refused.value.reason is Reason.INVALID_JSON


@pytest.mark.parametrize("bad", [b'{"b":"\\ud800"}', b'{"b":%b}' % deep(3000), b"[" * 3000 + b"]" * 3000])
def test_a_batch_keeps_its_own_fields_whatever_is_in_its_items(bad: bytes) -> None:
    batch = b'[{"a":1},%b]' % bad
    parsed = parse(b'{"sentAt":1,"Batch" : %b , "context":{"a":"\\ud83d\\ude00","batch":[{"a":1}]}}' % batch)
    assert isinstance(parsed, MessageFields)
    assert (parsed.sentAt, bytes(parsed.batch)) == (1, batch)
    assert parsed.context == Raw(b'{"a":"\\ud83d\\ude00","batch":[{"a":1}]}')


@pytest.mark.parametrize(
    ("what", "context", "expected"),
    [
        ("half a surrogate pair", b'{"a":"\\ud800"}', Reason.INVALID_JSON),
        ("too deep for the parser", deep(100_000), Reason.INVALID_FIELD),
    ],
)
@pytest.mark.parametrize("items", [b"[ ]", b"[{}]", b'[{"b":"\\ud800"}]', b"[%b]" % deep(3000)])
def test_what_a_batch_itself_holds_must_be_right(what: str, context: bytes, expected: Reason, items: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse(b'{"batch":%b,"context":%b}' % (items, context))
    assert refused.value.reason is expected


@pytest.mark.parametrize("levels", [900, 1100, 3000, 100_000])
def test_a_call_that_is_too_deep_still_says_what_it_is(levels: int) -> None:
    deep = b'{"x":%b1%b,"type":"page","user_id":"u"}' % (b"[" * levels, b"]" * levels)
    assert {"type": "page", "userId": "u"}.items() <= fields(deep).items()


@pytest.mark.parametrize(
    ("what", "levels", "refused"), [("all that BigQuery takes", MAX_DEPTH, False), ("one more", MAX_DEPTH + 1, True)]
)
@pytest.mark.parametrize("part", ["traits", "properties", "context", "x"])
def test_depth(what: str, levels: int, refused: bool, part: str) -> None:
    call = line({**PAGE, part: "?"}).replace(b'"?"', deep(levels - 1))
    parsed = parse(call)
    assert isinstance(parsed, MessageFields)
    assert may_be_too_deep(call, parsed.properties, parsed.context, parsed.traits)
    if refused:
        with pytest.raises(Refused) as refusal:
            check_depth(call)
        assert refusal.value.reason is Reason.INVALID_FIELD
    else:
        check_depth(call)


def test_brackets_in_strings_are_not_depth() -> None:
    check_depth(line({"a": "[{" * MAX_DEPTH, "b": '\\"[' * MAX_DEPTH}))
    check_depth(line([{}] * (MAX_DEPTH + 1)))


@pytest.mark.parametrize(
    ("what", "message", "detail"),
    [
        ("at its end", rb'{"type":"page","name":"\ud800"}', "a string holds half of a surrogate pair"),
        ("in the middle", rb'{"name":"\ud800x12345678"}', "a string holds half of a surrogate pair"),
        ("the second half", rb'{"a":"\udc00"}', "a string holds half of a surrogate pair"),
        ("before another character", rb'{"a":"\ud800\u0041"}', "a string holds half of a surrogate pair"),
        ("in a key", rb'{"na\udc00me":1}', "a string holds half of a surrogate pair"),
        ("beside a batch", rb'{"batch":[{"a":"\ud800"}],"x":"\ud800"}', "a string holds half of a surrogate pair"),
        ("a message cut behind a pair", rb'{"a":"\ud83d\ude00', "Input data was truncated"),
        (
            "another mistake before it",
            rb'{"a":1,}{"b":"\ud800"}',
            "JSON is malformed: trailing comma in object (byte 7)",
        ),
    ],
)
def test_half_a_surrogate_pair_is_called_so(what: str, message: bytes, detail: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(message)
    assert refused.value.detail == detail
