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
)
"""The fields that are read, as the Segment spec writes them."""

OTHER_FIELDS = frozenset({"_metadata", "batch", "category", "channel", "version", "writeKey"})
"""Fields that real calls carry and that are not read: known here so that an ordinary call is read in one step."""

ALIAS_FIELDS: Mapping[str, str] = {"previousId": "from", "userId": "to"}
"""What an alias call may call these fields instead."""

BATCH = "batch"
BATCH_DEFAULTS = ("context", "integrations", "sentAt", "receivedAt")
"""The fields of a batch that are defaults for each of its items; the first two are merged one level deep."""

PLACEHOLDER_IDS = frozenset(
    {
        "",
        "null",
        "undefined",
        "none",
        "nil",
        "nan",
        "n/a",
        "anonymous",
        "anonymous_id",
        "guest",
        "unknown",
        "user_id",
        "userid",
        "distinct_id",
        "id",
        "email",
        "true",
        "false",
        "-1",
        "[object object]",
    }
)
"""Ids that a sender's bug wrote and that name nobody, in lower case and without quotes."""

MAX_MESSAGE_BYTES = 8_000_000
KEPT_OF_TOO_LARGE_BYTES = 1_000_000
MAX_DEPTH = 500
"""Nesting that BigQuery's JSON type accepts."""
MAX_CLOCK_AHEAD_US = 24 * 3600 * 1_000_000
"""How long after it was received a message may claim to have happened, in microseconds."""
PARTITIONS = range(-315_619_200_000_000, 5_995_814_400_000_000)
"""The `received_at` that BigQuery can partition by: 1960-01-01 to 2159-12-31, in microseconds since the epoch."""


def folded(name: str) -> str:
    """A field name without regard to case, `_` and spaces: `Previous ID` and `previous_id` are `previousid`."""
    return name.lower().replace("_", "").replace(" ", "")
