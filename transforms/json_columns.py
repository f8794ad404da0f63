"""Columns of JSON texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw


def json_column(values: Sequence[Raw | None]) -> pa.StringArray:
    """JSON texts as one column, copied once; that they are UTF-8 was checked when they were read."""
    if not any(values):
        return pa.nulls(len(values), pa.string())
    has_null = None in values
    texts: Sequence[Any] = [value or b"" for value in values] if has_null else values
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=ends[1:])
    data = b"".join(texts)  # a Raw is bytes-like
    strings = pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(data))
    return pc.if_else(pa.array([value is not None for value in values]), strings, None) if has_null else strings
