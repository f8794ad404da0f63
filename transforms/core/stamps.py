"""The order of the replay, and facts that have a place in it (`docs/semantics.md`, sections 3, 4 and 8)."""

from __future__ import annotations

Stamp = tuple[int, str]
"""(timestamp, message_id): the order of the replay."""
Span = tuple[Stamp, Stamp]
"""(least, greatest) stamp."""
Value = tuple[Stamp, bytes]
"""A JSON value and the stamp that set it; `null` stays, since it clears other ids' older values too."""
