"""Section 4: of several facts the newest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from judge.json_text import canonical
from judge.values import AccountNaming, Json, Object, Stamp


def newest(values: Iterable[tuple[Stamp, Json]]) -> tuple[Stamp, Json]:
    """The value with the greatest stamp; of two with the same stamp the greater by canonical JSON text."""
    return max(values, key=lambda stamped: (stamped[0], canonical(stamped[1])))


def newest_by_key(facts: Iterable[tuple[Stamp, str, Json]]) -> dict[str, tuple[Stamp, Json]]:
    by_key: dict[str, list[tuple[Stamp, Json]]] = defaultdict(list)
    for stamp, key, value in facts:
        by_key[key].append((stamp, value))
    return {key: newest(values) for key, values in by_key.items()}


def present(values: Mapping[str, tuple[Stamp, Json]]) -> Object:
    return {key: value for key, (_, value) in values.items() if value is not None}


def by_rank(named_at: tuple[Stamp, AccountNaming]) -> tuple[bool, Stamp, str, str]:
    stamp, naming = named_at
    return naming.explicit, stamp, canonical(naming.account_id), canonical(naming.source)
