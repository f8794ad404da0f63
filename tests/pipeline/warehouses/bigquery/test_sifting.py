"""Rows that are refused and not named: found one at a time, at a bounded cost, or no row's fault."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from pipeline.warehouses.bigquery.answers import AppendError, RowsSuspected
from pipeline.warehouses.bigquery.sifting import NoneAcceptedError, sift

SUSPECTED = RowsSuspected(StatusCode.INVALID_ARGUMENT, "Request contains an invalid argument.")
OF_ONE_ROW = RowsSuspected(StatusCode.OUT_OF_RANGE, "Input number: 1.1 cannot round-trip through string representation")


class Table:
    """Refuses requests that hold one of these rows."""

    def __init__(self, bad: set[int], refusal: AppendError = SUSPECTED) -> None:
        self.bad, self.refusal = bad, refusal
        self.written: list[int] = []
        self.requests = 0

    def ask(self, rows: Sequence[int]) -> AppendError | None:
        self.requests += 1
        if self.bad.intersection(rows):
            return self.refusal
        self.written += rows
        return None


@given(st.integers(1, 600), st.data())
def test_bad_rows_are_found_and_each_other_row_is_written_once(count: int, data: st.DataObject) -> None:
    """Nine others are asked about, so that up to nine bad rows cannot hide that there are good ones."""
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=min(12, count - 1)))
    table = Table(bad)
    refused = sift(count, table.ask, lambda: len(bad) > 9)
    assert refused.keys() == bad
    assert sorted(table.written) == [row for row in range(count) if row not in bad]
    assert table.requests <= 1 + len(bad) * (ceil(log2(count)) + 2) + 9


def test_one_bad_row_of_500_costs_some_ten_requests() -> None:
    for bad in (0, 250, 499):
        table = Table({bad})
        assert [*sift(500, table.ask, lambda: True)] == [bad]
        assert table.requests <= 12


@pytest.mark.parametrize("count", [1, 2, 9, 500, 2_000])
def test_where_no_row_is_accepted_it_is_no_rows_fault_and_that_is_soon_known(count: int) -> None:
    table = Table({*range(count)})
    with pytest.raises(NoneAcceptedError, match="Request contains an invalid argument"):
        sift(count, table.ask, lambda: False)
    assert table.requests <= 2 + ceil(log2(count)) + 9
    assert table.written == []


@pytest.mark.parametrize("count", [1, 3])
def test_where_others_are_accepted_all_rows_of_a_batch_may_be_bad(count: int) -> None:
    assert [*sift(count, Table({*range(count)}).ask, lambda: True)] == [*range(count)]


@pytest.mark.parametrize("count", [1, 3])
def test_what_can_only_be_about_a_value_is_the_rows_fault_whatever_else_is_accepted(count: int) -> None:
    assert [*sift(count, Table({*range(count)}, OF_ONE_ROW).ask, lambda: False)] == [*range(count)]


def test_many_bad_rows_in_front_do_not_hide_that_others_are_accepted() -> None:
    table = Table({*range(40)})
    assert [*sift(500, table.ask, lambda: False)] == [*range(40)]


def test_rows_that_are_accepted_when_they_are_sent_again_are_not_refused() -> None:
    answers = [SUSPECTED, SUSPECTED, None, None, None]
    assert sift(4, lambda _: answers.pop(0), lambda: True) == {}
