"""Which ids a received text names, also where no call can be read from it (`docs/semantics.md`, section 7).

A text that reads as calls names what their id fields hold, under any spelling of their names. One that is no JSON, no
UTF-8 or cut off is searched for such fields wherever they stand: rather one too many than one too few.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas.segment import ALIAS, ALIAS_FIELDS, BATCH, CALL_TYPES, folded
from schemas.tables import ACCOUNTS, KEYED, Timestamp
from transforms.core import ids, raw_json
from transforms.core.dead_letters import Refused
from transforms.core.fields import MessageFields, items, parse
from transforms.core.raw_json import is_array
from transforms.core.reader import Received, read_message_id, read_times
from transforms.core.stamps import Stamp

ID_FIELDS: Final = frozenset(map(folded, ("userId", "anonymousId", "previousId")))
"""The fields that name a person, folded."""
ALIAS_ID_FIELDS: Final = ID_FIELDS.union(map(folded, ALIAS_FIELDS.values()))
"""Those of an alias."""
_ROW_FIELDS: Final = frozenset(map(folded, ("id", "external_id", "previous_ids")))
"""The columns of keyed tables that hold ids of persons."""
_PERSONS: Final = frozenset(table.name for table in KEYED if table != ACCOUNTS)
_ID_NAME: Final = re.compile(r"(?:user|anonymous|previous)[_ ]{0,9}id", re.IGNORECASE)
_ALIAS_NAME: Final = re.compile(rf"{_ID_NAME.pattern}|from|to", re.IGNORECASE)
_IS_ALIAS: Final = re.compile(r"type\W{1,9}alias", re.IGNORECASE)
_TO_VALUE: Final = re.compile(r"""\\*["']?\s*[:=]\s*""")
_VALUE: Final = re.compile(
    r"""(?P<escaped>\\+["'])(?P<quoted_again>.*?)(?:(?P=escaped)|$)"""
    r"""|"(?P<quoted>(?:[^"\\]|\\.)*)"""
    r"""|'(?P<single>(?:[^'\\]|\\.)*)"""
    r"""|(?P<bracket>[\[{])"""
    r"""|(?P<bare>[^\s,;&}\]"'\\]+)""",
    re.DOTALL,
)
_STRING_OR_NUMBER: Final = re.compile(r'"((?:[^"\\]|\\.)*)"?|([^\s,:\[\]{}"]+)', re.DOTALL)
_ASCII_ESCAPE: Final = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_STRUCTURAL: Final = frozenset('"\\')
_BROKEN: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufffd]")
"""What a wrong encoding leaves in a text, which is no part of an id."""
_LONGEST_LIST: Final = 100_000
"""Characters of an array or object in an id field that are searched."""


class NamedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The ids that one call names, or that a text names from which no call can be read: its `timestamp` is then None,
    as where the call carries no time. `message_id` is None where the call carries none."""

    ids: frozenset[str]
    timestamp: Timestamp | None = None
    message_id: str | None = None

    def is_after(self, stamp: Stamp) -> bool:
        """Whether the call says that it came after a stamp."""
        return self.timestamp is not None and (self.timestamp, self.message_id or "") > stamp


def named_calls(payload: bytes, attributes: Mapping[str, object] | None = None) -> list[NamedCall]:
    """What the calls of a message name, one for each call that can be read, at least one for every message. What the
    message's attributes name counts for each."""
    pairs = (attributes or {}).items()
    ids_of_attributes = set().union(*(_ids_in(value) for name, value in pairs if folded(name) in ID_FIELDS))
    return [replace(call, ids=call.ids | ids_of_attributes) for call in _calls(payload)]


def _calls(payload: bytes) -> Iterator[NamedCall]:
    document = _parsed(payload)
    if document is None:
        yield NamedCall(ids=frozenset(_loosely_named(payload)))
        return
    batch: MessageFields | None = None
    if isinstance(document, MessageFields):
        if not is_array(document.batch):
            yield _call(payload, document, None)
            return
        batch = document
        yield NamedCall(ids=frozenset(_ids_in([batch.userId, batch.anonymousId, batch.previousId])))
        try:
            document = items(batch.batch)
        except Refused:
            yield NamedCall(ids=frozenset(_loosely_named(payload)))
            return
    elif not document:
        yield NamedCall(ids=frozenset())
    for item in map(bytes, document):
        fields = _parsed(item)
        if isinstance(fields, MessageFields):
            yield _call(item, fields, batch)
        else:
            yield NamedCall(ids=frozenset(_loosely_named(item)))


def _parsed(message: bytes) -> MessageFields | list[Any] | None:
    """What can be read of a message, None where nothing can. Of a call that the reader refuses for its depth or for
    half a surrogate pair, its outline has the fields."""
    try:
        return parse(message)
    except Refused:
        pass
    try:
        outlined = parse(raw_json.outline(message))
    except Refused:
        return None
    return outlined if isinstance(outlined, MessageFields) and not is_array(outlined.batch) else None


def _call(item: bytes, fields: MessageFields, batch: MessageFields | None) -> NamedCall:
    """What one object names. `batch` is what it is an item of."""
    if batch is not None:
        fields.sentAt = batch.sentAt if fields.sentAt is None else fields.sentAt
        fields.receivedAt = batch.receivedAt if fields.receivedAt is None else fields.receivedAt
    try:
        timestamp = read_times(Received(item), fields, {}, {}).timestamp
    except Refused:
        timestamp = None
    named = frozenset(_loosely_named(item))
    return NamedCall(ids=named, timestamp=timestamp, message_id=read_message_id(fields.messageId))


class _Fields(list[tuple[str, Any]]):
    """The fields of an object, also those that are there twice."""


def _loosely_named(payload: bytes) -> set[str]:
    named: set[str] = set()
    for text in _texts(payload):
        named |= _named_by_text(text)
    return named


def _texts(payload: bytes) -> Iterator[str]:
    """The bytes as text: where they are not UTF-8 as they are without what is wrong, and in Latin letters."""
    encoding = json.detect_encoding(payload)
    try:
        yield payload.decode(encoding)
    except UnicodeDecodeError:
        yield payload.decode(encoding, "ignore")
        yield payload.decode("cp1252", "ignore")


def _named_by_text(text: str) -> set[str]:
    try:
        document = json.loads(text, object_pairs_hook=_Fields, parse_int=raw_json.integer, strict=False)
    except (ValueError, RecursionError):
        return _searched(text)
    return _named_by_document(document)


def _named_by_document(document: object) -> set[str]:
    named: set[str] = set()
    values = [document]
    while values:
        value = values.pop()
        if isinstance(value, _Fields):
            named |= _ids_of(value)
            values += [items for name, items in value if folded(name) == BATCH and isinstance(items, list)]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str) and '"' in value:
            named |= _named_by_text(value)
    return named


def _ids_of(fields: _Fields) -> set[str]:
    """What an object names: by its own id fields; where these name nobody, by those of what is nested in it."""
    kinds = {value.lower() for name, value in fields if folded(name) == "type" and isinstance(value, str)}
    names = ID_FIELDS if kinds & CALL_TYPES - {ALIAS} else ALIAS_ID_FIELDS
    named = set().union(*(_ids_in(value) for name, value in fields if folded(name) in names))
    tables = {value for name, value in fields if name == "table" and isinstance(value, str)}
    if tables & _PERSONS:  # a row that the warehouse refused
        named |= _ids_in([value for name, value in fields if name == "key"])
        rows = [row for name, row in fields if name == "row" and isinstance(row, _Fields)]
        named |= _ids_in([value for row in rows for name, value in row if folded(name) in _ROW_FIELDS])
    return named or set(_nested([value for _, value in fields]))


def _nested(values: list[Any]) -> Iterator[str]:
    while values:
        value = values.pop()
        if isinstance(value, _Fields):
            for name, field in value:
                if folded(name) in ID_FIELDS:
                    yield from _ids_in(field)
                else:
                    values.append(field)
        elif isinstance(value, list):
            values += value


def _ids_in(value: object) -> set[str]:
    """The value of an id field as ids: also what an array or an object holds in its place."""
    named: set[str] = set()
    values = [value]
    while values:
        value = values.pop()
        if isinstance(value, _Fields):
            values += [field for _, field in value]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, dict):
            values += value.values()
        else:
            named.update(_read(value))
    return named


def _read(value: object) -> Iterator[str]:
    readings = (value, _BROKEN.sub("", value)) if isinstance(value, str) else (value,)
    for reading in readings:
        try:
            id = ids.read(reading)
        except ids.NotAnId:
            continue
        if id is not None:
            yield id


def _searched(text: str) -> set[str]:
    """The values of all that looks like an id field in a text that is no JSON."""
    text = _ASCII_ESCAPE.sub(_unescaped_ascii, text)
    named: set[str] = set()
    pattern = _ALIAS_NAME if _IS_ALIAS.search(text) else _ID_NAME
    at = 0
    while (name := pattern.search(text, at)) is not None:
        at = name.end()
        before, after = text[name.start() - 1 : name.start()], text[at : at + 1]
        if before.isalnum() or before in ("_", "-") or (after in ('"', "'") and before.isspace()):
            continue  # the end of another name
        colon = _TO_VALUE.match(text, at)
        value = _VALUE.match(text, colon.end()) if colon else None
        if value is not None:
            at, written = _values(text, value)
            named.update(id for string_or_number in written for id in _read(string_or_number))
    return named


def _values(text: str, value: re.Match[str]) -> tuple[int, list[object]]:
    """Where the value of an id field ends, and the strings and numbers in it."""
    if value["bracket"]:
        closing = "]" if value["bracket"] == "[" else "}"
        end = text.find(closing, value.end(), value.end() + _LONGEST_LIST)
        if end < 0:
            end = min(len(text), value.end() + _LONGEST_LIST)
        tokens = _STRING_OR_NUMBER.finditer(text, value.end(), end)
        return end, [_number(token[2]) if token[2] else _unescaped(token[1]) for token in tokens]
    if value["bare"]:
        return value.end(), [_number(value["bare"]), value["bare"]]
    if value["escaped"]:
        return value.end(), [_unescaped(_unescaped(value["quoted_again"]))]
    return value.end(), [_unescaped(value["quoted"] or value["single"] or "")]


def _unescaped(string: str) -> str:
    """The text of a JSON string's inside, which may be cut off."""
    try:
        return str(json.loads(f'"{string}"', strict=False))
    except ValueError:
        return string


def _number(word: str) -> object:
    """The JSON number, or the word where it is none."""
    try:
        value = json.loads(word, parse_int=raw_json.integer)
    except ValueError:
        return word
    return value if isinstance(value, int | float) else word


def _unescaped_ascii(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16))
    return escape[0] if char in _STRUCTURAL else char
