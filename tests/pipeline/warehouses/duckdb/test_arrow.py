"""Which JSON is looked at twice before it is written."""

from __future__ import annotations

import re
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.duckdb.arrow import _SUSPECT_NUMBER

NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "9" * 150, "9" * 250, "9" * 310]),
    st.sampled_from(["", ".5", "." + "9" * 300]),
    st.sampled_from(["", "e58", "E+99", "e160", "E+308", "e309", "e0400", "e-999", "e+99999"]),
)
PLACES = st.sampled_from(['{"a":%s}', '{"a": %s}', '{"a":[1,\n\t%s]}', '{"a":{"b":["x" , %s ,2]}}'])


def is_suspect(document: str) -> bool:
    return re.search(_SUSPECT_NUMBER, document) is not None


@given(NUMBERS, PLACES)
def test_every_number_beyond_float64_is_looked_at(number: str, place: str) -> None:
    document = place % number
    try:
        orjson.loads(document)
    except ValueError:
        assert is_suspect(document)


@pytest.mark.parametrize("text", [str(uuid.UUID(int=0x1E345E678_9E012 << 60)), "0e" + "4" * 62, "1e999", "7E400.x"])
def test_text_in_strings_is_not(text: str) -> None:
    assert not is_suspect(f'{{"id":"{text}","ids":["{text}"],"{text}":1}}')
