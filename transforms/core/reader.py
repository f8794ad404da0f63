"""Reading a message: bytes in, calls out, by the rules of `docs/semantics.md`, section 1."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from schemas.segment import (
    ALIAS,
    BATCH_DEFAULTS,
    CALL_TIMES,
    CALL_TYPES,
    GROUP,
    IDENTIFY,
    MAX_BATCH_BYTES,
    MAX_BATCH_ITEMS,
    MAX_CLOCK_AHEAD_US,
    MAX_DEPTH,
    MAX_MESSAGE_BYTES,
    PAGE,
    PARTITIONS,
    PLACEHOLDER_IDS,
    SCREEN,
    TRACK,
)
from schemas.tables import DeadLetter, Timestamp
from transforms.core import ids, raw_json, secrets, times
from transforms.core.connections import Connection, Connections, Router
from transforms.core.dead_letters import Reason, Refused, Stage, dead_letter
from transforms.core.fields import (
    OBJECTS,
    MessageFields,
    SpelledFields,
    check_depth,
    common_others,
    items,
    may_be_too_deep,
    other_fields,
    parse,
    parse_item,
)
from transforms.core.raw_json import EMPTY, NULL, is_array, is_object, peek

InheritedFields = dict[str, Raw]
"""Fields that a call did not carry itself, by name: inherited from its batch, or made when it was read."""


class OversizedMessage(msgspec.Struct, frozen=True, gc=False):
    """Length and SHA-256 of a whole message of which a source kept only the beginning."""

    length: int
    sha256: str


class Received(msgspec.Struct, frozen=True, gc=False):
    """One message as a source delivers it. `published_at` and `delivery_id`, the id that Pub/Sub gave it, are None for
    files; `connection` is set by the log alone: what the message was mapped to when it was first received.

    `inherited` is for an item of an array or a batch, and None for a whole message: the batch's defaults, as JSON. A
    dead letter that is read again has its `dead_letter_id`, and the connection and message id that it was read with
    before."""

    payload: bytes
    attributes: Mapping[str, str] = {}
    published_at: Timestamp | None = None
    connection: str | None = None
    too_large: OversizedMessage | None = None
    delivery_id: str | None = None
    inherited: str | None = None
    dead_letter_id: str | None = None
    earlier_connection: str | None = None
    earlier_message_id: str | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """One Segment call, read. `traits`, `properties` and `context` are JSON objects as they were written, with what was
    inherited from a batch. `extra` are the fields of an event that no column has. `message` is the call's own bytes
    without its sender's secret; with `given` written into it, it reads the same again. `unusable` are the fields that
    hold an id or a time that cannot be read as one, and that count as absent.
    `attributes`, `published_at` and `inherited` are for a dead letter of it, as in `Received`."""

    type: str
    message_id: str
    timestamp: Timestamp
    received_at: Timestamp
    sent_at: Timestamp | None
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    group_id: str | None
    connection: Connection
    name: str | None
    traits: Raw
    properties: Raw
    context: Raw
    integrations: Raw | None
    page: Raw
    personas: Raw
    message: bytes
    given: InheritedFields
    attributes: Mapping[str, str]
    original_timestamp: Timestamp | None = None
    project_id: str | None = None
    channel: str | None = None
    extra: Raw | None = None
    unusable: tuple[str, ...] = ()
    published_at: Timestamp | None = None
    inherited: str | None = None


class Disabled(msgspec.Struct, frozen=True, gc=False):
    """A call that its sender's `integrations` keep from this destination."""

    type: str


ReadOutcome = Call | Disabled | DeadLetter


class _Context(msgspec.Struct, gc=False):
    groupId: Raw = NULL  # noqa: N815
    group_id: Raw = NULL
    page: Raw = NULL
    personas: Raw = NULL
    traits: Raw = NULL


class _Ids(NamedTuple):
    """The ids of a call; `top_level_group` tells whether an event's group is that of the field `groupId`."""

    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None
    group_id: str | None
    top_level_group: bool = False


class CallTimes(NamedTuple):
    """The times of a call, None where one is not told: when it happened, and was received, by Segment's clock; when it
    was sent, and happened, by its sender's."""

    timestamp: Timestamp | None
    received_at: Timestamp | None
    sent_at: Timestamp | None
    original_timestamp: Timestamp | None


TIME_FIELDS: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
ID_FIELDS: Final = (
    *("userId", "anonymousId", "previousId", "groupId", "from", "to"),
    *("context.groupId", "context.group_id"),
)
Unusable = dict[str, str]
"""Why an id or a time counts as absent, by its field."""


_LONGEST_DEFAULTS: Final = 4_000
"""Bytes of a batch's defaults, which each of its items gets."""
KEPT_DEFAULTS: Final = 8
"""So many defaults are kept as they were read: those of a batch's items come together. Any may have a megabyte."""
_read_context: Final = msgspec.json.Decoder(_Context).decode


def may_have_items(payload: bytes) -> bool:
    """Whether `Reader.items` may find some; cheap. What spells `batch` in another way has none there."""
    # rfind takes two thirds of the time of find: it looks for the first quotation mark of the two
    if payload.rfind(b'"batch"') >= 0:
        return True
    return not payload.startswith(b"{") and payload.lstrip(b" \t\r\n").startswith(b"[")


def may_any_have_items(payloads: Sequence[bytes]) -> bool:
    """The same of several messages; cheaper."""
    return b"\n".join(payloads).rfind(b'"batch"') >= 0 or {payload[:1] for payload in payloads} != {b"{"}


class Reader(msgspec.Struct, frozen=True, gc=False):
    """Reads messages under one configuration. `integration_names` are the names of this destination in a call's
    `integrations`; where there are none, nothing is disabled. `placeholder_ids` name nobody, folded."""

    router: Router
    integration_names: tuple[str, ...] = ()
    placeholder_ids: frozenset[str] = PLACEHOLDER_IDS

    @classmethod
    def of(cls, connections: Connections, connection: str | None = None) -> Reader:
        """The reader of a configuration; `connection` is the name of the one that every message belongs to."""
        return cls(
            Router(connections, connection),
            connections.integration_names,
            ids.placeholders(connections.placeholder_ids),
        )

    def read(self, received: Received, stage: Stage = Stage.PARSE) -> Iterable[ReadOutcome]:
        """Every call of a message, one at a time: a tuple of one of a plain object, an iterator over the items of an
        array or a batch. What is refused comes out as a dead letter with its own bytes, and costs its siblings
        nothing."""
        payload = received.payload
        given: InheritedFields = {}
        try:
            if received.inherited is not None:
                given = _inherited(received.inherited)
                return (self._outcome(received, stage, payload, None, given),)
            logged = received.connection is not None
            if received.too_large or (len(payload) > MAX_MESSAGE_BYTES and not logged):
                raise _too_large(received)
            document = parse(payload)
            if isinstance(document, MessageFields):
                if document.batch is NULL or not is_array(document.batch) or logged:
                    return (self._outcome(received, stage, payload, document, given),)
                given = _defaults(document)
                document = items(document.batch)
            _check_batch(received, document, given)
        except Refused as refused:
            published_at, inherited = received.published_at, received.inherited
            letter = dead_letter(
                stage, refused, payload, received.attributes, published_at=published_at, inherited=inherited
            )
            return (letter,)
        received = replace(received, inherited=bytes(raw_json.encode(given)).decode())
        return self._outcomes(received, stage, document, given)

    def items(self, received: Received) -> list[Received]:
        """The items of an array or a batch, each as a message of its own that reads the same; none of any other
        message, of one that is refused whole, and of one with defaults that are long."""
        payload = received.payload
        if received.too_large or len(payload) > MAX_MESSAGE_BYTES or not may_have_items(payload):
            return []
        try:
            document = parse(payload)
            given: InheritedFields = {}
            if isinstance(document, MessageFields):
                if document.batch is NULL or not is_array(document.batch):
                    return []
                given = _defaults(document)
                document = items(document.batch)
            _check_batch(received, document, given)
            defaults = bytes(raw_json.encode(given))
            check_depth(defaults)
        except Refused:
            return []
        if len(defaults) > _LONGEST_DEFAULTS:
            return []
        inherited = defaults.decode()
        return [
            Received(bytes(item), received.attributes, received.published_at, inherited=inherited) for item in document
        ]

    def _outcomes(
        self, received: Received, stage: Stage, document: Sequence[Raw], defaults: InheritedFields
    ) -> Iterator[ReadOutcome]:
        for item in document:
            yield self._outcome(received, stage, bytes(item), None, defaults)

    def _outcome(
        self, received: Received, stage: Stage, item: bytes, fields: MessageFields | None, defaults: InheritedFields
    ) -> ReadOutcome:
        try:
            if fields is None:
                fields = parse_item(item)
            return self._call(received, item, fields, defaults)
        except Refused as refused:
            return dead_letter(
                stage,
                refused,
                item,
                received.attributes,
                published_at=received.published_at,
                inherited=received.inherited,
                **self._description(received, item, fields),
            )

    def _description(self, received: Received, item: bytes, fields: MessageFields | None) -> Mapping[str, str | None]:
        """The columns of a dead letter that the call itself still gives."""
        if fields is None:
            return {}
        try:
            connection = self._connection(received, fields.projectId).name
        except Refused:
            connection = None
        message_id = read_message_id(fields.messageId) or received.earlier_message_id
        if message_id is None and secrets.redacted(item) != item and raw_json.depth(item) <= MAX_DEPTH:
            message_id = digest(item)  # the dead letter's own bytes have another
        return {"message_id": message_id, "connection": connection}

    def _call(
        self, received: Received, item: bytes, fields: MessageFields, defaults: InheritedFields
    ) -> Call | Disabled:
        """The call that the fields describe. The steps go in the order of the dead-letter reasons: a call with several
        faults is refused for the first."""
        call_type = _call_type(fields.type)
        connection = self._connection(received, fields.projectId)
        if may_be_too_deep(item, fields.properties, fields.context, fields.traits):
            check_depth(item)
        written, item = item, secrets.redacted_json(item)
        if item is not written:
            fields = parse_item(item)
        given = _inherit(fields, defaults) if defaults else {}
        has_traits = fields.traits is not EMPTY and fields.traits != NULL
        context = _check_objects(fields)
        if call_type == IDENTIFY and not has_traits and is_object(context.traits):
            fields.traits = context.traits
        unusable: Unusable = {}
        called = self._ids(call_type, fields, context, unusable)
        lacking = _lacking(call_type, called)
        for field in lacking:
            if field in unusable:
                raise Refused(Reason.INVALID_FIELD, f"{field}: {unusable[field]}")
        moments = read_times(received, fields, given, unusable)
        if lacking:
            raise _missing(call_type)
        name = fields.event if call_type == TRACK else fields.name
        if not isinstance(name, str) or not name:
            name = None
        if name is None and call_type == TRACK:
            raise Refused(Reason.MISSING_FIELD, "a track needs an event, a string that is not empty")
        if moments.timestamp is None or moments.received_at is None:
            raise Refused(Reason.MISSING_FIELD, "no timestamp, originalTimestamp, sentAt or receivedAt")
        integrations: Raw | None = fields.integrations
        if integrations is NULL or not is_object(fields.integrations):
            integrations = None
        if self.integration_names and integrations is not None and not self.is_enabled(integrations):
            return Disabled(call_type)
        message_id = read_message_id(fields.messageId) or _give_message_id(received, written, given)
        columns = EVENT_COLUMNS.get(call_type)
        extra = (
            None
            if columns is None
            else _extra(call_type, columns, item, fields, top_level_group=called.top_level_group)
        )
        # By position, in the order of Call's fields: by keyword this takes 0.7 µs more, a tenth of the whole reading.
        return Call(
            call_type,
            message_id,
            moments.timestamp,
            moments.received_at,
            moments.sent_at,
            called.user_id,
            called.anonymous_id,
            called.previous_id,
            called.group_id,
            connection,
            name,
            fields.traits,
            fields.properties,
            fields.context,
            integrations,
            context.page,
            context.personas,
            item,
            given,
            received.attributes,
            moments.original_timestamp,
            fields.projectId if isinstance(fields.projectId, str) else None,
            fields.channel if isinstance(fields.channel, str) else None,
            extra,
            tuple(unusable) if unusable else (),
            received.published_at,
            received.inherited,
        )

    def _ids(self, call_type: str, fields: MessageFields, context: _Context, unusable: Unusable) -> _Ids:
        user_id = self._id("userId", fields.userId, unusable)
        anonymous_id = self._id("anonymousId", fields.anonymousId, unusable)
        previous_id = group_id = None
        if call_type == ALIAS:
            user_id = user_id or self._id("to", fields.to, unusable)
            previous_id = (
                self._id("previousId", fields.previousId, unusable)
                or self._id("from", fields.from_, unusable)
                or anonymous_id
            )
        if call_type != GROUP and (context.groupId is not NULL or context.group_id is not NULL):
            group_id = self._id("context.groupId", peek(context.groupId), unusable) or self._id(
                "context.group_id", peek(context.group_id), unusable
            )
        if group_id is not None or fields.groupId is None:
            return _Ids(user_id, anonymous_id, previous_id, group_id)
        group_id = self._id("groupId", fields.groupId, unusable)
        return _Ids(user_id, anonymous_id, previous_id, group_id, group_id is not None)

    def _id(self, field: str, value: object, unusable: Unusable) -> str | None:
        if value is None:
            return None
        try:
            return ids.read(value, self.placeholder_ids)
        except ids.NotAnId as error:
            unusable[field] = str(error)
            return None

    def _connection(self, received: Received, project_id: object) -> Connection:
        if received.connection is not None:
            return self.router.named(received.connection).connection
        text = project_id if isinstance(project_id, str) else None
        name = received.attributes.get("connection")
        if received.earlier_connection is not None and self.router.named(received.earlier_connection).configured:
            name = received.earlier_connection
        connection = self.router.route(text, name)
        if connection is None:
            raise Refused(Reason.UNKNOWN_CONNECTION, _no_connection(project_id))
        return connection

    def is_enabled(self, integrations: Raw) -> bool:
        """Whether a call with these `integrations`, an object, is for this destination."""
        choices = raw_json.decode_fields(integrations)
        for name in self.integration_names:
            if name in choices:
                return peek(choices[name]) is not False
        for name in ("All", "all"):
            choice = peek(choices.get(name, NULL))
            if isinstance(choice, bool):
                return choice
        return True


def _expanded(item: bytes, defaults: InheritedFields) -> int:
    """Bytes of an item with the batch's defaults written into it."""
    try:
        inherited = _inherit(parse_item(item), defaults)
    except Refused:
        return len(item)
    return len(raw_json.encode({**raw_json.decode_fields(item), **inherited}))


def _too_large(received: Received) -> Refused:
    if received.too_large is None:
        return Refused(Reason.TOO_LARGE, size_and_digest(received.payload))
    return Refused(Reason.TOO_LARGE, f"{received.too_large.length} bytes, SHA-256 {received.too_large.sha256}")


def size_and_digest(payload: bytes) -> str:
    """How a dead letter that keeps only the beginning of a message tells the whole."""
    return f"{len(payload)} bytes, SHA-256 {hashlib.sha256(payload).hexdigest()}"


def _check_batch(received: Received, batch: Sequence[Raw], defaults: InheritedFields) -> None:
    """Raises Refused (too_large) where the calls of a small message would come to more than a job can hold."""
    most = sum(map(len, batch)) + len(batch) * sum(len(name) + len(value) + 4 for name, value in defaults.items())
    if len(batch) > MAX_BATCH_ITEMS:
        problem = f"{len(batch)} items, and {MAX_BATCH_ITEMS} are the most"
    elif most > MAX_BATCH_BYTES and sum(_expanded(bytes(item), defaults) for item in batch) > MAX_BATCH_BYTES:
        problem = f"{len(batch)} items that come to more than {MAX_BATCH_BYTES} bytes"
    else:
        return
    raise Refused(Reason.TOO_LARGE, f"{problem}; {size_and_digest(received.payload)}")


def _defaults(batch: MessageFields) -> InheritedFields:
    """What each item of a batch inherits where it has none of its own."""
    defaults: InheritedFields = {}
    for name in BATCH_DEFAULTS:
        value = getattr(batch, name)
        if name not in OBJECTS:
            if value is not None:
                defaults[name] = Raw(msgspec.json.encode(value))
        elif value is not EMPTY and is_object(value):
            defaults[name] = Raw(secrets.redacted_json(bytes(value)))
    return defaults


@functools.lru_cache(maxsize=KEPT_DEFAULTS)
def _inherited(defaults: str) -> InheritedFields:
    """The defaults of a batch that an item of it was kept with. Raises Refused where they are too deep."""
    try:
        return raw_json.decode_fields(secrets.redacted_json(defaults.encode()))
    except RecursionError:
        raise Refused(Reason.INVALID_FIELD, f"JSON nested deeper than {MAX_DEPTH}") from None


def _call_type(value: object) -> str:
    """One of the types of the spec; other capitals are rare."""
    if isinstance(value, str):
        if value in CALL_TYPES:
            return value
        if value.lower() in CALL_TYPES:
            return value.lower()
    raise Refused(Reason.UNSUPPORTED_TYPE, "no type" if value is None else f"the type is {str(value)[:100]!r}")


def _inherit(fields: MessageFields, defaults: InheritedFields) -> InheritedFields:
    """Sets what a call inherits from its batch, and returns it: the fields that it lacks, and of objects the keys."""
    inherited: InheritedFields = {}
    for name, default in defaults.items():
        own = getattr(fields, name)
        if name not in OBJECTS:
            if own is None:
                inherited[name] = default
                setattr(fields, name, peek(default))
        elif is_object(own) or name == "integrations" or not peek(own):
            own_keys = raw_json.decode_fields(own) if is_object(own) else {}
            inherited[name] = raw_json.encode({**raw_json.decode_fields(default), **own_keys})
            setattr(fields, name, inherited[name])
    if inherited:
        check_depth(bytes(raw_json.encode(inherited)))
    return inherited


def _check_objects(fields: MessageFields) -> _Context:
    """Makes `properties`, `context` and `traits` objects, where they are empty or false values of other types, and
    returns what a call needs of its context."""
    if fields.properties is not EMPTY and not is_object(fields.properties):
        fields.properties = _empty("properties", fields.properties)
    try:
        context = _read_context(fields.context)
    except msgspec.ValidationError:
        fields.context = _empty("context", fields.context)
        context = _Context()
    if fields.traits is not EMPTY and not is_object(fields.traits):
        fields.traits = _empty("traits", fields.traits)
    return context


def _lacking(call_type: str, called: _Ids) -> tuple[str, ...]:
    """The fields of which one should have had an id that the call needs; none where it has all."""
    if call_type == GROUP:
        return ("groupId",) if called.group_id is None else ()
    if call_type == ALIAS:
        if called.user_id is None:
            return ("userId", "to")
        return ("previousId", "from", "anonymousId") if called.previous_id is None else ()
    return ("userId", "anonymousId") if called.user_id is None and called.anonymous_id is None else ()


def _missing(call_type: str) -> Refused:
    if call_type == GROUP:
        return Refused(Reason.MISSING_FIELD, "a group needs a usable groupId")
    if call_type == ALIAS:
        return Refused(Reason.MISSING_FIELD, "an alias needs a userId and a previousId")
    return Refused(Reason.MISSING_ID, "neither a usable userId nor a usable anonymousId")


def read_times(received: Received, fields: MessageFields, given: InheritedFields, unusable: Unusable) -> CallTimes:
    """The times of a call; those of what happened and of its receipt are None where nothing tells them. What the call
    does not carry itself is added to `given`, so that it reads the same without its time of publication."""
    stated = _call_time("timestamp", fields.timestamp, unusable)
    original = _call_time("originalTimestamp", fields.originalTimestamp, unusable)
    sent_at = _call_time("sentAt", fields.sentAt, unusable)
    receipt = _call_time("receivedAt", fields.receivedAt, unusable)
    corrected = stated is not None and original is not None
    by_sender = stated if corrected else _first(original, stated, sent_at)
    own = by_sender if corrected else _corrected(by_sender, sent_at, receipt)
    timestamp = _first(own, receipt, received.published_at)
    if timestamp is None:
        return CallTimes(None, None, sent_at, original)
    received_at = _received_at(receipt, received.published_at, sent_at, timestamp)
    if received_at not in PARTITIONS:
        raise Refused(Reason.INVALID_FIELD, f"receivedAt {times.iso(received_at)} is outside 1960 to 2159")
    if timestamp - received_at > MAX_CLOCK_AHEAD_US:
        timestamp = received_at
    if received_at != receipt:
        given["receivedAt"] = times.raw(received_at)
    if own is None or (received_at != receipt and sent_at is not None and not corrected):
        given["timestamp"] = times.raw(timestamp)
        if sent_at is not None:  # else what is given would be corrected again
            given["originalTimestamp"] = times.raw(timestamp if by_sender is None else by_sender)
    return CallTimes(timestamp, received_at, sent_at, original)


def _call_time(field: str, value: object, unusable: Unusable) -> Timestamp | None:
    if value is None:
        return None
    time = times.read(value)
    if time is None or time < CALL_TIMES.start:
        unusable[field] = "no time since 1971"
        return None
    return time


def _first(*candidates: Timestamp | None) -> Timestamp | None:
    for time in candidates:
        if time is not None:
            return time
    return None


def _corrected(by_sender: Timestamp | None, sent_at: Timestamp | None, receipt: Timestamp | None) -> Timestamp | None:
    """What the sender's clock said, by Segment's clock, where both of them tell when the call was sent."""
    if by_sender is None or sent_at is None or receipt is None:
        return by_sender
    time = by_sender + receipt - sent_at
    return Timestamp(time) if time in CALL_TIMES else None


def _received_at(
    receipt: Timestamp | None, published_at: Timestamp | None, sent_at: Timestamp | None, timestamp: Timestamp
) -> Timestamp:
    if receipt is None:
        received_at = _first(published_at, sent_at)
        return timestamp if received_at is None else received_at
    if published_at is not None and receipt - published_at > MAX_CLOCK_AHEAD_US:
        return published_at
    return receipt


_SHARED_COLUMNS: Final = frozenset(
    {
        *("type", "messageId", "userId", "anonymousId", "timestamp", "originalTimestamp", "sentAt", "receivedAt"),
        *("properties", "context", "integrations"),
    }
)
EVENT_COLUMNS: Final = {
    PAGE: _SHARED_COLUMNS | {"name"},
    SCREEN: _SHARED_COLUMNS | {"name"},
    TRACK: _SHARED_COLUMNS | {"event"},
}
"""The fields of an event that its row has a column for."""


def _extra(
    call_type: str, columns: frozenset[str], item: bytes, fields: MessageFields, *, top_level_group: bool
) -> Raw | None:
    """What a sender said about an event and no column has. A page's or screen's `category` becomes a property, where
    there is none."""
    has_category = call_type != TRACK and fields.category != NULL and _set_category(fields)
    if isinstance(fields, SpelledFields) or _is_more_than_an_event(
        call_type, fields, has_group=top_level_group, has_category=has_category
    ):
        placed = {
            "projectId": isinstance(fields.projectId, str),
            "channel": isinstance(fields.channel, str),
            "groupId": top_level_group,
            "category": has_category,
        }
        return other_fields(item, fields, columns | {name for name, has_column in placed.items() if has_column})
    return (
        None if fields.version is NULL and fields._metadata is NULL else common_others(fields._metadata, fields.version)
    )


def _is_more_than_an_event(call_type: str, fields: MessageFields, *, has_group: bool, has_category: bool) -> bool:
    """Whether a call has a field of the spec that its row has no column for, or whose value a column does not have;
    cheap, and right but for fields that are null."""
    return (
        fields.batch is not NULL
        or fields.traits is not EMPTY
        or not (has_category or fields.category is NULL or fields.category == NULL)
        or not (has_group or fields.groupId is None)
        or not (fields.projectId is None or isinstance(fields.projectId, str))
        or not (fields.channel is None or isinstance(fields.channel, str))
        or fields.previousId is not None
        or fields.to is not None
        or fields.from_ is not None
        or (fields.name if call_type == TRACK else fields.event) is not None
    )


def _set_category(fields: MessageFields) -> bool:
    """Makes the call's category a property; False where its properties have one."""
    properties = {} if fields.properties is EMPTY else raw_json.decode_fields(fields.properties)
    if properties.get("category", NULL) != NULL:
        return False
    fields.properties = raw_json.encode({**properties, "category": fields.category})
    return True


def _give_message_id(received: Received, written: bytes, given: InheritedFields) -> str:
    """The message id of a call without one, which a redelivery gets again; it is added to `given`."""
    message_id = received.earlier_message_id or digest(written)
    given["messageId"] = raw_json.of_text(message_id)
    return message_id


def digest(item: bytes) -> str:
    """The message id of a call without one: the same of the same call, however it is written."""
    return hashlib.sha256(raw_json.canonical(item).encode()).hexdigest()


def read_message_id(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _empty(field: str, raw: Raw) -> Raw:
    if peek(raw):
        raise Refused(Reason.INVALID_FIELD, f"{field}: not an object")
    return EMPTY


def _no_connection(project_id: object) -> str:
    if project_id is None:
        return "no projectId, and every connection has its own"
    return f"no connection has the project id {str(project_id)[:100]!r}"
