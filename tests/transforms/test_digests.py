"""Many calls at once get the message ids that each gets by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.core.reader import digest
from transforms.digests import digests

ITEMS = (
    b'{"type":"track","event":"A","properties":{"b":1,"a":[1,2.5,-3]}}',
    b'{ "type" : "page", "n": 1e3 }',
    b'{"lat":48.85341000000001,"long":-2.3488,"price":0.00001}',
    b'{"id":1234567890123456,"minus":-1234567890123456,"more":36893488147419103232}',
    b'{"text":"1,2:3[4:1234567890123456e7"}',
    '{"é":"😀","":""}'.encode(),
    b"[" * 300 + b"]" * 300,
    b"[]",
    b"1e400",
    b"-5e-324",
)


@given(st.lists(st.sampled_from(ITEMS), max_size=20))
def test_digests(items: list[bytes]) -> None:
    assert [*digests(items)] == [*map(digest, items)]
