"""Section 5: accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from judge.configuration import Config, MappingRules
from judge.ids import read_id
from judge.mail_domains import email_domain, is_ip_address, is_personal, registrable
from judge.message import ReplayedMessage
from judge.newest_facts import by_rank, newest, newest_by_key, present
from judge.promoted_columns import promoted, text, whole_number
from judge.user_properties import computation_class, engage_property
from judge.values import AccountNaming, Json, Object, Row, Stamp


@dataclass
class AccountFacts:
    """Every fact about one account."""

    namings: list[tuple[Stamp, AccountNaming, str]] = field(default_factory=list)  # (stamp, naming, connection)


def account_named_by(message: ReplayedMessage, config: Config) -> AccountNaming | None:
    """The account that a group call or an identify names, by its connection's method or else its fallback."""
    mapping = message.connection.account_mapping
    if message.type == "group" and mapping.method == "group" and message.group_id is not None:
        traits = tuple(message.traits.items())
        engage = engage_property(message)
        if engage is not None:
            plain = tuple((key, value) for key, value in traits if key != engage.key)
            traits = (*plain, (engage.column, engage.value))
        return AccountNaming(message.group_id, True, "group", promoted_trait(message, "name", name_text), traits)
    if message.type != "identify":
        return None
    own: AccountNaming | None = None
    if mapping.method == "group" and message.group_id is not None:
        own = AccountNaming(message.group_id, True, "group")
    elif mapping.method == "identify_traits":
        own = account_of_traits(message.traits, mapping, config.placeholder_ids)
    elif mapping.method == "email_domain":
        own = account_of_email(message, config, explicit=True)
    if own is None and mapping.fallback == "email_domain":
        return account_of_email(message, config, explicit=False)
    return own


def is_membership(message: ReplayedMessage) -> bool:
    """Whether who the message is about belongs to the account that it names: all but Engage's group calls."""
    return message.type != "group" or computation_class(message) is None


def promoted_trait(message: ReplayedMessage, key: str, read: Callable[[Json], str | None]) -> str | None:
    """A trait of this message alone, by the rule of promoted columns."""
    return promoted({name: (message.stamp, value) for name, value in message.traits.items()}, key, key, read)


def name_text(value: Json) -> str | None:
    """What can name an account: a string that is not blank."""
    return text(value) if isinstance(value, str) else None


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


def account_of_traits(traits: Object, mapping: MappingRules, placeholder_ids: Iterable[str]) -> AccountNaming | None:
    value, parent, last = at_path(traits, mapping.id)
    account_id = read_id(value, placeholder_ids).id
    if account_id is None:
        return None
    name = name_text(at_path(traits, mapping.name)[0])
    others = tuple((key, value) for key, value in (parent or {}).items() if key != last)
    return AccountNaming(account_id, True, "identify_traits", name, others)


def account_of_email(message: ReplayedMessage, config: Config, *, explicit: bool) -> AccountNaming | None:
    email = promoted_trait(message, "email", text) or message.id
    domain = email_domain(email) if email is not None else None
    if domain is None or is_ip_address(domain):
        return None
    account_id = (registrable(domain) or domain) if config.registrable_domain else domain
    if config.personal_email_domains != "keep" and (is_personal(domain) or is_personal(account_id)):
        return None
    return AccountNaming(account_id, explicit, "email_domain", account_id)


def account_row(account_id: str, account: AccountFacts) -> Row:
    stamps = [stamp for stamp, _, _ in account.namings]
    names = [(stamp, naming.name) for stamp, naming, _ in account.namings if naming.name is not None]
    traits = newest_by_key((stamp, *trait) for stamp, naming, _ in account.namings for trait in naming.traits)
    source = max(((stamp, naming) for stamp, naming, _ in account.namings), key=by_rank)[1].source
    domain: str | None = account_id
    if source != "email_domain":
        website, named = (promoted(traits, key, key, name_text) for key in ("website", "domain"))
        domain = host(website) or host(named)
    return {
        "account_id": account_id,
        "name": newest(names)[1] if names else account_id,
        "domain": domain,
        "website": promoted(traits, "website", "website", text),
        "industry": promoted(traits, "industry", "industry", text),
        "plan": promoted(traits, "plan", "plan", text),
        "employees": promoted(traits, "employees", "employees", whole_number),
        "account_source": source,
        "traits": present(traits),
        "connections": sorted({connection for _, _, connection in account.namings}),
        "first_named_at": min(stamps)[0],
        "last_named_at": max(stamps)[0],
    }


def host(url: str | None) -> str | None:
    """The host of a URL with or without its scheme, in lower case, without a leading `www.`."""
    if url is None:
        return None
    url = url.strip()
    try:
        name = urlsplit(url if "://" in url or url.startswith("//") else "//" + url).hostname
    except ValueError:  # not a URL
        return None
    return (name or "").removeprefix("www.") or None
