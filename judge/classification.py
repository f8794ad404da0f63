"""Section 2: what each call becomes."""

from __future__ import annotations

from judge.message import ReplayedMessage, non_empty
from judge.user_properties import computation_class
from judge.values import Row

EVENT_TYPES = {"page": "Page", "screen": "Screen", "track": "Action"}


def is_identity_call(message: ReplayedMessage) -> bool:
    """Whether the call is logged: all but pages, screens and plain tracks."""
    return message.type not in EVENT_TYPES or computation_class(message) is not None


def event_name(message: ReplayedMessage) -> str:
    page = message.context.get("page")
    candidates = {
        "page": [
            message.name,
            message.properties.get("name"),
            message.properties.get("path"),
            page.get("path") if isinstance(page, dict) else None,
        ],
        "screen": [message.name, message.properties.get("name")],
        "track": [message.event],
    }[message.type]
    return next((candidate for candidate in candidates if non_empty(candidate)), "")


def event_row(message: ReplayedMessage) -> Row:
    return {
        "message_id": message.message_id,
        "type": EVENT_TYPES[message.type],
        "name": event_name(message),
        "timestamp": message.timestamp,
        "received_at": message.received_at,
        "sent_at": message.sent_at,
        "user_id": message.user_id,
        "anonymous_id": message.anonymous_id,
        "group_id": message.group_id,
        "connection": message.connection.name,
        "properties": message.properties,
        "context": message.context,
        "integrations": message.integrations,
        "original_timestamp": message.original_timestamp,
        "project_id": message.project_id,
        "channel": message.channel,
        "extra": message.extra,
    }


def identity_call_row(message: ReplayedMessage) -> Row:
    return {
        "message_id": message.message_id,
        "type": message.type,
        "timestamp": message.timestamp,
        "received_at": message.received_at,
        "user_id": message.user_id,
        "anonymous_id": message.anonymous_id,
        "previous_id": message.previous_id,
        "group_id": message.group_id,
        "connection": message.connection.name,
        "traits": message.traits,
        "properties": message.properties if message.type == "track" else None,
        "context": message.context,
        "sent_at": message.sent_at,
        "original_timestamp": message.original_timestamp,
        "project_id": message.project_id,
    }
