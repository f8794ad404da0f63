"""The statements of a purge (`docs/semantics.md`, section 7), written once in GoogleSQL for every warehouse.

Each reads or changes one table, so that a purge that was interrupted is finished by running it again. A partitioned
table is always read with a bound of its partitions that leaves nothing out: where a dataset requires a filter on them,
no other statement is accepted. Names with an `@` are query parameters; times are microseconds since the epoch.
"""

from __future__ import annotations

from typing import Final

from schemas.segment import DELETE, GROUP, PARTITIONS, TRACK
from schemas.tables import DEAD_LETTERS, EVENTS, IDENTITIES, IDENTITY_CALLS, JOBS, Column, Mode, Table, Type

PURGED_NAME: Final = "purged"
"""The event's name in a stripped track call, which must have one."""
_IDS: Final = ("user_id", "anonymous_id", "previous_id")
_KEPT: Final = frozenset({"message_id", "type", *_IDS, "group_id", "connection"})
"""What the log keeps of a call besides its times: a column that is added to it is stripped unless it is named here."""
_FIRST_PARTITION: Final = "TIMESTAMP('1960-01-01 00:00:00+00')"
assert PARTITIONS.start == -315_619_200_000_000, "the bound of the partitions is 1960-01-01"
_IS_HERS: Final = "COALESCE(user_id, anonymous_id) IN UNNEST(@ids)"
_UP_TO_THE_DELETE: Final = (
    "(UNIX_MICROS(timestamp) < @deleted_at OR UNIX_MICROS(timestamp) = @deleted_at AND message_id <= @delete_id)"
)


def _all_of(table: Table) -> str:
    """`FROM … WHERE`, and a bound of the partitions that every row is within."""
    return f"{table.name} WHERE {_all_partitions(table)}"


def _all_partitions(table: Table) -> str:
    return f"{table.name}.{table.partition_by} >= {_FIRST_PARTITION}"


LABELS: Final = f"SELECT DISTINCT external_id FROM {IDENTITIES.name} WHERE id IN UNNEST(@ids)"
"""The contacts that `@ids` belong to, but for those that are their own contact's label."""
MEMBERS: Final = f"SELECT id FROM {IDENTITIES.name} WHERE external_id IN UNNEST(@ids)"
"""The other ids of the contacts of these labels."""
NEWEST_DELETE: Final = (
    f"SELECT UNIX_MICROS(timestamp) AS deleted_at, message_id AS delete_id FROM {_all_of(IDENTITY_CALLS)}"
    f" AND type = '{DELETE}' AND {_IS_HERS} ORDER BY deleted_at DESC, delete_id DESC LIMIT 1"
)
"""The newest delete call that names one of `@ids`, if there is one."""
EVENTS_OF: Final = (
    f"SELECT COUNT(*) AS events, COUNT(CASE WHEN {_UP_TO_THE_DELETE} THEN 1 END) AS old"
    f" FROM {_all_of(EVENTS)} AND {_IS_HERS}"
)
"""How many events the ids have, and how many of them up to the delete."""
CALLS_OF: Final = (
    f"SELECT COUNT(*) AS calls, COUNT(CASE WHEN {_UP_TO_THE_DELETE} THEN 1 END) AS old,"
    f" COUNT(CASE WHEN {_UP_TO_THE_DELETE} AND (TO_JSON_STRING(traits) <> '{{}}' OR TO_JSON_STRING(context) <> '{{}}')"
    f" THEN 1 END) AS unstripped FROM {_all_of(IDENTITY_CALLS)} AND type <> '{DELETE}' AND {_IS_HERS}"
)
"""How many calls of the log the ids have, how many of them up to the delete, and how many of those with contents."""
CONNECTIONS: Final = f"SELECT DISTINCT connection FROM {_all_of(IDENTITY_CALLS)}"
LAST_OPTIONS: Final = f"SELECT options FROM {JOBS.name} ORDER BY generation DESC LIMIT 1"
"""The options of the last job."""
REMOVE_EVENTS: Final = f"DELETE FROM {_all_of(EVENTS)} AND {_IS_HERS} AND {_UP_TO_THE_DELETE}"
DEAD_LETTERS_READ: Final = (
    f"SELECT dead_letter_id, payload, TO_JSON_STRING(attributes) AS attributes FROM {_all_of(DEAD_LETTERS)}"
)
REMOVE_DEAD_LETTERS: Final = f"DELETE FROM {_all_of(DEAD_LETTERS)} AND dead_letter_id IN UNNEST(@ids)"
CARRYING_EVENTS: Final = (
    f"SELECT COUNT(*) AS events FROM {_all_of(EVENTS)} AND (user_id IN UNNEST(@ids) OR anonymous_id IN UNNEST(@ids))"
)
"""How many events carry one of `@ids`."""
CARRIERS: Final = (
    f"SELECT message_id, {', '.join(_IDS)}, payload FROM {_all_of(IDENTITY_CALLS)}"
    f" AND ({' OR '.join(f'{name} IN UNNEST(@ids)' for name in _IDS)}"
    " OR EXISTS (SELECT 1 FROM UNNEST(@ids) AS id WHERE STRPOS(payload, id) > 0))"
)
"""The calls of the log that carry one of `@ids`, and maybe others."""


def _of_change(name: str, alias: str) -> str:
    return f"JSON_VALUE(change, '$.{name}') AS {alias}"


_NEW: Final = (*_IDS, "payload")
_LOG: Final = IDENTITY_CALLS.name
REPLACE_IN_CALLS: Final = (
    f"UPDATE {IDENTITY_CALLS.name} SET {', '.join(f'{name} = changed.new_{name}' for name in _NEW)},"
    " promoted = PARSE_JSON(changed.new_promoted, wide_number_mode=>'round') FROM"
    f" (SELECT {_of_change('message_id', 'changed_id')}, {_of_change('old_digest', 'old_digest')},"
    f" {', '.join(_of_change(name, f'new_{name}') for name in (*_NEW, 'promoted'))}"
    " FROM UNNEST(@changes) AS change) AS changed"
    f" WHERE {_all_partitions(IDENTITY_CALLS)}"
    f" AND {_LOG}.message_id = changed.changed_id AND TO_HEX(SHA256({_LOG}.payload)) = changed.old_digest"
)
"""Gives calls of the log other ids and another payload. Each of `@changes` is a JSON object: the `message_id` of a row
and the SHA-256 of its payload, in hexadecimal, as `old_digest`, and its new columns."""


EXTRAS: Final = (
    f"SELECT message_id, TO_JSON_STRING(extra) AS extra FROM {_all_of(EVENTS)} AND extra IS NOT NULL"
    " AND EXISTS (SELECT 1 FROM UNNEST(@ids) AS id WHERE STRPOS(TO_JSON_STRING(extra), id) > 0)"
)
"""The events whose other fields carry one of `@ids`, and maybe others."""
REPLACE_IN_EXTRAS: Final = (
    f"UPDATE {EVENTS.name} SET extra = PARSE_JSON(changed.new_extra, wide_number_mode=>'round')"
    f" FROM (SELECT {_of_change('message_id', 'changed_id')}, {_of_change('extra', 'new_extra')}"
    f" FROM UNNEST(@changes) AS change) AS changed"
    f" WHERE {_all_partitions(EVENTS)} AND {EVENTS.name}.message_id = changed.changed_id"
)
"""Gives events other fields: each of `@changes` is a JSON object, a `message_id` and its new `extra`, as text."""


def replace_in_events(column: str) -> str:
    """Gives events other ids: each of `@changes` is a JSON object, an `id` and what replaces it."""
    return (
        f"UPDATE {EVENTS.name} SET {column} = changed.new_id FROM (SELECT {_of_change('id', 'old_id')},"
        f" {_of_change('new_id', 'new_id')} FROM UNNEST(@changes) AS change) AS changed"
        f" WHERE {_all_partitions(EVENTS)} AND {EVENTS.name}.{column} = changed.old_id"
    )


_EMPTY: Final = {
    Type.JSON: "JSON '{}'",
    Type.STRING: "''",
    Type.INT64: "0",
    Type.BOOL: "FALSE",
    Type.BYTES: "b''",
}


def _stripped(column: Column) -> str | None:
    """What a column of a stripped call holds, None where it keeps what it has."""
    if column.name in _KEPT or column.type is Type.TIMESTAMP:
        return None
    if column.name == "payload":
        return (
            "TO_JSON_STRING(JSON_OBJECT('type', type, 'messageId', message_id, 'timestamp', timestamp,"
            " 'receivedAt', received_at, 'userId', user_id, 'anonymousId', anonymous_id, 'previousId', previous_id,"
            f" 'groupId', CASE type WHEN '{GROUP}' THEN group_id END,"
            f" 'event', CASE type WHEN '{TRACK}' THEN '{PURGED_NAME}' END))"
        )
    if column.name == "properties":
        return f"CASE type WHEN '{TRACK}' THEN JSON '{{}}' END"
    if column.mode is Mode.NULLABLE:
        return "NULL"
    if column.mode is Mode.REPEATED:
        return "[]"
    return _EMPTY[column.type]


STRIP_CALLS: Final = (
    f"UPDATE {IDENTITY_CALLS.name} SET"
    f" {', '.join(f'{c.name} = {value}' for c in IDENTITY_CALLS.columns if (value := _stripped(c)) is not None)}"
    f" WHERE {_all_partitions(IDENTITY_CALLS)} AND type <> '{DELETE}' AND {_IS_HERS} AND {_UP_TO_THE_DELETE}"
)
"""Leaves ids and times of the calls, so that the log still gives the same contacts."""

STATEMENTS: Final = (
    LABELS,
    MEMBERS,
    NEWEST_DELETE,
    EVENTS_OF,
    CALLS_OF,
    CONNECTIONS,
    LAST_OPTIONS,
    REMOVE_EVENTS,
    DEAD_LETTERS_READ,
    REMOVE_DEAD_LETTERS,
    STRIP_CALLS,
    CARRYING_EVENTS,
    CARRIERS,
    REPLACE_IN_CALLS,
    EXTRAS,
    REPLACE_IN_EXTRAS,
    *map(replace_in_events, _IDS[:2]),
)
"""All of them, for tests."""
