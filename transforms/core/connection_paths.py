"""How a connection's name is written in a path: of a webhook, or of a directory of messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_OTHERS: Final = re.compile(r"[^a-z0-9]+")


def folded_name(name: str) -> str:
    """`Marketing site` is `marketing-site`: ASCII letters and digits in lower case, `-` for each run of others."""
    return _OTHERS.sub("-", name.lower()).strip("-")


def names_by_path(names: Iterable[str]) -> Mapping[str, str]:
    """The connections by their folded names. Raises ValueError, with the two names, where two fold alike."""
    by_path: dict[str, str] = {}
    for name in names:
        other = by_path.setdefault(folded_name(name), name)
        if other != name:
            raise ValueError(other, name)
    return by_path
