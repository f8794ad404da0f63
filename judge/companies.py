"""Section 5: accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from judge.configuration import Config, MappingRules
from judge.mail_domains import email_domain, is_personal, registrable
from judge.message import ReplayedMessage, non_empty
from judge.newest_facts import by_rank, newest, newest_by_key, present, text_trait
from judge.reading import account_id_of
from judge.values import AccountNaming, Json, Object, Row, Stamp


@dataclass
class AccountFacts:
    """Every fact about one account."""

    namings: list[tuple[Stamp, AccountNaming, str]] = field(default_factory=list)  # (stamp, naming, connection)


def account_named_by(message: ReplayedMessage, config: Config) -> AccountNaming | None:
    """The account that a group call or an identify names, by its connection's method or else its fallback."""
    mapping = message.connection.account_mapping
    if message.type == "group" and mapping.method == "group" and message.group_id is not None:
        name = message.traits.get("name")
        return AccountNaming(
            message.group_id, True, "group", name if non_empty(name) else None, tuple(message.traits.items())
        )
    if message.type != "identify":
        return None
    own: AccountNaming | None = None
    if mapping.method == "group" and message.group_id is not None:
        own = AccountNaming(message.group_id, True, "group")
    elif mapping.method == "identify_traits":
        own = account_of_traits(message.traits, mapping)
    elif mapping.method == "email_domain":
        own = account_of_email(message.traits.get("email"), config, explicit=True)
    if own is None and mapping.fallback == "email_domain":
        return account_of_email(message.traits.get("email"), config, explicit=False)
    return own


def at_path(traits: Object, path: str) -> tuple[Json, Object | None, str]:
    """(value, parent object, last step). The parent is None where the path is a literal key."""
    if traits.get(path) is not None:
        return traits[path], None, path
    *steps, last = path.split(".")
    holder: Json = traits
    for step in steps:
        holder = holder.get(step) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return None, None, last
    return holder.get(last), holder, last


def account_of_traits(traits: Object, mapping: MappingRules) -> AccountNaming | None:
    value, parent, last = at_path(traits, mapping.id)
    account_id = account_id_of(value)
    if account_id is None:
        return None
    name = at_path(traits, mapping.name)[0]
    others = tuple((key, value) for key, value in (parent or {}).items() if key != last)
    return AccountNaming(account_id, True, "identify_traits", name if non_empty(name) else None, others)


def account_of_email(email: Json, config: Config, *, explicit: bool) -> AccountNaming | None:
    domain = email_domain(email) if isinstance(email, str) else None
    if domain is None:
        return None
    account_id = (registrable(domain) or domain) if config.registrable_domain else domain
    if config.personal_email_domains != "keep" and (is_personal(domain) or is_personal(account_id)):
        return None
    return AccountNaming(account_id, explicit, "email_domain", account_id)


def account_row(account_id: str, account: AccountFacts) -> Row:
    stamps = [stamp for stamp, _, _ in account.namings]
    names = [(stamp, naming.name) for stamp, naming, _ in account.namings if naming.name is not None]
    traits = present(newest_by_key((stamp, *trait) for stamp, naming, _ in account.namings for trait in naming.traits))
    source = max(((stamp, naming) for stamp, naming, _ in account.namings), key=by_rank)[1].source
    domain: str | None = account_id
    if source != "email_domain":
        domain = host(traits.get("website")) or host(traits.get("domain"))
    return {
        "account_id": account_id,
        "name": newest(names)[1] if names else account_id,
        "domain": domain,
        "website": text_trait(traits, "website"),
        "industry": text_trait(traits, "industry"),
        "plan": text_trait(traits, "plan"),
        "employees": whole_number(traits.get("employees")),
        "account_source": source,
        "traits": traits,
        "connections": sorted({connection for _, _, connection in account.namings}),
        "first_seen_at": min(stamps)[0],
        "last_seen_at": max(stamps)[0],
    }


def host(url: Json) -> str | None:
    """The host of a URL with or without its scheme, in lower case."""
    if not isinstance(url, str):
        return None
    url = url.strip()
    try:
        return urlsplit(url if "://" in url or url.startswith("//") else "//" + url).hostname or None
    except ValueError:  # not a URL
        return None


def whole_number(value: Json) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if -(2**63) <= int(value) < 2**63 else None
