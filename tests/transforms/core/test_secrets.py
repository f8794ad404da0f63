"""Secrets in messages that are kept as they came."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.segment import folded
from transforms.core.secrets import is_write_key, may_hold_any, redacted, redacted_json, usual_redacted


def is_json(payload: bytes) -> bool:
    try:
        json.loads(payload)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"writeKey":"s3cret","a":1}', b'{"writeKey":null,"a":1}'),
        (b'{"a":1, "write_key" :\n "s\\"3" }', b'{"a":1, "write_key" :\n null }'),
        (b'{"Write Key":5}', b'{"Write Key":null}'),
        (b'{"\\u0077riteKey":"s"}', b'{"\\u0077riteKey":null}'),
        (b'{"batch":[{"writeKey":"s"},{"writeKey":"t"}],"WRITEKEY":"u"}', None),
        (b'{"context":{"writeKey":"s"}}', b'{"context":{"writeKey":null}}'),
        (b'{"a":[{"b":{"Write-Key":"s"}}]}', b'{"a":[{"b":{"Write-Key":null}}]}'),
        (b'{" WRITE__KEY ":"s"}', b'{" WRITE__KEY ":null}'),
        (b'{"writeKey":{"a":["}",{}]},"b":1}', b'{"writeKey":null,"b":1}'),
        (b'{"writeKey":["s","t"] }', b'{"writeKey":null }'),
        # what is no JSON
        (b'{"writeKey":"s3cret', b'{"writeKey":null'),
        (b'{"writeKey":"s3cret\\', b'{"writeKey":null'),
        (b'{"writeKey":["s3cret","}', b'{"writeKey":null'),
        (b'{"writeKey":}', b'{"writeKey":}'),
        (b'{"writeKey":s3cret}', b'{"writeKey":null}'),
        (b'\xff"writeKey":"s"', b'\xff"writeKey":null'),
        (b'"a":"writeKey":"s"', b'"a":"writeKey":null'),
        # what is no secret
        (b'{"a":"writeKey","b":"s"}', b'{"a":"writeKey","b":"s"}'),
        (b'{"a":"\\"writeKey\\":\\"s\\""}', b'{"a":"\\"writeKey\\":\\"s\\""}'),
        (b'{"write\xffKey":"s","key":1}', b'{"write\xffKey":"s","key":1}'),
        (b'{"writeKeys":"s"}', b'{"writeKeys":"s"}'),
        (b"", b""),
    ],
)
def test_secrets(payload: bytes, expected: bytes | None) -> None:
    if expected is None:
        expected = b'{"batch":[{"writeKey":null},{"writeKey":null}],"WRITEKEY":null}'
    assert redacted(payload) == expected
    assert redacted(expected) == expected
    if is_json(payload):
        assert redacted_json(payload) == expected
    assert not is_json(usual_redacted(payload)) or is_json(payload)


NAMES = st.sampled_from(["writeKey", "write_key", "a", 'wr"ite', "key", '"writeKey', "\\writeKey", "Write Key", "a, "])
TEXTS = st.text(max_size=5) | st.sampled_from(['{"writeKey":"s"}', ', "writeKey":1', "\\"])
DOCUMENTS = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


def without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {name: None if folded(name) == "writekey" else without_secrets(item) for name, item in value.items()}
    return value


@given(DOCUMENTS, st.booleans())
def test_of_json_nothing_else_changes(document: Any, ascii_only: bool) -> None:
    payload = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert json.loads(redacted(payload)) == without_secrets(document)
    assert redacted_json(payload) == redacted(payload)


@given(st.binary(max_size=60) | st.text(alphabet='"\\:writeKy{},', max_size=60).map(str.encode))
def test_any_bytes_can_be_redacted(payload: bytes) -> None:
    assert redacted(redacted(payload)) == redacted(payload)


def test_a_payload_without_a_secret_is_not_copied() -> None:
    payload = b'{"context":{"page":{"title":"Write keys: \\u0077"}}}'
    assert redacted_json(payload) is payload


@pytest.mark.parametrize("name", ["writeKey", "WRITE KEY", "write-key", "_write_key_", "Write Key"])
def test_spellings(name: str) -> None:
    assert is_write_key(name)


@pytest.mark.parametrize("name", ["writeKeys", "rewriteKey", "key", "w_ritekey", ""])
def test_other_names(name: str) -> None:
    assert not is_write_key(name)


def test_a_long_string_takes_no_memory_of_its_own() -> None:
    payload = b'{"writeKey":"secret","a":"' + b"x" * 2_000_000 + b'"}'
    tracemalloc.start()
    assert redacted(payload) == payload.replace(b'"secret"', b"null")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(payload)


FIELD_NAMES = ("writeKey", "writeKey", "WriteKey", "write_key", "xwriteKey", '\\"writeKey', "writeKeys", "a")
FIELD_VALUES = (
    '"s3cret"',
    '"s-t_9"',
    '""',
    '"two words"',
    '"\\"s\\""',
    '"writeKey"',
    "null",
    "7",
    '{"writeKey":"s"}',
    '["writeKey"]',
)
SEPARATORS = (":", " : ")


@given(
    st.lists(
        st.tuples(st.sampled_from(FIELD_NAMES), st.sampled_from(SEPARATORS), st.sampled_from(FIELD_VALUES)), max_size=4
    )
)
def test_usual_secrets_are_removed_as_all_are(fields: list[tuple[str, str, str]]) -> None:
    inner = ",".join(f'"{name}"{separator}{value}' for name, separator, value in fields)
    document = f"{{{inner}}}".encode()
    assert is_json(document)
    usual = usual_redacted(document)
    assert redacted_json(usual) == redacted_json(document)
    if not may_hold_any(usual):
        assert usual == redacted_json(document)
