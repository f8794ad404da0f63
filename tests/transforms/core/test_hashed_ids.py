"""Hashes in the place of a person's ids."""

from __future__ import annotations

import pytest

from transforms.core.hashed_ids import keyed_hash, replaced

HASHES = {"ann": "h1", "7": "h2"}


def test_it_is_hmac_sha_256_in_hexadecimal() -> None:
    """Test case 2 of RFC 4231."""
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert keyed_hash("what do ya want for nothing?", b"Jefe") == digest


@pytest.mark.parametrize(
    ("what", "payload", "expected"),
    [
        ("each id field", '{"userId":"ann","anonymousId":7}', '{"userId":"h1","anonymousId":"h2"}'),
        ("padded and escaped", '{"userId":" \\u0061nn "}', '{"userId":"h1"}'),
        (
            "any spelling, also one that is not read",
            '{"userId":"bob","User ID":"ann"}',
            '{"userId":"bob","User ID":"h1"}',
        ),
        (
            "an alias's other names",
            '{"type":"alias","from":"ann","to":"bob"}',
            '{"type":"alias","from":"h1","to":"bob"}',
        ),
        ("no other call's", '{"type":"track","from": "ann"}', '{"type":"track","from": "ann"}'),
        ("an array in its place", '{"user_id":["ann",{"id":"ann"}]}', '{"user_id":["h1",{"id":"h1"}]}'),
        ("nothing else", '{"userId":"ann","traits":{"a": "ann"}}', '{"userId":"h1","traits":{"a": "ann"}}'),
        ("as it was written", '{"userId" : "bob", "n": 1.0}', '{"userId" : "bob", "n": 1.0}'),
    ],
)
def test_ids_are_replaced_in_id_fields(what: str, payload: str, expected: str) -> None:
    assert replaced(payload, HASHES) == expected
    assert replaced(expected, HASHES) == expected
