"""What the replay works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = Any  # any value that a JSON parser returns
Object: TypeAlias = dict[str, Json]
Row: TypeAlias = dict[str, Any]
Stamp: TypeAlias = tuple[int, str]  # (timestamp, message_id)


@dataclass(frozen=True)
class AccountNaming:
    """An account as one message named it."""

    account_id: str
    explicit: bool  # by the connection's own method, not its fallback
    source: str  # the method
    name: str | None = None
    traits: tuple[tuple[str, Json], ...] = ()
