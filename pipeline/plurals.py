"""How many there are of something, in words."""

from __future__ import annotations


def counted(count: int, singular: str, plural: str = "") -> str:
    """`1 message`, `1,200 messages`; the plural where another letter than an s makes it."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
