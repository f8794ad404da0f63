"""Columns of JSON texts."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw


def json_column(values: Sequence[Raw | None]) -> pa.StringArray:
    """JSON texts as one column, copied once; that they are UTF-8 was checked when they were read."""
    if not any(values):
        return pa.nulls(len(values), pa.string())
    texts = [b"" if value is None else value for value in values]
    ends = array("i", accumulate(map(len, texts), initial=0))
    data: bytes = b"".join(texts)  # a Raw is bytes-like
    strings = pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(data))
    return pc.if_else(pa.array([value is not None for value in values]), strings, None) if None in values else strings
