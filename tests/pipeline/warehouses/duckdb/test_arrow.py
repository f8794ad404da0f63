"""Which JSON is looked at twice before it is written, and which is not looked at by DuckDB."""

from __future__ import annotations

import re
import uuid
from random import Random

import duckdb
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.duckdb.arrow import _SUSPECT_NUMBER, block_batch
from schemas.tables import EVENTS, IDENTITY_CALLS, Type
from tests.histories import odd_line
from tests.transforms.core.hostile import hostile
from transforms.call_blocks import CallBlock, IdentityBlock
from transforms.core.connections import DEFAULT
from transforms.core.reader import Reader
from transforms.read_blocks import _ReadBlockFn

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


def test_the_json_of_a_block_is_what_duckdb_would_take() -> None:
    """It does not check it again. Here are all ways into a block: ordinary calls, items of batches, odd ones."""
    rng = Random(11)
    payloads = [*(hostile(rng) for _ in range(4_000)), *(odd_line(rng) for _ in range(1_000))]
    fn = _ReadBlockFn(Reader.of(DEFAULT))
    blocks: dict[str, list[CallBlock]] = {EVENTS.name: [], IDENTITY_CALLS.name: []}
    for output in fn.process(payloads):
        if isinstance(output, CallBlock):
            blocks[EVENTS.name].append(output)
        elif isinstance(output.value, IdentityBlock):
            blocks[IDENTITY_CALLS.name].append(output.value.rows)
    for table in (EVENTS, IDENTITY_CALLS):
        batch = block_batch(table, blocks[table.name], 0)
        assert batch.num_rows > 100
        with duckdb.connect() as connection:
            connection.register("batch", batch)
            for column in table.columns:
                if column.type is Type.JSON:
                    name = f'"{column.name}"'
                    taken = f"count({name}) = count(TRY_CAST(CAST({name} AS VARCHAR) AS JSON))"
                    query = f"SELECT any_value(typeof({name})), {taken} FROM batch"
                    assert connection.execute(query).fetchall() == [("JSON", True)]
