"""JSON texts as one column."""

from __future__ import annotations

import msgspec
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from transforms.json_columns import json_column

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.none() | JSON.map(msgspec.json.encode).map(Raw)


@given(st.lists(TEXTS, max_size=9))
def test_each_text_is_as_it_was_written(values: list[Raw | None]) -> None:
    column = json_column(values)
    assert column.type == pa.string()
    assert column.to_pylist() == [None if value is None else bytes(value).decode() for value in values]
