"""Secrets that senders write into their messages, and that are kept nowhere (`docs/semantics.md`, section 1)."""

from __future__ import annotations

import json
import re
from typing import Final

REDACTED: Final = b"null"
"""What stands in a secret's place: JSON that counts as absent."""
WORD: Final = b"write"
"""It stands in every spelling of a secret's name, in whatever case."""
_NOT_REMOVED: Final = re.compile(rb'write[ _-]*key(?![ _-]*"\s*:\s*null)')
"""A secret's name, but for one that is removed already: the receiver leaves null of it."""
_SPELLING: Final = r"[ _-]*write[ _-]*key[ _-]*"
_NAME: Final = re.compile(_SPELLING)
_FIELD_NAMED_SO: Final = re.compile(rb'"%s"\s*:\s*' % _SPELLING.encode())
_USUAL: Final = re.compile(rb'writeKey":"[0-9A-Za-z_-]*"')
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:[57][2479]|[46][59bB]|2[0dD]|5[fF])")
"""An escape sequence for a character that the name may have: `\\u0077` is `w`."""
_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_STRING_OR_NAME: Final = re.compile(_STRING + rb"(?P<colon>\s*:\s*)?", re.DOTALL)
_SCALAR: Final = re.compile(_STRING + rb"|[^\s,{}\[\]]*", re.DOTALL)
_STRING_OR_BRACKET: Final = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)


def is_write_key(name: str) -> bool:
    """Whether a field's name is a spelling of `writeKey`: in any case, with `_`, `-` or spaces around its two words."""
    return _NAME.fullmatch(name.lower()) is not None


def redacted(payload: bytes) -> bytes:
    """The message with null for each value of a field `writeKey`, at whatever depth; it need not be JSON."""
    if WORD not in payload.lower() and not _ESCAPED_LETTER.search(payload):
        return payload
    parts = []
    end = at = 0
    while string := _STRING_OR_NAME.search(payload, at):
        at = string.end()
        if string["colon"] and is_write_key(_text(payload[string.start() : string.start("colon")])):
            after = _end_of_value(payload, at)
            if after > at:
                parts += [payload[end:at], REDACTED]
                end = at = after
    return b"".join([*parts, payload[end:]])


def redacted_json(document: bytes) -> bytes:
    """The same of valid JSON, at the speed that every call of a job needs. The document itself where it has no secret.

    In valid JSON a quotation mark before a name opens it, unless it is escaped, and stands in a string."""
    # `in` is slower: it takes the bytes for a number first, and that fails
    if document.find(b"\\") >= 0 and _ESCAPED_LETTER.search(document):
        return redacted(document)
    lowered = document.lower()
    if not _names_any(lowered):
        return document
    parts = []
    end = 0
    for name in _FIELD_NAMED_SO.finditer(lowered):
        if name.start() >= end and not lowered.endswith(b"\\", 0, name.start()):
            parts += [document[end : name.end()], REDACTED]
            end = _end_of_value(document, name.end())
    return b"".join([*parts, document[end:]]) if parts else document


def usual_redacted(documents: bytes) -> bytes:
    """Several texts of JSON, with null for each value of a field `writeKey` that is spelled so and has letters and
    digits, as Segment writes it. What is no JSON stays none."""
    parts = []
    end = 0
    for secret in _USUAL.finditer(documents):
        start = secret.start()
        if documents[start - 1 : start] == b'"' and documents[start - 2 : start - 1] != b"\\":
            parts += [documents[end:start], b'writeKey":', REDACTED]
            end = secret.end()
    return b"".join([*parts, documents[end:]])


def may_hold_any(document: bytes) -> bool:
    """Whether valid JSON, or several texts of it together, may hold a secret: quick, and rarely wrong."""
    return _names_any(document.lower()) or may_spell_one(document)


def may_spell_one(document: bytes) -> bool:
    """Whether a letter of a secret's name is an escape sequence somewhere in valid JSON, or in several texts of it."""
    return b"\\" in document and _ESCAPED_LETTER.search(document) is not None


def _names_any(lowered: bytes) -> bool:
    """Whether valid JSON in lower case names a secret, in whatever place, that is not removed already."""
    # rfind takes a third of the time of find: it looks for the rare w, not for the e
    return lowered.rfind(WORD) >= 0 and _NOT_REMOVED.search(lowered) is not None


def _text(string: bytes) -> str:
    name = string.decode(errors="replace").strip('"')
    if "\\" in name:
        try:
            return str(json.loads(f'"{name}"', strict=False))
        except ValueError:
            pass
    return name


def _end_of_value(payload: bytes, start: int) -> int:
    """Where the value that begins there ends; an object or array that is never closed ends with the payload."""
    if payload[start : start + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(payload, start)
        return start if scalar is None else scalar.end()
    level = 0
    for token in _STRING_OR_BRACKET.finditer(payload, start):
        if token[0] in (b"{", b"["):
            level += 1
        elif token[0] in (b"}", b"]"):
            level -= 1
            if level == 0:
                return token.end()
    return len(payload)
