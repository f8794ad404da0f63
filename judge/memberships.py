"""Section 6: memberships."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from judge.deletion import after_deletion
from judge.newest_facts import by_rank
from judge.people import PersonFacts
from judge.values import AccountNaming, Row, Stamp


def membership_rows(
    label: str, ids: Iterable[str], people: Mapping[str, PersonFacts], forgotten: Stamp
) -> dict[str, Row]:
    """The contact's memberships, by account id."""
    stamps: dict[tuple[str, AccountNaming], list[Stamp]] = defaultdict(list)
    for id_ in ids:
        for stamp, naming in people[id_].accounts if id_ in people else []:
            stamps[id_, AccountNaming(naming.account_id, naming.explicit, naming.source)].append(stamp)

    spans: dict[str, list[tuple[Stamp, Stamp, AccountNaming]]] = defaultdict(list)
    for (_, naming), when in stamps.items():
        span = after_deletion(when, forgotten)
        if span is not None:
            spans[naming.account_id].append((*span, naming))
    return {
        account_id: {
            "external_id": label,
            "account_id": account_id,
            "account_source": max(((last, naming) for _, last, naming in namings), key=by_rank)[1].source,
            "first_named_at": min(first for first, _, _ in namings)[0],
            "last_named_at": max(last for _, last, _ in namings)[0],
        }
        for account_id, namings in spans.items()
    }
