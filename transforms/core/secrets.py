"""Secrets that senders write into their messages, and that are kept nowhere (`docs/semantics.md`, sections 1 and 2)."""

from __future__ import annotations

import json
import re
from typing import Final

from schemas.segment import WRITE_KEY, folded

REDACTED: Final = b"null"
"""What stands in a secret's place: JSON that counts as absent."""
_FOLDED: Final = folded(WRITE_KEY)
_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
_FIELD: Final = re.compile(_STRING + rb"(?P<value>\s*:\s*(?P<secret>" + _STRING + rb"|[^\s,{}\[\]]+))?", re.DOTALL)
"""A string; where it names a field, with the field's value, if that is a string, a number or a word."""
_MAY_NAME: Final = re.compile(rb"key|\\u", re.IGNORECASE)


def redacted(payload: bytes) -> bytes:
    """The message without the values of its fields `writeKey`, in whatever spelling and at whatever depth; it need not
    be JSON."""
    if not _MAY_NAME.search(payload):
        return payload
    parts = []
    end = at = 0
    while field := _FIELD.search(payload, at):
        at = field.end()
        if field["value"] is None:
            continue
        if _is_secret(payload[field.start() : field.start("value")]):
            parts += [payload[end : field.start("secret")], REDACTED]
            end = at
        else:
            at = field.start("secret")  # the value may name a field itself where this is no JSON
    return b"".join([*parts, payload[end:]])


def _is_secret(string: bytes) -> bool:
    name = string.decode(errors="replace").strip('"')
    if "\\" in name:
        try:
            name = json.loads(f'"{name}"', strict=False)
        except ValueError:
            return False
    return folded(name) == _FOLDED
