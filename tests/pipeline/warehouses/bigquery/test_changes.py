"""Versions of keyed rows as sequence numbers of change data capture."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.bigquery.changes import sequence_number
from tests.bigquery_double.tables import sequence_number as parsed

GENERATION = 1_700_000_000_000_000
generations = st.integers(0, 2**64 - 1)
versions = st.lists(st.integers(0, 2**48 - 2), max_size=4).map(tuple)


@given(generations, versions, generations, versions)
def test_sequence_numbers_are_ordered_as_generation_and_version(
    generation: int, version: tuple[int, ...], other_generation: int, other: tuple[int, ...]
) -> None:
    one, two = sequence_number(generation, version), sequence_number(other_generation, other)
    assert (parsed(one) < parsed(two)) == ((generation, *version) < (other_generation, *other))
    assert (one < two) == (parsed(one) < parsed(two))  # as text, too


def test_a_sweep_is_below_every_version_of_its_generation_and_above_all_of_the_one_before() -> None:
    swept = parsed(sequence_number(GENERATION, ()))
    assert swept < parsed(sequence_number(GENERATION, (0,))) < parsed(sequence_number(GENERATION, (0, 0)))
    assert swept > parsed(sequence_number(GENERATION - 1, (2**48 - 2, 0, 0, 0)))


@pytest.mark.parametrize(
    ("what", "generation", "version"),
    [
        ("more numbers than there is room for", GENERATION, (1, 2, 3, 4, 5)),
        ("a negative number", GENERATION, (-1,)),
        ("a negative generation", -1, ()),
        ("a number beyond twelve digits", GENERATION, (2**48 - 1,)),
        ("a generation beyond sixteen digits", 2**64, ()),
    ],
)
def test_a_version_that_does_not_fit_is_an_error(what: str, generation: int, version: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit a sequence number"):
        sequence_number(generation, version)
