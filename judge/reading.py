"""Section 1: reading a message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from judge.classification import EVENT_TYPES, event_row, identity_call_row, is_identity_call
from judge.configuration import Config, ConnectionRules
from judge.ids import ReadId, first_id, read_id
from judge.json_text import batch_text, beyond_float64, canonical, depth, elements, is_text, parse
from judge.message import (
    DEEPEST,
    RefusedError,
    ReplayedMessage,
    first_present,
    named,
    non_empty,
    spelling,
    without_write_keys,
)
from judge.time_forms import FIRST_CALL, LAST_TIME, SECOND, microseconds, read_call_time
from judge.values import Json, Object

MEGABYTE = 10**6  # bytes
LONGEST = 8 * MEGABYTE  # of a message, and of a row
MOST_ITEMS = 10_000
LONGEST_ITEMS = 64 * MEGABYTE
FIELDS = [
    *("type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "projectId", "channel"),
    *("userId", "anonymousId", "previousId", "groupId", "event", "name", "category"),
    *("traits", "properties", "context", "integrations"),
]
# Those that every event has a column for.
EVENT_FIELDS = [
    *("type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt"),
    *("userId", "anonymousId", "properties", "context", "integrations"),
]
DEFAULTS = ("context", "integrations", "sentAt", "receivedAt")
HOUR = 3600 * SECOND
FIRST_PARTITION = microseconds(datetime(1960, 1, 1, tzinfo=timezone.utc))
LAST_PARTITION = microseconds(datetime(2159, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))


def read(
    payload: bytes, config: Config, connection: str | None, published: int | None = None
) -> Iterator[ReplayedMessage | tuple[str, bytes]]:
    """Yields each message of a payload, or (reason, bytes) where it is refused. Disabled messages yield nothing.

    `published` is when the payload was published; a line of a file has no such time.
    """
    if len(payload) > LONGEST:
        yield "too_large", payload[:MEGABYTE]
        return
    try:
        text = payload.decode("utf-8")
        body = parse(text)
    except ValueError:
        yield "invalid_json", payload
        return
    defaults: Object = {}
    rest: Object = {}  # what a batch says beside its items
    if isinstance(body, list):
        values, items = body, elements(text)
    elif isinstance(body, dict) and isinstance(named(body, "batch"), list):
        values, items = named(body, "batch"), elements(batch_text(text))
        rest = {key: value for key, value in body.items() if value is not values}
        defaults = {name: without_write_keys(named(rest, name)) for name in DEFAULTS}
    else:
        values, items = [body], [text]
    if len(items) > MOST_ITEMS or sum(size(expand(value, defaults)) for value in values) > LONGEST_ITEMS:
        yield "too_large", payload[:MEGABYTE]
        return
    if not is_text(rest):
        yield "invalid_json", payload
        return
    for item in items:
        # The message alone on its line keeps the line's bytes, an item those that are its own.
        own_bytes = payload if items == [text] else item.encode("utf-8")
        try:
            value = parse(item)
            message = read_message(value, defaults, config, connection, published)
            value = without_write_keys(value)
        except RefusedError as refused:
            yield refused.reason, own_bytes
        else:
            if message is not None and row_size(message, expand(value, defaults)) > LONGEST:
                yield "too_large", own_bytes[:MEGABYTE]
            elif message is not None:
                yield message


def size(value: Json) -> int:
    """How many bytes the value is as canonical JSON."""
    return len(canonical(value).encode("utf-8", "surrogatepass"))


def expand(item: Json, defaults: Object) -> Json:
    """The item with a batch's defaults written into it."""
    if not isinstance(item, dict):
        return item
    merged = with_defaults({name: named(item, name) for name in DEFAULTS}, defaults)
    written = {spelling(item, name) or name: value for name, value in merged.items() if value is not None}
    return {**item, **written}


def row_size(message: ReplayedMessage, payload: Object) -> int:
    """How many bytes the larger of the call's rows is: texts in UTF-8, JSON as canonical JSON, 8 for a time."""
    event = event_row(message) if message.type in EVENT_TYPES else {}
    logged = {**identity_call_row(message), "payload": payload} if is_identity_call(message) else {}
    return max(sum(column_size(value) for value in row.values()) for row in (event, logged))


def column_size(value: Json) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8"))
    return 8 if isinstance(value, int) else size(value)


def read_message(
    item: Json, defaults: Object, config: Config, connection_name: str | None, published: int | None = None
) -> ReplayedMessage | None:
    """One message, None if it is disabled; `defaults` are the batch's. The checks stand in the order of the reasons."""
    if not isinstance(item, dict):
        raise RefusedError("invalid_json")
    fields = with_defaults({name: named(item, name) for name in FIELDS}, defaults)
    if not is_text([item, fields]):
        raise RefusedError("invalid_json")

    type_ = fields["type"].lower() if isinstance(fields["type"], str) else None
    if type_ not in ("page", "screen", "track", "identify", "group", "alias", "delete"):
        raise RefusedError("unsupported_type")

    connection = connection_of(fields["projectId"], config, connection_name)

    if max(depth(item), depth(fields)) > DEEPEST:
        raise RefusedError("invalid_field")
    whole, item = item, without_write_keys(item)
    fields = with_defaults({name: named(item, name) for name in FIELDS}, defaults)
    traits, properties, context = (read_object(fields[name]) for name in ("traits", "properties", "context"))
    if type_ == "identify" and fields["traits"] is None and isinstance(context.get("traits"), dict):
        traits = context["traits"]
    moves_category = type_ in ("page", "screen") and properties.get("category") is None
    if moves_category and fields["category"] is not None:
        properties = {**properties, "category": fields["category"]}
    integrations = fields["integrations"] if isinstance(fields["integrations"], dict) else None

    own = config.placeholder_ids
    anonymous_id = read_id(fields["anonymousId"], own)
    previous_id = ReadId(None)
    user_id = read_id(fields["userId"], own)
    if type_ == "alias":
        user_id = first_id([fields["userId"], named(item, "to")], own)
        previous_id = first_id([fields["previousId"], named(item, "from"), fields["anonymousId"]], own)
    # The group that the call is about, or in another call the one that it was made in.
    of_context = first_id([context.get("groupId"), context.get("group_id")], own)
    group_id = of_context
    if type_ == "group" or of_context.id is None:
        group_id = read_id(fields["groupId"], own)
    lacking: list[ReadId] = []  # the ids that the call needs and has not
    if type_ == "alias":
        lacking = [id_ for id_ in (user_id, previous_id) if id_.id is None]
    elif type_ == "group":
        lacking = [id_ for id_ in (group_id,) if id_.id is None]
    elif user_id.id is None and anonymous_id.id is None:
        lacking = [user_id, anonymous_id]
    if any(id_.unusable for id_ in lacking):
        raise RefusedError("invalid_field")

    sent_at, original_timestamp = read_call_time(fields["sentAt"]), read_call_time(fields["originalTimestamp"])
    timestamp = read_timestamp(fields, published)
    received_at = first_present(read_call_time(fields["receivedAt"]), published, sent_at, timestamp)
    if published is not None and received_at > published + 24 * HOUR:
        received_at = published
    if received_at is not None and not FIRST_PARTITION <= received_at <= LAST_PARTITION:
        raise RefusedError("invalid_field")

    kept: list[str | None] = [spelling(item, name) for name in EVENT_FIELDS]
    kept += [spelling(item, "event" if type_ == "track" else "name")]
    kept += [spelling(item, name) for name in ("projectId", "channel") if isinstance(fields[name], str)]
    kept += [spelling(item, "category")] if moves_category else []
    kept += [spelling(item, "groupId")] if of_context.id is None and group_id.id is not None else []
    others = {key: value for key, value in item.items() if value is not None and key not in kept}
    stored_as_json: list[Json] = [context]
    if type_ in EVENT_TYPES:
        stored_as_json += [properties, integrations, others]
    if type_ not in EVENT_TYPES:
        stored_as_json += [traits]
    if beyond_float64(stored_as_json):
        raise RefusedError("invalid_field")

    if lacking and type_ in ("alias", "group"):
        raise RefusedError("missing_field")
    if lacking:
        raise RefusedError("missing_id")
    if type_ == "track" and not non_empty(fields["event"]):
        raise RefusedError("missing_field")
    if timestamp is None:
        raise RefusedError("missing_field")

    if not enabled(integrations or {}, config.integration_names):
        return None
    return ReplayedMessage(
        type=type_,
        message_id=read_message_id(fields["messageId"], whole),
        timestamp=received_at if timestamp > received_at + 24 * HOUR else timestamp,
        received_at=received_at,
        sent_at=sent_at,
        original_timestamp=original_timestamp,
        user_id=user_id.id,
        anonymous_id=anonymous_id.id,
        previous_id=previous_id.id,
        group_id=group_id.id,
        project_id=fields["projectId"] if isinstance(fields["projectId"], str) else None,
        channel=fields["channel"] if isinstance(fields["channel"], str) else None,
        connection=connection,
        name=fields["name"],
        event=fields["event"],
        traits=traits,
        properties=properties,
        context=context,
        integrations=integrations,
        extra=others or None,
    )


def read_timestamp(fields: Object, published: int | None) -> int | None:
    """When the call was made, by Segment's corrected time or else by the sender's clock, corrected here."""
    original, own = read_call_time(fields["originalTimestamp"]), read_call_time(fields["timestamp"])
    sent, received = read_call_time(fields["sentAt"]), read_call_time(fields["receivedAt"])
    if original is not None and own is not None:
        return own
    times = [time for time in (original, own, sent) if time is not None]
    if times:
        skew = received - sent if sent is not None and received is not None else 0
        if FIRST_CALL <= times[0] + skew <= LAST_TIME:
            return times[0] + skew
    return received if received is not None else published


def with_defaults(fields: Object, defaults: Object) -> Object:
    """A batch's `sentAt` and `receivedAt` where the item has none, `context` and `integrations` under the item's."""
    merged = dict(fields)
    for name in ("sentAt", "receivedAt"):
        merged[name] = first_present(fields[name], defaults.get(name))
    for name in ("context", "integrations"):
        default, own = defaults.get(name), fields[name]
        own_is_empty = not own or name == "integrations"  # whose every other type than an object is as good as absent
        if isinstance(default, dict) and isinstance(own, dict):
            merged[name] = {**default, **own}
        elif isinstance(default, dict) and own_is_empty:
            merged[name] = default
    return merged


def read_object(value: Json) -> Object:
    if not value:
        return {}
    if not isinstance(value, dict):
        raise RefusedError("invalid_field")
    return value


def read_message_id(value: Json, item: Object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    return hashlib.sha256(canonical(item).encode("utf-8")).hexdigest()


def enabled(integrations: Object, names: Iterable[str]) -> bool:
    names = list(names)
    if not names:
        return True
    for name in names:
        if name in integrations:
            return integrations[name] is not False
    return next((integrations[key] for key in ("All", "all") if isinstance(integrations.get(key), bool)), True)


def connection_of(project_id: Json, config: Config, name: str | None) -> ConnectionRules:
    if name is not None:
        return {connection.name: connection for connection in config.connections}[name]
    for connection in config.connections:
        if connection.project_ids is not None and isinstance(project_id, str) and project_id in connection.project_ids:
            return connection
    for connection in config.connections:
        if connection.project_ids is None:
            return connection
    raise RefusedError("unknown_connection")
