"""Section 4: contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from judge.deletion import after_deletion
from judge.mail_domains import email_domain
from judge.newest_facts import by_rank, newest_by_key, present
from judge.promoted_columns import promoted, text
from judge.time_forms import read_time
from judge.values import AccountNaming, Json, Row, Stamp


@dataclass
class PersonFacts:
    """Every fact that was sent to one id."""

    traits: list[tuple[Stamp, str, Json]] = field(default_factory=list)
    audiences: list[tuple[Stamp, str, bool | None]] = field(default_factory=list)
    identifies: list[tuple[Stamp, str]] = field(default_factory=list)  # (stamp, connection)
    accounts: list[tuple[Stamp, AccountNaming]] = field(default_factory=list)
    deletes: list[Stamp] = field(default_factory=list)


def contact_row(label: str, ids: Iterable[str], people: Mapping[str, PersonFacts], forgotten: Stamp) -> Row | None:
    """The contact's row, None where no identify is left."""
    ids = list(ids)
    facts = [people[id_] for id_ in ids if id_ in people]
    seen = [after_deletion([stamp for stamp, _ in person.identifies], forgotten) for person in facts]
    spans = [span for span in seen if span is not None]
    if not spans:
        return None

    traits = newest_by_key(fact for person in facts for fact in person.traits if fact[0] > forgotten)
    audiences = newest_by_key(fact for person in facts for fact in person.audiences if fact[0] > forgotten)
    connections = {connection for person in facts for stamp, connection in person.identifies if stamp > forgotten}
    first_name = promoted(traits, "firstName", "first_name", text)
    last_name = promoted(traits, "lastName", "last_name", text)
    name = promoted(traits, "name", "name", text)
    if name is None:
        name = " ".join(part for part in (first_name, last_name) if part is not None) or None
    email = promoted(traits, "email", "email", text)
    if email is None and email_domain(label) is not None:
        email = label
    account_id, account_source = main_account(facts, forgotten)
    return {
        "external_id": label,
        "email": email,
        "name": name,
        "first_name": first_name,
        "last_name": last_name,
        "phone": promoted(traits, "phone", "phone", text),
        "title": promoted(traits, "title", "title", text),
        "username": promoted(traits, "username", "username", text),
        "website": promoted(traits, "website", "website", text),
        "created_at": promoted(traits, "createdAt", "created_at", read_time),
        "account_id": account_id,
        "account_source": account_source,
        "traits": present(traits),
        "audiences": [
            {"audience_key": key, "is_member": is_member, "updated_at": stamp[0]}
            for key, (stamp, is_member) in sorted(audiences.items())
            if is_member is not None
        ],
        "previous_ids": sorted(id_ for id_ in ids if id_ != label)[:1000],
        "connections": sorted(connections),
        "first_identified_at": min(span[0] for span in spans)[0],
        "last_identified_at": max(span[1] for span in spans)[0],
    }


def main_account(facts: Iterable[PersonFacts], forgotten: Stamp) -> tuple[str | None, str | None]:
    """(account_id, account_source) of the membership with the greatest (explicit before fallback, stamp)."""
    left = [(stamp, naming) for person in facts for stamp, naming in person.accounts if stamp > forgotten]
    if not left:
        return None, None
    _, naming = max(left, key=by_rank)
    return naming.account_id, naming.source
