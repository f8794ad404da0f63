"""The statements that remove copies of events, in GoogleSQL.

Where keys are not enforced, an event that came again after it was forgotten is there twice. The copy that was received
first stays. A partitioned table is always read with a bound of its partitions.
"""

from __future__ import annotations

from typing import Final

from schemas.segment import PARTITIONS
from schemas.tables import EVENTS

_FIRST_PARTITION: Final = "TIMESTAMP('1960-01-01 00:00:00+00')"
assert PARTITIONS.start == -315_619_200_000_000, "the bound of the partitions is 1960-01-01"
_COLUMNS: Final = tuple(f"`{column.name}`" for column in EVENTS.columns)
_COPIED: Final = (
    f"SELECT COUNT(*) AS written, MIN({EVENTS.partition_by}) AS first_at, MAX({EVENTS.partition_by}) AS last_at\n"
    f"  FROM {EVENTS.name}\n"
    f"  WHERE {EVENTS.partition_by} >= {_FIRST_PARTITION}\n"
    "  GROUP BY message_id\n"
    "  HAVING COUNT(*) > 1"
)

COPIES: Final = (
    "SELECT SUM(copied.written) - COUNT(*) AS copies, UNIX_MICROS(MIN(copied.first_at)) AS first_at,"
    f" UNIX_MICROS(MAX(copied.last_at)) AS last_at\nFROM (\n  {_COPIED}\n) AS copied"
)
"""One row: how many copies there are, and between which `received_at` they and their firsts lie, in microseconds since
the epoch; NULL where there is none. It reads two columns."""


def _remove(first_at: str, last_at: str) -> str:
    """One statement, so that no event is missing at any time: the firsts are inserted anew, since of rows that are the
    same in all columns none can be kept by itself."""
    within = f"{EVENTS.partition_by} >= {first_at} AND {{}}{EVENTS.partition_by} <= {last_at}"
    return (
        f"MERGE INTO {EVENTS.name} AS event\n"
        "USING (\n"
        f"  SELECT first.*, is_to_go\n"
        "  FROM (\n"
        f"    SELECT *\n    FROM {EVENTS.name}\n"
        f"    WHERE {within.format('')}\n"
        "    QUALIFY\n"
        "      COUNT(*) OVER (PARTITION BY message_id) > 1\n"
        "      AND ROW_NUMBER() OVER (\n"
        "        PARTITION BY message_id\n"
        "        ORDER BY received_at, timestamp, type, name, TO_JSON_STRING(properties), TO_JSON_STRING(context)\n"
        "      ) = 1\n"
        "  ) AS first\n"
        "  CROSS JOIN UNNEST([TRUE, FALSE]) AS is_to_go\n"
        ") AS first\n"
        f"ON first.is_to_go AND event.message_id = first.message_id AND event.{within.format('event.')}\n"
        "WHEN MATCHED THEN DELETE\n"
        "WHEN NOT MATCHED BY TARGET AND NOT first.is_to_go THEN\n"
        f"  INSERT ({', '.join(_COLUMNS)})\n"
        f"  VALUES ({', '.join(f'first.{name}' for name in _COLUMNS)})"
    )


REMOVE_COPIES: Final = _remove("TIMESTAMP_MICROS(@first_at)", "TIMESTAMP_MICROS(@last_at)")
"""Leaves of each message_id between these times the event that was received first."""

SCRIPT: Final = (
    "DECLARE first_at, last_at TIMESTAMP;\n"
    "SET (first_at, last_at) = (\n"
    f"SELECT AS STRUCT MIN(copied.first_at), MAX(copied.last_at)\nFROM (\n  {_COPIED}\n) AS copied\n);\n"
    "IF first_at IS NOT NULL THEN\n"
    f"{_remove('first_at', 'last_at')};\n"
    "END IF;"
)
"""Both as a script, for a scheduled query."""
