"""`python -m pipeline.explain`: why an id belongs to the contact that it belongs to.

The calls of the log that bear on an id are read, replayed and folded by the same pure code as in a job
(`transforms.core`), and everything is told with the call that said it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pipeline import commands
from pipeline.errors import printable
from pipeline.pages.person import page as person_page
from pipeline.warehouses import Contents, open_warehouse
from schemas.segment import ALIAS, IDENTIFY
from schemas.tables import Timestamp
from transforms.core import contacts, times
from transforms.core.connections import Connections
from transforms.core.contacts import ContactRows
from transforms.core.dead_letters import Stage
from transforms.core.facts import Known, learn, learned
from transforms.core.identity.chains import EdgeOutcome, Replay, in_order
from transforms.core.identity.protocol import Edge
from transforms.core.reader import Call, Reader, Received
from transforms.core.stamps import Stamp

_LONGEST: Final = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class EdgeStep:
    """What one edge did when it was replayed, and why; `times` is how many calls say the same, this one first."""

    edge: Edge
    outcome: EdgeOutcome
    reason: str
    times: int


@dataclass(frozen=True, order=True)
class Fact:
    """What one call said of an id, and whether that stands in the contact's rows. A trait, an audience and an account
    have a `kind`, a name and, but for the account, a value."""

    stamp: Stamp
    text: str
    status: str
    kind: str = ""
    name: str = ""
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why `id` belongs to the contact that answers to `label`.

    `steps` are the edges that name an id of the contact, in the order of the replay. `facts` has each of its ids, the
    label first, with what was said of it, in order. `calls` are those that said it, by message_id.
    """

    id: str
    label: str
    steps: tuple[EdgeStep, ...]
    facts: Mapping[str, tuple[Fact, ...]]
    rows: ContactRows
    calls: Mapping[str, Call]


def main(argv: Sequence[str] | None = None, program: str = "") -> int:
    """Explains an id. Returns 0, or 1 where no call of the log names it, or 2 for a mistake of the user's."""
    parser = commands.WarehouseParser(
        "pipeline.explain",
        "Says why an id belongs to the contact that it belongs to: the edges of its contact as they are replayed, and "
        "what each call said of each of its ids.",
    )
    parser.add_connections()
    parser.add_argument(
        "--id", required=True, type=commands.id_text, help="Required: a userId or an anonymousId, as it was sent."
    )
    parser.add_argument(
        "--html", metavar="FILE", help="Draws the person as a page into this file, beside what is printed."
    )
    return commands.run(parser, _explain, argv, program)


def _explain(options: argparse.Namespace) -> int:
    connections = commands.connections_of(options)
    id = options.id
    with open_warehouse(options.warehouse).contents() as contents:
        explanation = explain(id, calls_about(id, contents, connections), connections)
    console = Console()
    if explanation is None:
        commands.say(console, f"No call of the table identity_calls names {id}: its events, if any, stand for {id}.")
        return 1
    if options.html is not None:
        commands.write_page("--html", options.html, person_page(explanation))
    render(explanation, console)
    return 0


def calls_about(id: str, contents: Contents, connections: Connections) -> Iterator[Call]:
    """The calls of the log that name an id, or one that is connected to it."""
    neighbours: dict[str, list[str]] = {}
    for one, other in contents.pairs():
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    connected, frontier = {id}, [id]
    while frontier:
        fresh = set(neighbours.get(frontier.pop(), ())) - connected
        connected |= fresh
        frontier += fresh
    reader = Reader.of(connections)
    for payload, connection in contents.log(connected):
        for outcome in reader.read(Received(payload.encode(), connection=connection), Stage.HISTORY):
            if isinstance(outcome, Call):
                yield outcome


def explain(id: str, calls: Iterable[Call], connections: Connections) -> Explanation | None:
    """Explains an id by the calls that bear on it, in any order; None where none of them names it."""
    by_message_id: dict[str, Call] = {}
    known: dict[str, Known] = {}
    stamps_by_pair: dict[tuple[str, str], list[Stamp]] = {}
    named = False
    for call in calls:
        by_message_id[call.message_id] = call
        named = named or id in (call.user_id, call.anonymous_id, call.previous_id)
        for person, more in learned(call, connections).persons:
            learn(known.setdefault(person, Known()), more)
            for user, stamp in more.out.items():
                stamps_by_pair.setdefault((person, user), []).append(stamp)
        if itself := _edge_to_itself(call, connections):
            stamps_by_pair.setdefault((itself, itself), []).append((call.timestamp, call.message_id))
    if not named:
        return None
    edges = in_order(Edge(min(stamps), previous, user) for (previous, user), stamps in stamps_by_pair.items())
    labels, replayed = _replayed(edges)
    label = labels.get(id, id)
    ids = [label, *sorted(id for id in labels if labels[id] == label and id != label)]
    members = {id: known.get(id, Known()) for id in ids}
    rows = contacts.rows(label, members)
    return Explanation(
        id=id,
        label=label,
        steps=tuple(
            EdgeStep(edge, outcome, reason, len(stamps_by_pair[edge.previous, edge.user]))
            for edge, outcome, reason in replayed
            if edge.previous in members or edge.user in members
        ),
        facts=_facts(members, rows),
        rows=rows,
        calls=by_message_id,
    )


def _edge_to_itself(call: Call, connections: Connections) -> str | None:
    """The id that a call says to be itself, of which nothing is learned."""
    links = call.type == IDENTIFY and connections.link_anonymous_ids
    previous = call.previous_id if call.type == ALIAS else call.anonymous_id if links else None
    return previous if previous == call.user_id else None


def _replayed(edges: Iterable[Edge]) -> tuple[dict[str, str], list[tuple[Edge, EdgeOutcome, str]]]:
    """The label of every id, and what each edge did, with the reason in words."""
    replay = Replay()
    given_up: dict[str, str] = {}
    replayed = []
    for edge in edges:
        previous, user = edge.previous, edge.user
        outcome = replay.take(edge)
        by = f"by {previous} → {user} ({edge.stamp[1]})"
        if outcome is EdgeOutcome.MERGED:
            label = replay.label(user)
            reason = f"absorbed into the contact of {user}" + (f", which answers to {label}" if label != user else "")
            given_up[previous] = f"{previous} was absorbed before, {by}"
        elif outcome is EdgeOutcome.RELABELLED:
            reason = f"{user} is in the contact of {previous} already, which now answers to {user}"
            given_up[previous] = f"{previous} was renamed before, {by}"
        else:
            reason = "an id is itself already" if previous == user else given_up[previous]
        replayed.append((edge, outcome, reason))
    return replay.labels(), replayed


def _facts(members: Mapping[str, Known], rows: ContactRows) -> dict[str, tuple[Fact, ...]]:
    everything = reduce(learn, members.values(), Known())
    return {id: tuple(sorted(_facts_of(known, everything, rows))) for id, known in members.items()}


def _facts_of(known: Known, everything: Known, rows: ContactRows) -> Iterator[Fact]:
    """What was said of one id; `everything` is what was said of all ids of the contact."""
    forgotten = everything.deleted

    def fact(stamp: Stamp, text: str, stands: str = "stands", kind: str = "", name: str = "", value: str = "") -> Fact:
        status = "forgotten" if forgotten and stamp <= forgotten else stands
        return Fact(stamp, text, status, kind, name, value)

    if known.seen and known.seen[0] not in known.connections.values():
        yield fact(known.seen[0], "first identify")
    for name, stamp in known.connections.items():
        is_first = known.seen is not None and stamp == known.seen[0]
        yield fact(stamp, f"{'identify' if is_first else 'last identify'} through {name}")
    for name, (stamp, value) in known.traits.items():
        stands = "cleared" if value == b"null" else "stands"
        newest = everything.traits[name] == (stamp, value)
        shown = _cut(value.decode())
        yield fact(stamp, f"trait {name}: {shown}", stands if newest else "replaced", "trait", name, shown)
    for name, (stamp, is_member) in known.audiences.items():
        membership = {True: "a member", False: "not a member", None: "taken out"}[is_member]
        stands = "cleared" if is_member is None else "stands"
        newest = everything.audiences[name] == (stamp, is_member)
        status = stands if newest else "replaced"
        yield fact(stamp, f"audience {name}: {membership}", status, "audience", name, membership)
    for account_id, ways in known.accounts.items():
        for way, (first, last) in ways.items():
            named = f"account {account_id}, by {way.source}{'' if way.explicit else ' as fallback'}"
            if first != last:
                yield fact(first, f"{named}: first", kind="account", name=account_id)
            is_main = rows.contact is not None and rows.contact.account_id == account_id
            text = f"{named}: last" if first != last else named
            yield fact(last, text, "main" if is_main else "stands", "account", account_id)
    if known.deleted:
        yield Fact(known.deleted, "delete: what was said of the person until then", "forgets")


def render(explanation: Explanation, console: Console) -> None:
    """Prints the explanation: lines that are never wrapped, in colour on a terminal."""
    id, label, facts = explanation.id, explanation.label, explanation.facts
    if id != label:
        title = f"{id} belongs to the contact {label}"
    else:
        title = f"{id} is the label of its contact" if len(facts) > 1 else f"{id} is a contact of its own"
    commands.say(console, title, "bold")
    commands.say(console, summary(explanation))
    notes = {id: ["the label"] * (id == label) + ["no facts"] * (not facts[id]) for id in facts}
    _section(console, "Ids", [(id, ", ".join(notes[id])) for id in facts])
    steps = [
        (
            *_source(step.edge.stamp, explanation),
            step.outcome.value,
            f"{step.edge.previous} → {step.edge.user}",
            step.reason + (f" (said {step.times:,} times)" if step.times > 1 else ""),
        )
        for step in explanation.steps
    ]
    _section(console, "Edges, as they are replayed", steps)
    for id, facts_of_id in facts.items():
        lines = [(*_source(fact.stamp, explanation), fact.status, fact.text) for fact in facts_of_id]
        _section(console, f"Facts of {id}", lines)


def summary(explanation: Explanation) -> str:
    """The contact's row in a line."""
    contact = explanation.rows.contact
    if contact is not None:
        held = {"name": contact.name, "email": contact.email, "account": contact.account_id}
        shown = ", ".join(f"{name} {value}" for name, value in held.items() if value)
        return f"Its row in contacts: {shown or 'without name, email and account'}"
    return "It has no row in contacts: no identify of its ids is left"


_STATUS: Final = 3
"""The column that is coloured."""
_STYLES: Final = {
    **dict.fromkeys((EdgeOutcome.MERGED.value, "stands", "main"), "green"),
    EdgeOutcome.RELABELLED.value: "cyan",
    **dict.fromkeys((EdgeOutcome.IGNORED.value, "replaced", "cleared", "forgotten"), "dim"),
}


def _section(console: Console, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    commands.say(console, "")
    commands.say(console, title, "bold")
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = Text()
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            style = _STYLES.get(cell, "") if column == _STATUS else ""
            line.append("  ").append(cell, style).append(" " * (width - cell_len(cell)))
        line.rstrip()
        commands.say(console, line)


def _source(stamp: Stamp, explanation: Explanation) -> tuple[str, str, str]:
    """(time, message_id, type) of the call that said something."""
    call = explanation.calls[stamp[1]]
    return _time(call.timestamp), call.message_id, call.type


def _time(timestamp: Timestamp) -> str:
    """To the millisecond, where there is nothing finer."""
    text = times.iso(timestamp)
    return f"{text[:-4]}Z" if text.endswith("000Z") else text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


if __name__ == "__main__":
    sys.exit(main())
