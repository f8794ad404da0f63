"""JSON as it was written: raw slices, read only where a rule needs a value (`docs/semantics.md`, 1 and 8).

A `Raw` is one JSON value whose syntax msgspec has checked. Lone surrogates and invalid syntax never get this far.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw

EMPTY: Final = Raw(b"{}")
NULL: Final = Raw(b"null")

decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
"""The fields of an object as raw slices, in the order they were written; of a repeated key the last value."""
decode_items: Final = msgspec.json.Decoder(list[Raw]).decode
"""The items of an array as raw slices."""
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
"""A string, or a bracket outside of strings."""
_ESCAPE: Final = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape sequence; group 1 is half a surrogate pair."""
_KEYS: Final = re.compile(rb'"[ \t\r\n]*:')
"""Where a key ends; what looks so within a string is found as well."""
_WRITTEN_OTHERWISE: Final = re.compile(rb"[\[:,]-?(?:[0-9]{16}|0\.0000|[0-9.]+[eE])")
"""A number behind another token that orjson may write otherwise than Python: one of 16 digits or more, or with an
exponent. What stands in a string may look so as well."""
_SHALLOW: Final = 100
"""Levels that a parser takes at any depth of the stack."""
_OBJECT: Final = ord("{")
_ARRAY: Final = ord("[")
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def items(array: Raw | bytes) -> list[Raw]:
    """The items of an array as raw slices. One that is too deep for the parser, or no text, is still one item."""
    try:
        return decode_items(array)
    except (msgspec.DecodeError, RecursionError):
        written = bytes(array)
        outlined = outline(written)
        return as_written(written, outlined, decode_items(outlined))


def as_written(array: bytes, outlined: bytes, items: list[Raw]) -> list[Raw]:
    """The slices of an array that stand where the items of its outline stand."""
    written, at = [], outlined.find(b"[") + 1
    for item in map(bytes, items):
        at = outlined.index(item, at)
        written.append(Raw(array[at : at + len(item)]))
        at += len(item)
    return written


def peek(raw: Raw | bytes) -> object:
    """The value of a short JSON text as Python has it; NaN where a number in it is beyond Python's."""
    try:
        return _decode(raw)
    except msgspec.ValidationError:
        return math.nan


def is_object(raw: Raw) -> bool:
    """Whether the JSON value is an object."""
    return memoryview(raw)[0] == _OBJECT


def is_array(raw: Raw) -> bool:
    """Whether the JSON value is an array."""
    return memoryview(raw)[0] == _ARRAY


def value(raw: Raw | bytes) -> Any:
    """The JSON value as Python has it; integers of any size are exact."""
    return json.loads(bytes(raw), parse_int=integer)


def canonical(raw: Raw | bytes) -> str:
    """The canonical JSON text of a value, as Python writes it: sorted keys, no white space, no needless escapes. orjson
    writes the same in a fifth of the time, but for some numbers."""
    text = usual_canonical(bytes(raw))
    if text is not None and not _WRITTEN_OTHERWISE.search(b",%b" % text):
        return text.decode()
    return json.dumps(value(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def usual_canonical(document: bytes) -> bytes | None:
    """The canonical JSON text of a value, in UTF-8, but for numbers of 16 digits or more or with an exponent, which may
    be written otherwise. None of half a surrogate pair, or of what is too deep."""
    try:
        return orjson.dumps(orjson.loads(document), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def text(string: str) -> str:
    """The canonical JSON text of a string."""
    return json.dumps(string, ensure_ascii=False)


def of_text(string: str) -> Raw:
    """A string as JSON."""
    return Raw(_encode(string))


def encode(fields: dict[str, Raw]) -> Raw:
    """An object of these fields, each as it was written."""
    return Raw(_encode(fields))


def check_numbers(document: Raw | bytes) -> Any:
    """The document as Python has it. Raises ValueError where a number is beyond FLOAT64, which JSON allows and no
    warehouse can hold."""
    return orjson.loads(bytes(document))


def with_each_key_once(document: Raw) -> Raw:
    """The document; where an object of it has a key twice, with the last value of each. Of such keys warehouses read
    the first. Raises ValueError as `check_numbers` does."""
    read = check_numbers(document)
    written = bytes(document)
    if tersely(read) == written:
        return document
    if len(_KEYS.findall(written)) == _keys(read) or not _repeats_a_key(written):
        return document
    return Raw(json.dumps(value(document), separators=(",", ":"), ensure_ascii=False).encode())


def tersely(read: Any) -> bytes | None:
    """A decoded document as nearly all of Segment's libraries write it; None of one that is too deep for the writer."""
    try:
        return orjson.dumps(read)
    except orjson.JSONEncodeError:
        return None


def _keys(read: Any) -> int:
    """How many keys the objects of a decoded document have."""
    number, rest = 0, [read]
    while rest:
        container = rest.pop()
        if isinstance(container, dict):
            number += len(container)
            container = container.values()
        rest += [element for element in container if isinstance(element, (dict, list))]
    return number


def _repeats_a_key(document: bytes) -> bool:
    repeated = False

    def note(pairs: list[tuple[str, Any]]) -> None:
        nonlocal repeated
        repeated = repeated or len({key for key, _ in pairs}) < len(pairs)

    json.loads(document, object_pairs_hook=note)
    return repeated


def depth(document: bytes) -> int:
    """The greatest nesting of arrays and objects in a document, which need not be valid."""
    return max((level for level, _ in _brackets(document)), default=0)


def outline(document: bytes) -> bytes:
    """The document as a parser can take it: spaces in place of what is too deep for one, other characters in place of
    halves of surrogate pairs, which are no text. Everything stands where it stood; where a bracket that deep is never
    closed, the document ends with it."""
    outlined = bytearray(_ESCAPE.sub(lambda escape: b"\\u0000" if escape[1] else escape[0], document))
    start = level = 0
    for level, at in _brackets(document):
        if document[at] in b"{[":
            start = at + 1 if level == _SHALLOW else start
        elif level == _SHALLOW - 1:
            outlined[start:at] = b" " * (at - start)
    return bytes(outlined[:start] if level >= _SHALLOW else outlined)


def holds_half_surrogate(document: bytes) -> bool:
    """Whether half of a surrogate pair stands alone in a document, as an escape sequence."""
    return any(escape[1] for escape in _ESCAPE.finditer(document))


def _brackets(document: bytes) -> Iterator[tuple[int, int]]:
    """(level, offset) of each bracket outside of strings; a closing one is of the level that it returns to."""
    level = 0
    for token in _TOKENS.finditer(document):
        if token[0] in (b"{", b"["):
            level += 1
        elif token[0] in (b"}", b"]"):
            level -= 1
        else:
            continue
        yield level, token.start()


def integer(digits: str) -> int | float:
    """Python refuses to convert integers of more than 4,300 digits; as a float they are infinite."""
    return int(digits) if len(digits) < 4000 else float(digits)
