"""The rows of one contact, folded from the facts of its ids (`docs/semantics.md`, sections 4, 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import asdict

from schemas.tables import Audience, Contact, Membership, Timestamp
from transforms.core import promoted, raw_json
from transforms.core.facts import NOTHING, Known, joined
from transforms.core.promoted import PromotedTraits
from transforms.core.stamps import Span, Stamp

MAX_PREVIOUS_IDS: Final = 1000


class ContactRows(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """What stands in the tables for one contact. `identified` is when it was first and last identified, None where it
    was not. `fold` makes its row, where one is asked for."""

    memberships: tuple[Membership, ...] = ()
    identified: Identified | None = None
    fold: Callable[[], Contact] | None = None

    @cached_property
    def contact(self) -> Contact | None:
        """None where none of its ids was identified."""
        return None if self.fold is None else self.fold()

    def has_same_contact(self, before: ContactRows) -> bool:
        """Whether the contact's row is as it was. The time of the last identify nearly always tells, which stands in
        the row: then the row from before need not be folded."""
        return self.identified == before.identified and self.contact == before.contact


class Identified(NamedTuple):
    """When a contact was identified, deletes taken off."""

    first: Timestamp
    last: Timestamp


class _Standing(msgspec.Struct, order=True):
    """A membership by one way, as the fold compares it."""

    explicit: bool
    last: Stamp
    source: str
    first: Stamp


def rows(external_id: str, members: Mapping[str, Known]) -> ContactRows:
    """The rows of the contact that answers to `external_id` and holds the facts of `members`, by id.

    A delete of any of the ids forgets the person: every fact up to it, of all ids.
    """
    informed = [known for known in members.values() if known != NOTHING]  # few of a device's thousand ids
    forgotten = max((known.deleted for known in informed if known.deleted), default=None)
    accounts = _accounts(informed, forgotten)
    memberships = tuple(_membership(external_id, account_id, accounts[account_id]) for account_id in sorted(accounts))
    seen = [span for known in informed if (span := _after(known.seen, forgotten))]
    if not seen:
        return ContactRows(memberships=memberships)
    identified = Identified(Timestamp(min(span[0] for span in seen)[0]), Timestamp(max(span[1] for span in seen)[0]))
    fold = partial(_contact, external_id, members, informed, forgotten, accounts, identified)
    return ContactRows(memberships=memberships, identified=identified, fold=fold)


def _contact(
    external_id: str,
    members: Mapping[str, Known],
    informed: Sequence[Known],
    forgotten: Stamp | None,
    accounts: Mapping[str, Sequence[_Standing]],
    identified: Identified,
) -> Contact:
    everything = joined(informed)
    traits = promoted.newest(everything.traits, forgotten)
    account_id, main = _main_account(accounts)
    return Contact(
        external_id,
        **asdict(PromotedTraits.of_values(traits).person(external_id)),
        account_id=account_id,
        account_source=main.source if main else None,
        traits=promoted.document(traits),
        audiences=tuple(
            Audience(key, is_member, Timestamp(stamp[0]))
            for key, (stamp, is_member) in sorted(everything.audiences.items())
            if is_member is not None and (forgotten is None or stamp > forgotten)
        ),
        previous_ids=tuple(sorted(member for member in members if member != external_id)[:MAX_PREVIOUS_IDS]),
        connections=tuple(
            sorted(name for name, stamp in everything.connections.items() if forgotten is None or stamp > forgotten)
        ),
        first_identified_at=identified.first,
        last_identified_at=identified.last,
    )


def _after(span: Span | None, forgotten: Stamp | None) -> Span | None:
    """What a delete leaves of a span: nothing, or the span from the delete on."""
    if span is None or forgotten is None:
        return span
    return (max(span[0], forgotten), span[1]) if span[1] > forgotten else None


def _accounts(members: Iterable[Known], forgotten: Stamp | None) -> dict[str, list[_Standing]]:
    accounts: dict[str, list[_Standing]] = {}
    for known in members:
        for account_id, ways in known.accounts.items():
            for way, span in ways.items():
                remaining = _after(span, forgotten)
                if remaining:
                    standing = _Standing(way.explicit, remaining[1], way.source, remaining[0])
                    accounts.setdefault(account_id, []).append(standing)
    return accounts


def _main_account(accounts: Mapping[str, Sequence[_Standing]]) -> tuple[str, _Standing] | tuple[None, None]:
    """The account named last, by a way that is no fallback if there is one."""
    best = {account_id: max(ways) for account_id, ways in accounts.items()}
    if not best:
        return None, None
    greatest = max((standing.explicit, standing.last) for standing in best.values())
    named_last = [id for id, standing in best.items() if (standing.explicit, standing.last) == greatest]
    account_id = named_last[0] if len(named_last) == 1 else max(named_last, key=raw_json.text)
    return account_id, best[account_id]


def _membership(external_id: str, account_id: str, ways: list[_Standing]) -> Membership:
    return Membership(
        external_id,
        account_id,
        max(ways).source,
        Timestamp(min(way.first for way in ways)[0]),
        Timestamp(max(way.last for way in ways)[0]),
    )
