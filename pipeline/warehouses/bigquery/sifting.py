"""Finds the rows that BigQuery refuses without naming them.

A refusal may also concern every row: the schema, the stream, the table. So a row that is refused alone is to blame only
where another row is accepted: one of its batch, or one that its connection has lately written. Otherwise some others of
the batch are asked about, each alone, and where none of them is accepted either, it is no row's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pipeline.warehouses.bigquery.answers import AppendError, RowsSuspected

_ASKED_ABOUT: Final = 9
"""How many other rows are asked about."""


class NoneAcceptedError(Exception):
    """No row was accepted; why the last was not."""

    def __init__(self, refusal: AppendError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def sift(
    count: int, ask: Callable[[Sequence[int]], AppendError | None], accepts_rows: Callable[[], bool]
) -> Mapping[int, AppendError]:
    """Of so many rows that were refused together those that are refused alone, and why; all others are written.

    `ask` sends rows, by index, and returns why they are refused, or None where they are written. It is called for each
    row that is refused at most log2(count) + 3 times, and 10 times more where no row is accepted at first.
    `accepts_rows` says whether other rows are accepted. Raises NoneAcceptedError.
    """
    sifted = _Sifted(ask)
    left: Sequence[int] = range(count)
    while left and (refusal := sifted.ask(left)) is not None:
        error = sifted.find(left, refusal)
        if error is not None and not (sifted.written or accepts_rows() or _is_of_one_row(error)):
            sifted.ask_about_others(left)
        left = [index for index in left if index not in sifted.written and index not in sifted.refused]
    return sifted.refused


class _Sifted:
    """What is known of the rows so far."""

    def __init__(self, ask: Callable[[Sequence[int]], AppendError | None]) -> None:
        self.written: set[int] = set()
        self.refused: dict[int, AppendError] = {}
        self._ask = ask

    def ask(self, rows: Sequence[int]) -> AppendError | None:
        refusal = self._ask(rows)
        if refusal is None:
            self.written.update(rows)
        return refusal

    def ask_alone(self, row: int) -> AppendError | None:
        refusal = self.ask([row])
        if refusal is not None:
            self.refused[row] = refusal
        return refusal

    def find(self, suspects: Sequence[int], refusal: AppendError | None) -> AppendError | None:
        """Finds one row that is refused among those that were refused together, for this reason; returns why it is.
        None where all that were asked about are written now."""
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            refusal = self.ask(half)
            suspects = suspects[len(half) :] if refusal is None else half
        (row,) = suspects
        if refusal is None:  # one that remained, and was not asked about alone
            return self.ask_alone(row)
        self.refused[row] = refusal
        return refusal

    def ask_about_others(self, rows: Sequence[int]) -> None:
        """Returns once one of the others is accepted, or refused for what can only be its own fault. Raises
        NoneAcceptedError."""
        others = [row for row in rows if row not in self.refused]
        refusal = next(reversed(self.refused.values()))
        asks = min(_ASKED_ABOUT, len(others))
        for place in range(asks):
            answer = self.ask_alone(others[place * len(others) // asks])
            if answer is None or _is_of_one_row(answer):
                return
            refusal = answer
        raise NoneAcceptedError(refusal)


def _is_of_one_row(refusal: AppendError) -> bool:
    return not isinstance(refusal, RowsSuspected) or refusal.is_of_one_row
