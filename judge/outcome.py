"""What the replay comes to."""

from __future__ import annotations

from dataclasses import dataclass, field

from judge.values import Row


@dataclass
class Tables:
    """The final tables, timestamps as microseconds since the epoch, JSON columns as parsed values.

    Rows lack what is no function of the messages (`updated_at`, `written_at`, `failed_at`), and the log's `payload`.
    Where one `message_id` carries different contents, `events` and `identity_calls` hold the first that was given.
    """

    events: dict[str, Row] = field(default_factory=dict)  # by message_id
    identity_calls: dict[str, Row] = field(default_factory=dict)  # by message_id
    contacts: dict[str, Row] = field(default_factory=dict)  # by external_id
    accounts: dict[str, Row] = field(default_factory=dict)  # by account_id
    identities: dict[str, str] = field(default_factory=dict)  # id -> external_id
    memberships: dict[tuple[str, str], Row] = field(default_factory=dict)  # by (external_id, account_id)
    dead_letters: list[tuple[str, bytes]] = field(default_factory=list)  # (reason, payload), distinct and sorted
