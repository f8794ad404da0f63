"""Section 1: reading a message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from judge.classification import EVENT_TYPES, is_identity_call
from judge.configuration import Config, ConnectionRules
from judge.json_text import batch_text, beyond_float64, canonical, depth, elements, is_text, parse
from judge.message import DEEPEST, RefusedError, ReplayedMessage, first_present, named, non_empty
from judge.time_forms import SECOND, microseconds, read_time
from judge.values import Json, Object

MEGABYTE = 10**6  # bytes
LONGEST = 8 * MEGABYTE
FIELDS = [
    *("type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "projectId"),
    *("userId", "anonymousId", "previousId", "groupId", "event", "name"),
    *("traits", "properties", "context", "integrations"),
]
PLACEHOLDERS = {
    *("", "null", "undefined", "none", "nil", "nan", "n/a", "anonymous", "anonymous_id", "guest", "unknown"),
    *("user_id", "userid", "distinct_id", "id", "email", "true", "false", "-1", "[object object]"),
}
HOUR = 3600 * SECOND
FIRST_PARTITION = microseconds(datetime(1960, 1, 1, tzinfo=timezone.utc))
LAST_PARTITION = microseconds(datetime(2159, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))


def read(payload: bytes, config: Config, connection: str | None) -> Iterator[ReplayedMessage | tuple[str, bytes]]:
    """Yields each message of a payload, or (reason, bytes) where it is refused. Disabled messages yield nothing."""
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
    if isinstance(body, list):
        items = elements(text)
    elif isinstance(body, dict) and isinstance(named(body, "batch"), list):
        batch = named(body, "batch")
        if not is_text({key: value for key, value in body.items() if value is not batch}):
            yield "invalid_json", payload
            return
        defaults = {name: named(body, name) for name in ("context", "integrations", "sentAt", "receivedAt")}
        items = elements(batch_text(text))
    else:
        items = [text]
    for item in items:
        try:
            message = read_message(parse(item), defaults, config, connection)
        except RefusedError as refused:
            # The message alone on its line keeps the line's bytes, an item those that are its own.
            yield refused.reason, payload if items == [text] else item.encode("utf-8")
        else:
            if message is not None:
                yield message


def read_message(item: Json, defaults: Object, config: Config, connection_name: str | None) -> ReplayedMessage | None:
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
    user_id = read_id(fields["userId"])
    anonymous_id = read_id(fields["anonymousId"])
    previous_id = None
    if type_ == "alias":  # a placeholder counts as absent
        user_id = user_id or read_id(named(item, "to"))
        previous_id = read_id(fields["previousId"]) or read_id(named(item, "from")) or anonymous_id
    traits, properties, context = (read_object(fields[name]) for name in ("traits", "properties", "context"))
    group_id = read_id(fields["groupId"]) if type_ == "group" else account_id_of(context.get("groupId"))
    integrations = fields["integrations"] if isinstance(fields["integrations"], dict) else None
    times = [read_time(fields[name]) for name in ("timestamp", "originalTimestamp", "sentAt", "receivedAt")]
    timestamp = first_present(*times)
    received_at = first_present(times[3], timestamp)
    if received_at is not None and not FIRST_PARTITION <= received_at <= LAST_PARTITION:
        raise RefusedError("invalid_field")

    if type_ == "alias" and (user_id is None or previous_id is None):
        raise RefusedError("missing_field")
    if user_id is None and anonymous_id is None:
        raise RefusedError("missing_id")
    if type_ == "track" and not non_empty(fields["event"]):
        raise RefusedError("missing_field")
    if type_ == "group" and group_id is None:
        raise RefusedError("missing_field")
    if timestamp is None:
        raise RefusedError("missing_field")

    if not enabled(integrations or {}, config.integration_names):
        return None
    message = ReplayedMessage(
        type=type_,
        message_id=read_message_id(fields["messageId"], item),
        timestamp=received_at if timestamp > received_at + 24 * HOUR else timestamp,
        received_at=received_at,
        sent_at=times[2],
        user_id=user_id,
        anonymous_id=anonymous_id,
        previous_id=previous_id,
        group_id=group_id,
        connection=connection,
        name=fields["name"],
        event=fields["event"],
        traits=traits,
        properties=properties,
        context=context,
        integrations=integrations,
    )
    stored_as_json: list[Json] = [context]
    if type_ in EVENT_TYPES:
        stored_as_json += [properties, integrations]
    if is_identity_call(message):
        stored_as_json += [traits]
    if beyond_float64(stored_as_json):
        raise RefusedError("invalid_field")
    return message


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


def read_id(value: Json) -> str | None:
    """An id as a string, None where it is absent or a placeholder."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RefusedError("invalid_field")
    id_ = value.strip()
    bare = id_.strip("\"'").lower()
    return None if bare in PLACEHOLDERS or set(bare) <= set("0-") else id_


def account_id_of(value: Json) -> str | None:
    """An account id in a context or in a trait: what cannot be used is no account."""
    try:
        return read_id(value)
    except RefusedError:
        return None


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
