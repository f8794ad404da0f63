"""What is known of ids and of accounts, drawn from small alphabets so that keys and stamps meet."""

from __future__ import annotations

from hypothesis import strategies as st

from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known

STAMPS = st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", "\uffee", "\U0001f600"]))
SPANS = st.tuples(STAMPS, STAMPS).map(lambda span: (min(span), max(span)))
KEYS = st.sampled_from(["x", "y", "z"])
VALUES = st.tuples(STAMPS, st.sampled_from([b"null", b"1", b"10", b"9", b'"9"', b'{"a":1}', b'{"a": 1}', b'"\\u0039"']))
NAMES = st.none() | st.tuples(STAMPS, st.sampled_from(["A", "A!", "A B", 'A"', "B"]))

KNOWN = st.builds(
    Known,
    traits=st.dictionaries(KEYS, VALUES, max_size=3),
    audiences=st.dictionaries(KEYS, st.tuples(STAMPS, st.sampled_from([None, True, False])), max_size=2),
    seen=st.none() | SPANS,
    connections=st.dictionaries(KEYS, STAMPS, max_size=2),
    accounts=st.dictionaries(KEYS, st.dictionaries(st.sampled_from(Way), SPANS, min_size=1, max_size=2), max_size=2),
    deleted=st.none() | STAMPS,
    out=st.dictionaries(KEYS, STAMPS, max_size=2),
    named=st.booleans(),
)
ACCOUNT_KNOWN = st.builds(
    AccountKnown,
    traits=st.dictionaries(KEYS, VALUES, max_size=3),
    name=NAMES,
    seen=st.dictionaries(st.sampled_from(Way), SPANS, min_size=1, max_size=3),
    connections=st.dictionaries(KEYS, STAMPS, max_size=2),
)
