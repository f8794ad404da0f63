"""How unkind the double is where the documentation leaves it open, or BigQuery has been seen to be either way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum

MIB = 1024 * 1024
DOCUMENTED_REQUEST, ENFORCED_REQUEST = 20 * MIB, 10 * MIB
"""What an append request may hold by https://cloud.google.com/bigquery/quotas#write-api-limits , and what servers were
seen to enforce."""
SESSION_S = 6 * 3600.0
"""https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#bigqueryread"""


class RowErrors(Enum):
    """How a request with bad rows is answered."""

    NAMED = "the answer names them, and the connection goes on"
    UNNAMED = "the answer is an error, and the connection goes on"
    END = "the call ends with an error"


@dataclass
class Strictness:
    """What a test may set, at any time.

    `exact_numbers`: appends refuse a number of JSON that the mode `exact` of PARSE_JSON refuses. `unknown_for`: so many
    asks after a table or dataset that was just made, of each API, are answered as if it were not there or not allowed,
    in turns.
    `connections`: so many connections of the Write API can be open. `latency_s`: how long each answer takes, while
    others are on their way. `session_reads`, `session_s`: a read session expires after so many reads of its streams, or
    seconds. `unwanted`: appends refuse a row that has this text in a column of type STRING or JSON.
    """

    row_errors: RowErrors = RowErrors.NAMED
    exact_numbers: bool = False
    unknown_for: int = 0
    connections: int | None = None
    latency_s: float = 0.0
    session_reads: int | None = None
    session_s: float = SESSION_S
    unwanted: str | None = None
    _asked: Counter[Hashable] = field(default_factory=Counter)

    def unknown(self, api: str, name: Hashable) -> int:
        """How often what is not known yet was asked after by this API, this time included; 0 where it is known by
        now."""
        if self._asked[api, name] >= self.unknown_for:
            return 0
        self._asked[api, name] += 1
        return self._asked[api, name]
