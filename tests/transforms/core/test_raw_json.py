"""JSON as it was written, and the little that is read of it."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tests.transforms.core.calls import deep
from transforms.core import raw_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
"""JSON values, whose text may be any that Python's strings can be: halves of surrogate pairs excluded."""


@pytest.mark.parametrize(
    ("what", "written", "expected"),
    [
        ("keys are sorted", b'{"b":1,"a":2}', '{"a":2,"b":1}'),
        ("keys are sorted at every level", b'[{"b":{"d":1,"c":2}}]', '[{"b":{"c":2,"d":1}}]'),
        ("keys are sorted by code points", '{"\U0001f600":1,"\uffee":2}'.encode(), '{"\uffee":2,"\U0001f600":1}'),
        ("no white space", b' { "a" : [ 1 , 2 ] } ', '{"a":[1,2]}'),
        ("white space in strings", b'{"a b":" c\\n"}', '{"a b":" c\\n"}'),
        ("no needless escapes", b'"\\u0041\\/\\u00e9"', '"A/\u00e9"'),
        ("the last of a repeated key", b'{"a":1,"a":2}', '{"a":2}'),
        ("an integer beyond 64 bits", b"36893488147419103232", "36893488147419103232"),
        ("a float stays one", b"1.0", "1.0"),
        ("an exponent", b"1E2", "100.0"),
        ("beyond FLOAT64: unspecified, but a text", b"1e400", "Infinity"),
        ("beyond what Python converts: unspecified, but a text", b"-1" + b"0" * 4400, "-Infinity"),
    ],
)
def test_canonical(what: str, written: bytes, expected: str) -> None:
    assert raw_json.canonical(written) == raw_json.canonical(Raw(written)) == expected


@given(VALUES, st.integers(0, 4), st.booleans())
def test_however_it_is_written_the_canonical_text_is_one(value: Any, indent: int, escape: bool) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in reversed(value)}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    written = json.dumps(value, ensure_ascii=escape).encode()
    rewritten = json.dumps(shuffled(value), ensure_ascii=not escape, indent=indent or None).encode()
    canonical = raw_json.canonical(written)
    assert canonical == raw_json.canonical(rewritten) == raw_json.canonical(canonical.encode())
    assert json.loads(canonical) == value
    assert canonical == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.lists(NUMBERS))
def test_numbers_are_written_as_python_writes_them(numbers: list[str]) -> None:
    written = f'{{"a":[{",".join(numbers)}]}}'.encode()
    expected = json.dumps(raw_json.value(written), separators=(",", ":"))
    assert raw_json.canonical(written) == expected
    for number in numbers:
        assert raw_json.canonical(number.encode()) == json.dumps(raw_json.value(number.encode()))


@given(st.text())
def test_the_text_of_a_string_is_its_canonical_json(string: str) -> None:
    assert raw_json.text(string) == raw_json.canonical(json.dumps(string).encode())


@pytest.mark.parametrize(
    ("written", "expected"),
    [(b'"a"', "a"), (b"1.5", 1.5), (b"null", None), (b"[1]", [1]), (b"true", True), (b"1" * 30, int("1" * 30))],
)
def test_peek(written: bytes, expected: Any) -> None:
    assert raw_json.peek(Raw(written)) == expected


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"[1e400]", b"1" + b"0" * 4400])
def test_peek_at_a_number_beyond_python_s(number: bytes) -> None:
    peeked = raw_json.peek(Raw(number))
    assert isinstance(peeked, float)
    assert math.isnan(peeked)


@pytest.mark.parametrize(
    "number", [b"0", b"-0.0", b"1e308", b"1.7976931348623157e308", b"36893488147419103232", b"1e-999"]
)
def test_numbers_that_a_warehouse_holds(number: bytes) -> None:
    raw_json.check_numbers(b'{"a":[%b]}' % number)


@pytest.mark.parametrize("number", [b"1e309", b"-1e309", b"1e400", b"1" + b"0" * 309, b"1" + b"0" * 5000])
def test_numbers_beyond_float64(number: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        raw_json.check_numbers(b'{"a":[%b]}' % number)


@pytest.mark.parametrize(
    ("what", "document", "expected"),
    [
        ("a scalar", b"1", 0),
        ("empty", b"", 0),
        ("an object", b"{}", 1),
        ("beside each other", b"[{},{},[]]", 2),
        ("within each other", b'{"a":[{"b":[]}]}', 4),
        ("brackets in strings", b'{"[[[":"{{{"}', 1),
        ("quotes in strings", b'{"\\"[":"\\\\","b":"[{"}', 1),
        ("a string that does not end", b'["[[[', 1),
        ("never closed", b"[[[", 3),
        ("very deep", deep(100_000), 100_000),
    ],
)
def test_depth(what: str, document: bytes, expected: int) -> None:
    assert raw_json.depth(document) == expected


@given(VALUES)
def test_depth_of_any_value(value: Any) -> None:
    def depth(value: Any) -> int:
        if isinstance(value, dict):
            value = list(value.values())
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    assert raw_json.depth(json.dumps(value).encode()) == depth(value)


@pytest.mark.parametrize(
    ("what", "document", "expected"),
    [
        ("what can be parsed", b'{"a":["\\ud83d\\ude00"]}', b'{"a":["\\ud83d\\ude00"]}'),
        ("half a pair", b'["\\ud83d","\\uDE00x"]', b'["\\u0000","\\u0000x"]'),
        ("two first halves", b'"\\ud83d\\ud83d\\ude00"', b'"\\u0000\\ud83d\\ude00"'),
        ("an escaped backslash before it", b'"\\\\ud83d"', b'"\\\\ud83d"'),
        ("what is too deep", b"[1%b2,3%b4]" % (b"[" * 99, b"]" * 99), b"[1%b   %b4]" % (b"[" * 99, b"]" * 99)),
        ("what never ends", b"[1,%b" % (b"{" * 200), b"[1,%b" % (b"{" * 99)),
    ],
)
def test_outline(what: str, document: bytes, expected: bytes) -> None:
    outline = raw_json.outline(document)
    assert outline == expected
    assert raw_json.outline(outline) == outline


@given(st.binary() | st.text(alphabet='[]{}",:\\u d8D0x').map(str.encode))
def test_any_bytes_have_an_outline(document: bytes) -> None:
    outline = raw_json.outline(document)
    assert len(outline) == len(document)
    assert raw_json.outline(outline) == outline


@given(st.lists(VALUES), st.sampled_from([None, 1]))
def test_items_are_as_they_were_written(values: list[Any], indent: int | None) -> None:
    array = json.dumps([*values, "\ud800"], indent=indent).encode()
    items = raw_json.items(array)
    assert [json.loads(bytes(item)) for item in items] == [*values, "\ud800"]
    assert raw_json.items(Raw(array)) == items


@pytest.mark.parametrize("document", [b"", b"{}", b"[", b"[1,]", b"[1] 2", b"[NaN]", b"[" * 1000])
def test_what_is_no_array_has_no_items(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        raw_json.items(document)


def test_fields_are_as_they_were_written() -> None:
    fields = raw_json.decode_fields(b'{"b" : 1.50, "a":{ "c":"\\u0041" },"b" : [ ] }')
    assert {name: bytes(raw) for name, raw in fields.items()} == {"b": b"[ ]", "a": b'{ "c":"\\u0041" }'}
    assert raw_json.encode(fields) == Raw(b'{"b":[ ],"a":{ "c":"\\u0041" }}')


def test_a_long_string_takes_no_memory_of_its_own() -> None:
    document = b'[{"a":"' + b"x" * 2_000_000 + b'"}]'
    tracemalloc.start()
    assert raw_json.depth(document) == 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(document)


@pytest.mark.parametrize(
    ("what", "written", "expected"),
    [
        ("no object in it", b"{}", None),
        ("each key once, tersely", '{"a":1.5,"b":{"a":"\u00e9"},"c":[null,true,-0.0]}'.encode(), None),
        ("each key once, as it was written", b'{ "a" : 1.50, "b":{"a":"\\u0041"} }', None),
        ("what looks like a key within a string", b'{"a":"\\":1,\\"a\\":2","b":["x\\" : y"]}', None),
        ("a key twice", b'{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
        ("a key twice, once with white space", b'{"a" \t:1,"a":2}', '{"a":2}'),
        ("a key twice, once with an escape", b'{"a":1,"\\u0061":2}', '{"a":2}'),
        ("a key that is null at last", b'{"a":1,"a":null}', '{"a":null}'),
        ("a key twice far within", b'{"x":[[{"y":[1,{"a":1,"a":[2.5]}]}]]}', '{"x":[[{"y":[1,{"a":[2.5]}]}]]}'),
        ("an empty key twice", '{"":"\u00e9","":"\u6ce8"}'.encode(), '{"":"\u6ce8"}'),
        ("what is deep, and a key twice", b'{"a":1,"a":' + deep(450) + b"}", f'{{"a":{deep(450).decode()}}}'),
    ],
)
def test_each_key_stands_once(what: str, written: bytes, expected: str | None) -> None:
    once = raw_json.with_each_key_once(Raw(written))
    assert bytes(once) == written if expected is None else bytes(once).decode() == expected


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", 'c":', "\\", ""]), VALUES), max_size=5),
    st.booleans(),
    st.sampled_from([(", ", ": "), (",", ":")]),
)
def test_keys_that_stand_once_have_the_values_that_count(
    pairs: list[tuple[str, Any]], ascii_only: bool, separators: tuple[str, str]
) -> None:
    values = [json.dumps(value, ensure_ascii=ascii_only, separators=separators) for _, value in pairs]
    fields = ",".join(f"{json.dumps(key)}{separators[1]}{value}" for (key, _), value in zip(pairs, values, strict=True))
    try:
        written = Raw(f"{{{fields}}}".encode())
        once = raw_json.with_each_key_once(written)
    except (UnicodeEncodeError, ValueError):  # halves of surrogate pairs
        return
    assert raw_json.canonical(once) == raw_json.canonical(written)
    assert len(raw_json.decode_fields(once)) == len({key for key, _ in pairs})
    assert (once is written) == (len({key for key, _ in pairs}) == len(pairs))
