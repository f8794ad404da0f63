"""What `check` prints: one screen of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from pipeline.errors import printable, without_secrets
from pipeline.findings import Findings, Refusals
from pipeline.plurals import counted
from transforms.core.accounts import Way
from transforms.core.connections import Connection

WIDTH: Final = 80
_MARGIN: Final = 13
"""Where the text begins that stands right of the headings."""
_COUNT: Final = 7
"""Columns of a number."""
_MOST_KINDS: Final = 5
_MOST_NAMES: Final = 3
_OUTCOMES: Final = {
    "event": "events",
    "identity_call": "identity calls",
    "dead_letter": "dead letters",
    "duplicate": "duplicates",
    "conflicting": "conflicting",
    "disabled": "disabled",
}
_WAYS: Final = {
    Way.GROUP: "group",
    Way.IDENTIFY_TRAITS: "identify_traits",
    Way.EMAIL_DOMAIN: "email_domain",
    Way.FALLBACK_EMAIL_DOMAIN: "email_domain as fallback",
}


def lines(findings: Findings) -> Iterator[str]:
    """What was found of messages, in lines of `WIDTH` columns at the most. None has a control character or a secret."""
    yield from _section("calls", list(_calls(findings)))
    if findings.user_ids or findings.anonymous_ids:
        yield from _section("people", list(_people(findings)))
        yield from _section("accounts", list(_accounts(findings)))
    yield from _section("connections", list(_connections(findings)))
    if findings.refusals:
        yield from _section("refused", list(_refused(findings)))
    if warned := list(warnings(findings)):
        yield from _section("warnings", [line for warning in warned for line in _wrapped(warning)])


def _section(heading: str, content: Sequence[str]) -> Iterator[str]:
    """The lines, of which the first stands beside the heading."""
    for title, line in zip_longest([heading], content, fillvalue=""):
        yield f"{title:{_MARGIN}}{_cut(line, WIDTH - _MARGIN)}".rstrip()


def _calls(findings: Findings) -> Iterator[str]:
    """Types and what becomes of them, side by side."""
    types = findings.types.most_common()
    outcomes = [(name, findings.outcomes[key]) for key, name in _OUTCOMES.items() if findings.outcomes[key]]
    yield f"{'':{_COUNT}}  {'of the type':12}{'':{_COUNT}}  would become"
    for (type_, of_type), (outcome, of_outcome) in zip_longest(types, outcomes, fillvalue=("", 0)):
        left = f"{of_type:{_COUNT},}  {type_:12}" if of_type else " " * (_COUNT + 14)
        right = _row(of_outcome, outcome) if of_outcome else ""
        yield f"{left}{right}".rstrip()


def _people(findings: Findings) -> Iterator[str]:
    users, anonymous = len(findings.user_ids), len(findings.anonymous_ids)
    kept = findings.outcomes["event"] + findings.outcomes["identity_call"]
    tables = findings.tables
    part = f"; {findings.anonymous / kept:.0%} of the calls have no user id" if kept else ""
    yield _row(users, "user ids")
    yield _row(anonymous, f"anonymous ids{part}")
    yield _row(len(tables.contacts), f"contacts, with {counted(len(tables.memberships), 'membership')} of accounts")
    yield _row(len(tables.identities), "ids that belong to the contact of another id")


def _row(count: int, what: str) -> str:
    return f"{count:{_COUNT},}  {what}"


def _accounts(findings: Findings) -> Iterator[str]:
    yield _row(len(findings.tables.accounts), "accounts")
    for way, name in _WAYS.items():
        if accounts := findings.accounts[way]:
            shown = ", ".join(account_id for account_id, _ in accounts.most_common(_MOST_NAMES))
            more = ", ..." if len(accounts) > _MOST_NAMES else ""
            yield _row(len(accounts), f"by {name}, in {counted(accounts.total(), 'call')}: {shown}{more}")
    if findings.without_account:
        yield _row(findings.without_account, "identify and group calls name none")
    if findings.without_effect:
        yield _row(findings.without_effect, "group calls name none: their connection has another method")


def _connections(findings: Findings) -> Iterator[str]:
    for connection in findings.connections():
        count = findings.by_connection[connection.name]
        if not count:
            yield _row(0, f"{connection.name}: not met, {_why_not_met(findings, connection)}")
            continue
        projects = findings.projects[connection.name]
        shown = ", ".join(project for project, _ in projects.most_common(_MOST_NAMES))
        more = ", ..." if len(projects) > _MOST_NAMES else ""
        yield _row(count, f"{connection.name}{f': {shown}{more}' if shown else ''}")


def _why_not_met(findings: Findings, connection: Connection) -> str:
    if not findings.types:
        return "no call could be read"
    if connection.project_ids is None:
        return "every call belongs to another"
    return "no call has a projectId of it" if connection.project_ids else "no call names it"


def _refused(findings: Findings) -> Iterator[str]:
    """Each kind of refusal with its first call; the rest in one line."""
    kinds = sorted(findings.refusals.values(), key=lambda kind: -kind.count)
    for kind in kinds[:_MOST_KINDS]:
        yield _row(kind.count, f"{kind.reason}: {kind.detail}")
        yield f"{'':{_COUNT + 2}}{_example(kind)}"
    if rest := kinds[_MOST_KINDS:]:
        yield _row(sum(kind.count for kind in rest), f"for {counted(len(rest), 'other reason')}")


def _example(kind: Refusals) -> str:
    return f"{kind.place}: {kind.payload[: 4 * WIDTH].decode(errors='replace')}"


def warnings(findings: Findings) -> Iterator[str]:
    """What is likely to be a mistake of whoever sends the calls, or of the connections file."""
    kept = findings.outcomes["event"] + findings.outcomes["identity_call"]
    if kept and not findings.user_ids:
        yield "No call has a user id: everybody would stay anonymous."
    if kept and not findings.outcomes["identity_call"]:
        yield "No identify, group or alias call: contacts and accounts would stay empty."
    if (common := findings.common_id()) is not None:
        id, count = common
        yield f"The id {id!r} is in {counted(count, 'call')} of {findings.calls:,}: does it stand for one person?"
    if findings.in_future:
        yield f"{_calls_have(findings.in_future)} a time more than a day ahead of now."
    if findings.placeholders:
        shown = ", ".join(f"{field} {name!r}" for (field, name), _ in findings.placeholders.most_common(_MOST_NAMES))
        count = findings.placeholders.total()
        yield f"{counted(count, 'id')} that name nobody, and count as absent: {shown}."
    if findings.unusable:
        fields = ", ".join(f"{field} {count:,}" for field, count in findings.unusable.most_common())
        yield f"Ids and times that cannot be read, and count as absent: {fields}."
    if findings.outcomes["conflicting"]:
        yield f"{_calls_have(findings.outcomes['conflicting'])} the messageId of another call, and would be left out."


def _calls_have(count: int) -> str:
    return f"{count:,} {'call has' if count == 1 else 'calls have'}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(_clean(text), WIDTH - _MARGIN - 2, initial_indent="", subsequent_indent="  ") or [""]


def _cut(line: str, width: int) -> str:
    line = _clean(line)
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _clean(text: str) -> str:
    return printable(without_secrets(text))
