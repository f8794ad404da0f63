"""How a sender proves itself: keys in headers and in the body, and signatures of the body.

Keys are compared by their digests, each candidate with each key, so that the time tells nothing of a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

from receiver.asgi import Headers

Owner = TypeVar("Owner")

_LONGEST_KEY: Final = 8192
_BASIC: Final = re.compile(rb"\s*basic\s+([A-Za-z0-9+/_-]+)={0,2}\s*(?:,|\Z)", re.IGNORECASE)
_SIGNATURE: Final = re.compile(rb"[0-9a-fA-F]{40}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")

WRITE_KEY_HEADERS: Final = (b"authorization",)
API_KEY_HEADERS: Final = (b"authorization", b"authentication")
"""Segment's own sample of a partner's destination calls the header `Authentication`."""
_KEY_HEADER: Final = b"x-write-key"
_MOST_REMEMBERED: Final = 10_000
SIGNATURE_HEADER: Final = b"x-signature"


class Keyring(Generic[Owner]):
    """Keys, and whose each is.

    A sender writes the same header with every request. So a header whose key was found is remembered. How long it takes
    to look one up tells nothing of a key: a dict compares bytes only where all 64 bits of their hashes are equal, and
    the hash is keyed with a secret of this process, so that nobody can find other bytes for which they are."""

    def __init__(self, keys: Iterable[tuple[str, Owner]]) -> None:
        self._owners = [(_digest(key.encode()), owner) for key, owner in keys]
        self._remembered: dict[bytes, Owner] = {}

    def find(self, candidates: Iterable[bytes]) -> Owner | None:
        """Whose the first of the candidates is that is a key; every candidate is compared with every key."""
        found_owner: Owner | None = None
        for candidate in candidates:
            digest = _digest(candidate)
            for key, owner in self._owners:
                if hmac.compare_digest(key, digest) and found_owner is None:
                    found_owner = owner
        return found_owner

    def find_in(self, headers: Headers, names: Sequence[bytes]) -> Owner | None:
        """Whose the first key is that these headers give, or `X-Write-Key`."""
        for name in names:
            header = headers.get(name)
            if header is None:
                continue
            owner = self._remembered.get(header) or self._find_new(header)
            if owner is not None:
                return owner
        return self.find(header_keys(headers, names))

    def _find_new(self, header: bytes) -> Owner | None:
        owner = self.find(_basic_keys(header))
        if owner is not None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[header] = owner
        return owner


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def header_keys(headers: Headers, names: Sequence[bytes]) -> list[bytes]:
    """The keys that headers give: the user of Basic authentication, with or without a colon after it, and
    `X-Write-Key`."""
    keys = []
    for name in names:
        keys += _basic_keys(headers.get(name, b""))
    written = headers.get(_KEY_HEADER, b"").strip()
    if written and len(written) <= _LONGEST_KEY:
        keys.append(written)
    return keys


def _basic_keys(header: bytes) -> list[bytes]:
    """What the base64 of Basic authentication, with or without its padding, may mean as a key: all of it, or what
    stands before its first colon."""
    basic = _BASIC.match(header)
    if basic is None or len(basic[1]) > _LONGEST_KEY:
        return []
    encoded = basic[1].translate(_URL_SAFE)
    try:
        text = base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return []
    user, colon, _ = text.partition(b":")
    return [key for key in ((user, text) if colon else (text,)) if key]


def is_signed(signature: bytes, secret: str, *signed: bytes) -> bool:
    """Whether the signature is the hexadecimal HMAC-SHA1 of one of the byte strings; each is tried."""
    if not _SIGNATURE.fullmatch(signature.strip()):
        return False
    given = bytes.fromhex(signature.strip().decode())
    matches = [hmac.compare_digest(hmac.digest(secret.encode(), part, "sha1"), given) for part in signed]
    return any(matches)
