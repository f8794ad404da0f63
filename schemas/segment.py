"""The input contract: what a Segment call is, by field name and type (`docs/semantics.md`, section 1)."""

from __future__ import annotations

from collections.abc import Mapping

PAGE, SCREEN, TRACK, IDENTIFY, GROUP, ALIAS, DELETE = "page", "screen", "track", "identify", "group", "alias", "delete"
CALL_TYPES = frozenset({PAGE, SCREEN, TRACK, IDENTIFY, GROUP, ALIAS, DELETE})
"""Segment's calls, and `delete`, its deletion notice."""

FIELDS = (
    "type",
    "messageId",
    "userId",
    "anonymousId",
    "previousId",
    "groupId",
    "projectId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "receivedAt",
    "event",
    "name",
    "traits",
    "properties",
    "context",
    "integrations",
    "category",
    "channel",
)
"""The fields that are read, as the Segment spec writes them."""

OTHER_FIELDS = frozenset({"_metadata", "batch", "version", "writeKey"})
"""Other fields that real calls carry: known here so that an ordinary call is read in one step."""

WRITE_KEY = "writeKey"
"""A source's secret, which is kept nowhere."""

ALIAS_FIELDS: Mapping[str, str] = {"previousId": "from", "userId": "to"}
"""What an alias call may call these fields instead."""

BATCH = "batch"
BATCH_DEFAULTS = ("context", "integrations", "sentAt", "receivedAt")
"""The fields of a batch that are defaults for each of its items; the first two are merged one level deep."""

PLACEHOLDER_IDS = frozenset(
    {
        "",
        "null",
        "nullptr",
        "nil",
        "none",
        "nan",
        "na",
        "undefined",
        "undefinedundefined",
        "nullnull",
        "anonymous",
        "anonymousid",
        "anon",
        "guest",
        "unknown",
        "unidentified",
        "notauthenticated",
        "loggedout",
        "notset",
        "nouser",
        "userid",
        "distinctid",
        "uuid",
        "id",
        "email",
        "true",
        "false",
        "objectobject",
    }
)
"""Ids that a sender's bug wrote and that name nobody, folded: letters and digits alone, in lower case."""

MAX_ID_CHARACTERS = 1024
MAX_BATCH_ITEMS = 10_000
MAX_BATCH_BYTES = 64_000_000
"""What all calls of an array or a batch come to, with the batch's defaults written into each."""
MAX_ROW_BYTES = 8_000_000
"""What a warehouse can hold in one row, with all its columns."""
MAX_MESSAGE_BYTES = 8_000_000
KEPT_OF_TOO_LARGE_BYTES = 1_000_000
MAX_DEPTH = 500
"""Nesting that BigQuery's JSON type accepts."""
MAX_CLOCK_AHEAD_US = 24 * 3600 * 1_000_000
"""How long after it was received a call may claim to have happened, and after it was published to have been received,
in microseconds."""
CALL_TIMES = range(31_536_000_000_000, 253_402_300_800_000_000)
"""The times that a call may have, 1971 to 9999, in microseconds since the epoch: clocks that were never set tell 1970,
1900 or the year 1."""
PARTITIONS = range(-315_619_200_000_000, 5_995_814_400_000_000)
"""The `received_at` that BigQuery can partition by: 1960-01-01 to 2159-12-31, in microseconds since the epoch."""


def folded(name: str) -> str:
    """A field name without regard to case, `_` and spaces: `Previous ID` and `previous_id` are `previousid`."""
    return name.lower().replace("_", "").replace(" ", "")
