"""What ordinary calls of all types have in common: which messages may hold one, and their columns of times and ids.

A call is ordinary where every field is as some library writes it (`benchmarks/senders.py` has their ways), so that the
rules of `docs/semantics.md`, section 1, come to little: nearly all are. `ordinary_events` and `ordinary_identity_calls`
make columns of many at once, with few Python objects. They only have to know such calls, never to judge the others:
what they leave out, `Reader` reads.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, Raw

from schemas.segment import CALL_TIMES, MAX_CLOCK_AHEAD_US, MAX_DEPTH, MAX_ID_CHARACTERS, PARTITIONS
from transforms.core import ids, raw_json, secrets, times
from transforms.core.connections import Connection
from transforms.core.fields import is_too_deep, may_be_spec
from transforms.core.raw_json import EMPTY, NULL
from transforms.core.reader import KEPT_DEFAULTS, TIME_FIELDS, InheritedFields, Reader, Received
from transforms.digests import digests
from transforms.letters import Letters, Places, Shape, find_word, have_shape, highest_kind, in_lower_case, indexes

_MOST_BYTES: Final = 1_000_000
"""A longer message may be too large, or its row."""
TOGETHER: Final = 64
"""So many messages stay in the processor's cache."""
_BRACKET: Final = ord("{")
_ID_KINDS: Final = bytes(
    1 if ids.is_ordinary(chr(byte)) else 0 if ids.is_ordinary(f"{chr(byte)}1") else 2 for byte in range(256)
)
"""Of each byte, whether an ordinary id may have it (0), must have one of its kind (1) or may not have it (2)."""
_TIME: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)$"
"""How Segment's libraries write a time: Python's with an offset; RE2's `\\d` is of ASCII alone."""
_FINER_THAN_MICROSECONDS: Final = r"(\.\d{6})\d+"
"""As Go writes it."""
_SHAPES: Final = {
    len(time): Shape.of(time)
    for fraction in ("", ".000", ".000000")
    for time in (f"2006-01-02T15:04:05{fraction}Z", f"2006-01-02T15:04:05{fraction}+00:00")
}
"""How most times are written, by length: by Segment itself, browsers, and the libraries of Node.js and Python."""

_EXACT: Final = 2**53
"""A whole number up to it is read alike, whether as an integer or as a float."""
Text: TypeAlias = str | None
Time: TypeAlias = str | int | float | None
Id: TypeAlias = str | Annotated[int, Meta(ge=-_EXACT, le=_EXACT)] | None
Message: TypeAlias = bytes | Received


class NotOrdinary(Exception):
    """A call that the rules must read."""


class OrdinaryFields(msgspec.Struct, kw_only=True, gc=False):
    """The fields of an ordinary call, null where one is absent. A `writeKey` was removed before: what has one still is
    not ordinary."""

    type: Literal["page", "screen", "track", "identify", "group", "alias", "delete"]
    messageId: Annotated[str, Meta(min_length=1)] | None = None  # noqa: N815
    userId: Id = None  # noqa: N815
    anonymousId: Id = None  # noqa: N815
    previousId: Id = None  # noqa: N815
    groupId: Id = None  # noqa: N815
    projectId: Text = None  # noqa: N815
    timestamp: Time = None
    originalTimestamp: Time = None  # noqa: N815
    sentAt: Time = None  # noqa: N815
    receivedAt: Time = None  # noqa: N815
    event: Text = None
    name: Text = None
    traits: Raw = NULL
    properties: Raw = EMPTY
    context: Raw = EMPTY
    integrations: Raw = NULL
    _metadata: Raw = NULL
    category: Raw = NULL
    channel: Text = None
    version: Raw = NULL
    writeKey: None = None  # noqa: N815
    to: Id = None
    from_: Id = msgspec.field(default=None, name="from")


class _SpecFields(OrdinaryFields, forbid_unknown_fields=True, gc=False):
    """The same, and no other field: so much is known without looking at every field."""


class OrdinaryContext(msgspec.Struct, gc=False):
    """What a call needs of its context."""

    groupId: Id = None  # noqa: N815
    group_id: None = None
    page: Raw = NULL
    personas: Raw = NULL
    traits: Raw = NULL


class DecodedCall(msgspec.Struct, frozen=True, gc=False):
    """A call that may be ordinary, as it is written: the index of its message, its bytes without a secret, its fields,
    what it inherits, and its context. `everything` are all its fields where it has others than the spec's."""

    index: int
    item: bytes
    fields: OrdinaryFields
    given: InheritedFields
    context: OrdinaryContext
    everything: dict[str, Raw] | None


class _Defaults(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The defaults of a batch of which an ordinary call may be an item. Where it has others, its items are none."""

    context: dict[str, Raw] | None = None
    integrations: dict[str, Raw] | None = None
    sentAt: Text = None  # noqa: N815
    receivedAt: Text = None  # noqa: N815


_decode: Final = msgspec.json.Decoder(OrdinaryFields).decode
_decode_spec: Final = msgspec.json.Decoder(_SpecFields).decode
_decode_context: Final = msgspec.json.Decoder(OrdinaryContext).decode
_FIELDS: Final = frozenset(field.encode_name for field in msgspec.structs.fields(OrdinaryFields))
_check_syntax: Final = msgspec.json.Decoder(Raw).decode
_decode_defaults: Final = msgspec.json.Decoder(_Defaults).decode


def payload(message: Message) -> bytes:
    """The bytes of a message."""
    return message if isinstance(message, bytes) else message.payload


def payloads(messages: Sequence[Message]) -> list[bytes]:
    """The bytes of messages."""
    return [message if isinstance(message, bytes) else message.payload for message in messages]


def received(message: Message) -> Received:
    """The message with what it is more than its bytes."""
    return Received(message) if isinstance(message, bytes) else message


def readable(messages: Sequence[Message]) -> Iterator[tuple[int, bytes]]:
    """The messages that are readable, each with its index, and without its sender's secret. Few are not, so that some
    are looked at together."""
    for start in range(0, len(messages), TOGETHER):
        some = payloads(messages[start : start + TOGETHER])
        together = b"\n".join(some)
        letters = in_lower_case(together)
        ends = np.cumsum([len(message) + 1 for message in some])
        are_text = _is_text(together) and len(together) <= _MOST_BYTES
        are_spelled = secrets.may_spell_one(together)
        words = find_word(letters, secrets.WORD)
        may_hold_secrets: Collection[int] = ()
        if len(words) and secrets.may_hold_any(together):
            some, are_redacted = _usual_redacted(some, together)
            may_hold_secrets = () if are_redacted else indexes(words, ends)
        too_deep = _too_deep(some, letters, ends)
        for index, message in enumerate(some):
            if index in too_deep:
                continue
            if are_text and not are_spelled and index not in may_hold_secrets:
                yield start + index, message
            elif _is_text(message) and len(message) <= _MOST_BYTES:
                with contextlib.suppress(msgspec.DecodeError, RecursionError):
                    yield start + index, _without_secrets(message)


def _usual_redacted(messages: list[bytes], together: bytes) -> tuple[list[bytes], bool]:
    """The messages without secrets that are written as usual, and whether they have no others; `together` are all of
    them, in lines."""
    redacted = secrets.usual_redacted(together)
    lines = redacted.split(b"\n")
    if len(lines) != len(messages) or secrets.may_hold_any(redacted):
        return messages, False
    return lines, True


def _too_deep(messages: Sequence[bytes], letters: Letters, ends: Places) -> Collection[int]:
    """Which of the messages are too deep; `letters` are those of all of them, with one between two."""
    brackets = np.flatnonzero(letters == _BRACKET)
    if len(brackets) <= MAX_DEPTH:
        return ()
    numbers = np.diff(np.searchsorted(brackets, ends), prepend=0)
    return {index for index in np.flatnonzero(numbers > MAX_DEPTH).tolist() if is_too_deep(messages[index])}


def _is_text(message: bytes) -> bool:
    """Whether it is UTF-8."""
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _without_secrets(message: bytes) -> bytes:
    """Raises msgspec.DecodeError or RecursionError where the message is no JSON, which it could be by the secret
    alone."""
    if not secrets.may_hold_any(message):
        return message
    _check_syntax(message)
    return secrets.redacted_json(message)


def decoded(messages: Sequence[Message]) -> list[DecodedCall]:
    """The calls among these messages that may be ordinary. Messages that are more than their bytes come from a source,
    or are items of a batch (`Reader.items`); none is from the log or from a dead letter."""
    calls = []
    senders_own: set[str] = set()
    decode: Callable[[bytes], OrdinaryFields] = _decode_spec
    for index, item in readable(messages):
        everything = None
        try:
            try:
                fields = decode(item)
            except msgspec.ValidationError:
                if decode is _decode:
                    raise
                fields = _decode(item)
                decode = _decode
            if decode is _decode:  # calls with fields that the spec does not have come one after another
                everything = raw_json.decode_fields(item)
                if not _beyond_spec(everything, senders_own):
                    everything, decode = None, _decode_spec
            if fields.properties is not EMPTY and fields.properties == NULL:
                fields.properties = EMPTY
            if fields.context is not EMPTY and fields.context == NULL:
                fields.context = EMPTY
            message = messages[index]
            given = {} if isinstance(message, bytes) else _inherit(fields, message)
            context = _decode_context(fields.context)
        except (msgspec.DecodeError, RecursionError, NotOrdinary):
            continue
        calls.append(DecodedCall(index, item, fields, given, context, everything))
    return calls


def _beyond_spec(everything: Mapping[str, Raw], senders_own: set[str]) -> bool:
    """Whether a call has fields that the spec does not have, and adds them to those of the calls before. Raises
    NotOrdinary where one may be another spelling of one that it has."""
    others = everything.keys() - _FIELDS
    if not others <= senders_own:
        if any(map(may_be_spec, others)):
            raise NotOrdinary
        senders_own |= others
    return bool(others)


def _inherit(fields: OrdinaryFields, message: Received) -> InheritedFields:
    """Sets what a call inherits from its batch, and returns it. Raises NotOrdinary where the rules must find that out,
    or msgspec.DecodeError where its context is no object."""
    if message.too_large is not None:
        raise NotOrdinary
    if message.inherited is None:
        return {}
    defaults = _defaults(message.inherited)
    if defaults is None:
        raise NotOrdinary
    inherited: InheritedFields = {}
    if defaults.context is not None:
        fields.context = raw_json.encode({**defaults.context, **raw_json.decode_fields(fields.context)})
        inherited["context"] = fields.context
    if defaults.integrations is not None:
        own = raw_json.decode_fields(fields.integrations) if raw_json.is_object(fields.integrations) else {}
        fields.integrations = raw_json.encode({**defaults.integrations, **own})
        inherited["integrations"] = fields.integrations
    if fields.sentAt is None and defaults.sentAt is not None:
        fields.sentAt = defaults.sentAt
        inherited["sentAt"] = raw_json.of_text(defaults.sentAt)
    if fields.receivedAt is None and defaults.receivedAt is not None:
        fields.receivedAt = defaults.receivedAt
        inherited["receivedAt"] = raw_json.of_text(defaults.receivedAt)
    return inherited


@functools.lru_cache(maxsize=KEPT_DEFAULTS)
def _defaults(inherited: str) -> _Defaults | None:
    try:
        return _decode_defaults(inherited)
    except (msgspec.DecodeError, RecursionError):
        return None


def give_message_ids(calls: Sequence[DecodedCall], messages: Sequence[Message]) -> None:
    """Gives each call that has no message id the one that its bytes have."""
    nameless = [call for call in calls if call.fields.messageId is None]
    for start in range(0, len(nameless), TOGETHER):
        some = nameless[start : start + TOGETHER]
        for call, message_id in zip(some, digests([payload(messages[call.index]) for call in some]), strict=True):
            call.fields.messageId = message_id
            call.given["messageId"] = raw_json.of_text(message_id)


def transposed(calls: Sequence[OrdinaryFields]) -> dict[str, list[Any]]:
    """The values of the fields that become columns. No tuple is made for each call, which garbage would be looked for
    in; and Python reads an attribute that it is told by name in half the time of another."""
    return {
        "type": [call.type for call in calls],
        "messageId": [call.messageId for call in calls],
        "userId": [call.userId for call in calls],
        "anonymousId": [call.anonymousId for call in calls],
        "previousId": [call.previousId for call in calls],
        "groupId": [call.groupId for call in calls],
        "projectId": [call.projectId for call in calls],
        "channel": [call.channel for call in calls],
        "timestamp": [call.timestamp for call in calls],
        "originalTimestamp": [call.originalTimestamp for call in calls],
        "sentAt": [call.sentAt for call in calls],
        "receivedAt": [call.receivedAt for call in calls],
        "traits": [call.traits for call in calls],
        "properties": [call.properties for call in calls],
        "context": [call.context for call in calls],
        "integrations": [call.integrations for call in calls],
    }


TIME_COLUMNS: Final = ("timestamp", "received_at", "sent_at", "original_timestamp")


class TimesOfCalls(NamedTuple):
    """Columns of times in microseconds since the epoch, and whether they make a call ordinary."""

    timestamp: pa.Int64Array
    received_at: pa.Int64Array
    sent_at: pa.Int64Array
    original_timestamp: pa.Int64Array
    are_ordinary: pa.BooleanArray

    def columns(self) -> dict[str, pa.TimestampArray]:
        """Those of a row."""
        return {name: getattr(self, name).cast(pa.timestamp("us", "UTC")) for name in TIME_COLUMNS}


def read_times(columns: Mapping[str, Sequence[Time]], messages: Sequence[Message]) -> TimesOfCalls:
    """The times of calls, by the rules of `reader.read_times`."""
    moments, are_read = microseconds([*chain.from_iterable(columns[name] for name in TIME_FIELDS)])
    stated_at, original_at, sent_at, receipt_at = split(moments, 4)
    is_corrected = pc.and_(stated_at.is_valid(), original_at.is_valid())
    by_sender = pc.if_else(is_corrected, stated_at, pc.coalesce(original_at, stated_at, sent_at))
    corrected = pc.add(by_sender, pc.subtract(receipt_at, sent_at))
    timestamp = pc.coalesce(pc.if_else(is_corrected, by_sender, pc.coalesce(corrected, by_sender)), receipt_at)
    received_at = pc.coalesce(receipt_at, sent_at, timestamp)
    is_ahead = pc.greater(pc.subtract(timestamp, received_at), MAX_CLOCK_AHEAD_US)
    are_ordinary = all_of(
        *split(pc.and_(are_read, _is_in(CALL_TIMES, moments)), 4),
        _is_in(CALL_TIMES, corrected),
        timestamp.is_valid(),
        _is_in(PARTITIONS, received_at),
        _is_by_segments_clock(messages, received_at, columns["receivedAt"]),
    )
    return TimesOfCalls(pc.if_else(is_ahead, received_at, timestamp), received_at, sent_at, original_at, are_ordinary)


def _is_by_segments_clock(
    messages: Sequence[Message], received_at: pa.Int64Array, receipt: Sequence[Time]
) -> pa.BooleanArray:
    """Whether each call has a receipt that its time of publication, where it has one, does not speak against."""
    if {*map(type, messages)} == {bytes}:
        return _all(len(messages))
    published = [None if isinstance(message, bytes) else message.published_at for message in messages]
    if not any(time is not None for time in published):
        return _all(len(messages))
    ahead = pc.subtract(received_at, pa.array(published, pa.int64()))
    is_told = pc.and_(pc.invert(are_none(receipt)), pc.less_equal(ahead, MAX_CLOCK_AHEAD_US))
    return pc.or_(pa.array([time is None for time in published], pa.bool_()), is_told.fill_null(False))


def split(column: pa.Array, number: int) -> list[Any]:
    """The columns that were one behind the other: a step on one long column takes less time than on several."""
    length = len(column) // number
    return [column.slice(start * length, length) for start in range(number)]


def _is_in(times: range, column: pa.Int64Array) -> pa.BooleanArray:
    """Whether each time is in a range; what is null is."""
    return pc.and_(pc.greater_equal(column, times.start), pc.less(column, times.stop)).fill_null(True)


def microseconds(written: Sequence[Time]) -> tuple[pa.Int64Array, pa.BooleanArray]:
    """Times since the epoch, null where there is none, and whether each could be read as one."""
    try:
        read = _read_by_shape(text_column(cast(Sequence[Text], written)))
    except pa.ArrowTypeError:  # some are numbers
        strings = text_column([time if isinstance(time, str) else None for time in written])
        numbers = [None if isinstance(time, str) else times.read(time) for time in written]
        read = pc.coalesce(_read_by_shape(strings), pa.array(numbers, pa.int64()))
    return read, pc.or_(read.is_valid(), are_none(written))


def _read_by_shape(strings: pa.StringArray) -> pa.Int64Array:
    """Times, of which most have one of the usual shapes; null where one cannot be read."""
    are_usual = pa.array(have_shape(strings, _SHAPES))
    if not are_usual.false_count:
        return _read_iso(strings)
    are_others = pc.invert(are_usual)
    read = _read_iso(pc.if_else(are_usual, strings, None))
    return pc.replace_with_mask(read, are_others, _read_by_pattern(strings.filter(are_others)))


def _read_by_pattern(strings: pa.StringArray) -> pa.Int64Array:
    """Times in any form; null where one cannot be read."""
    strings = pc.replace_substring_regex(strings, _FINER_THAN_MICROSECONDS, r"\1")
    are_others = pc.invert(pc.match_substring_regex(strings, _TIME))
    others = strings.filter(are_others).to_pylist()
    read = _read_iso(pc.if_else(are_others, None, strings))
    return pc.replace_with_mask(read, are_others, pa.array(map(times.parse, others), pa.int64()))


def _read_iso(strings: pa.StringArray) -> pa.Int64Array:
    """Times of ISO 8601. What Arrow takes for none, such as a leap second, is rare: it is searched for by halves, and
    read one by one with its neighbours."""
    try:
        return strings.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    except pa.ArrowInvalid:
        if len(strings) <= TOGETHER:
            written = strings.to_pylist()
            return pa.array([None if text is None else times.parse(text) for text in written], pa.int64())
        middle = len(strings) // 2
        return pa.concat_arrays([_read_iso(strings.slice(0, middle)), _read_iso(strings.slice(middle))])


def read_ids(reader: Reader, written: Sequence[Id]) -> tuple[pa.StringArray, pa.BooleanArray]:
    """Ids as `ids.read` reads them, null where one is absent, and whether each can be read."""
    strings = _texts(written)
    if strings.null_count == len(strings):
        return strings, _all(len(strings))
    if ids.are_of_the_contract(reader.placeholder_ids):
        is_ordinary = pa.array(highest_kind(strings, _ID_KINDS) == 1)
        has_its_length = pc.less_equal(pc.binary_length(strings), MAX_ID_CHARACTERS)
        is_usual = all_of(is_ordinary, has_its_length, pc.not_equal(strings, "-1")).fill_null(True)
    else:
        is_usual = strings.is_null()
    if not is_usual.false_count:
        return strings, is_usual
    others = strings.filter(pc.invert(is_usual)).unique().to_pylist()
    usable, read = [], []
    for id in others:
        with contextlib.suppress(ids.NotAnId):
            read.append(ids.read(id, reader.placeholder_ids))
            usable.append(id)
    places = pc.index_in(strings, pa.array(usable, pa.string()))
    strings = pc.if_else(is_usual, strings, pa.array(read, pa.string()).take(places))
    return strings, pc.or_(is_usual, places.is_valid())


def _texts(written: Sequence[Id]) -> pa.StringArray:
    try:
        return text_column(cast(Sequence[Text], written))
    except pa.ArrowTypeError:  # some are numbers
        return text_column([str(id) if isinstance(id, int) else id for id in written])


def connections(reader: Reader, messages: Sequence[Message], project_ids: Sequence[Text]) -> list[Connection | None]:
    """The connections that the messages belong to, None for a message without one."""
    attributes = [None if isinstance(message, bytes) else message.attributes.get("connection") for message in messages]
    if attributes.count(None) == len(attributes):
        of_projects = {project_id: reader.router.route(project_id, None) for project_id in set(project_ids)}
        return [*map(of_projects.__getitem__, project_ids)]
    places = [*zip(project_ids, attributes, strict=True)]
    routes = {place: reader.router.route(*place) for place in set(places)}
    return [*map(routes.__getitem__, places)]


def are_enabled(reader: Reader, integrations: Sequence[Raw]) -> pa.BooleanArray:
    """Whether each call is for this destination."""
    if not reader.integration_names:
        return _all(len(integrations))
    texts = [*map(bytes, integrations)]
    enabled = {text: not raw_json.is_object(Raw(text)) or reader.is_enabled(Raw(text)) for text in set(texts)}
    return pa.array([*map(enabled.__getitem__, texts)], pa.bool_())


def text_column(texts: Sequence[Text]) -> pa.StringArray:
    """Texts as a column."""
    return pa.array(texts, pa.string())


def are_none(values: Sequence[object]) -> pa.BooleanArray:
    """Which of the values are None."""
    return pa.array([value is None for value in values], pa.bool_())


def all_of(*conditions: pa.BooleanArray) -> pa.BooleanArray:
    """Where all conditions hold."""
    return functools.reduce(pc.and_, conditions)


def _all(length: int) -> pa.BooleanArray:
    return pa.repeat(pa.scalar(True), length)
