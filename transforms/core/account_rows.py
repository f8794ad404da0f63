"""The row of one account, folded from the calls that named it (`docs/semantics.md`, section 5).

Invariant of `step`: the row of the greatest version is that of everything known of the account, by the rules of
`state.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from schemas import tables
from schemas.tables import Timestamp
from transforms.core import promoted
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, copied_account, learn_account
from transforms.core.promoted import PromotedTraits
from transforms.core.rows import Upsert
from transforms.core.rules_version import RULES_VERSION, UNVERSIONED


class AccountState(msgspec.Struct, array_like=True, gc=False):
    """All that is known of one account, the version of the row last written, and that of the rules it was made by."""

    known: AccountKnown = msgspec.field(default_factory=AccountKnown)
    version: int = 0
    rules: int = UNVERSIONED


class AccountOutbox(msgspec.Struct, gc=False):
    """Rows of `accounts`."""

    accounts: list[Upsert] = []


def step(key: str, state: AccountState | None, inbox: Iterable[AccountKnown]) -> tuple[AccountState, AccountOutbox]:
    """Joins what came to what was known, and writes the row if that changes it, or if older rules made it."""
    known = AccountKnown() if state is None else copied_account(state.known)
    for more in inbox:
        learn_account(known, more)
    version = 0 if state is None else state.version
    if state is not None and state.rules == RULES_VERSION and _has_same_row(key, state.known, known):
        return AccountState(known, version, RULES_VERSION), AccountOutbox()
    rows = [Upsert((key,), (version + 1,), row(key, known))]
    return AccountState(known, version + 1, RULES_VERSION), AccountOutbox(rows)


def _has_same_row(key: str, before: AccountKnown, known: AccountKnown) -> bool:
    """The time of the last call that named it nearly always tells, which stands in the row: then no row from before
    need be made."""
    return _last_named(before) == _last_named(known) and row(key, before) == row(key, known)


def _last_named(known: AccountKnown) -> Timestamp:
    return Timestamp(max(span[1] for span in known.seen.values())[0])


def row(account_id: str, known: AccountKnown) -> tables.Account:
    """The account's row; it has one as soon as one message named it."""
    traits = promoted.newest(known.traits)
    promoted_traits = PromotedTraits.of_values(traits)
    company = promoted_traits.company()
    way = max(known.seen, key=lambda way: (way.explicit, known.seen[way][1], way.source))
    return tables.Account(
        account_id,
        known.name[1] if known.name else account_id,
        domain=account_id if way.source == Way.EMAIL_DOMAIN.source else _domain(promoted_traits),
        website=company.website,
        industry=company.industry,
        plan=company.plan,
        employees=company.employees,
        account_source=way.source,
        traits=promoted.document(traits),
        connections=tuple(sorted(known.connections)),
        first_named_at=Timestamp(min(span[0] for span in known.seen.values())[0]),
        last_named_at=_last_named(known),
    )


def _domain(traits: PromotedTraits) -> str | None:
    """The host of the website, else of the trait `domain`."""
    hosts = (_host(traits.string(name)) for name in ("website", "domain"))
    return next(filter(None, hosts), None)


def _host(url: str | None) -> str | None:
    if not url:
        return None
    url = url.strip()
    try:
        host = urlsplit(url if "://" in url or url.startswith("//") else f"//{url}").hostname
    except ValueError:
        return None
    return host and (host.removeprefix("www.") or None)
