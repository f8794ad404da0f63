"""The page of `python -m pipeline.explain --html`: one person, drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pipeline.pages import id_graph
from pipeline.pages.id_graph import NumberedEdge
from pipeline.pages.markup import Markup, document, element, given, joined
from pipeline.pages.stylesheet import STYLE
from pipeline.pages.tables import Cell, table, tiles, utc
from pipeline.plurals import counted
from transforms.core.identity.chains import EdgeOutcome
from transforms.core.stamps import Stamp

if TYPE_CHECKING:
    from pipeline.explain import Explanation, Fact

_MOST_ROWS: Final = 2_000
"""How many rows of a table are shown."""


def page(explanation: Explanation) -> str:
    """A person as an HTML document: the ids as a graph, the edges, what stands, and the timeline."""
    id, label = explanation.id, explanation.label
    edges = _edges(explanation)
    drawn = id_graph.layout(label, list(explanation.facts), edges)
    return document(
        f"Why {id} is {label}",
        STYLE,
        element("h1", given(id), *_belonging(id, label)),
        _tiles(explanation, edges),
        element("h2", "Ids"),
        _graph(label, id, drawn),
        element("h2", "Edges, as they are replayed"),
        _edge_table(explanation, edges),
        element("h2", "What stands"),
        _standing(explanation),
        element("h2", "Timeline"),
        _timeline(explanation, edges),
        element("footer", "Times are in UTC. The page holds personal data."),
        class_="wide",
    )


def _belonging(id: str, label: str) -> tuple[str, ...]:
    return (" is the label of its contact",) if id == label else (" belongs to the contact ", given(label))


def _edges(explanation: Explanation) -> list[NumberedEdge]:
    return [
        NumberedEdge(
            number=number,
            previous=step.edge.previous,
            user=step.edge.user,
            outcome=step.outcome,
            reason=step.reason + (f" (said {step.times:,} times)" if step.times > 1 else ""),
        )
        for number, step in enumerate(explanation.steps, 1)
    ]


def _tiles(explanation: Explanation, edges: Sequence[NumberedEdge]) -> Markup:
    contact = explanation.rows.contact
    ignored = sum(edge.outcome is EdgeOutcome.IGNORED for edge in edges)
    counts = [
        (counted(len(explanation.facts), "id"), "of the contact"),
        (counted(len(edges), "edge"), f"{ignored:,} of them ignored"),
        (counted(len(explanation.rows.memberships), "account"), "that a call named with it"),
    ]
    lines = []
    if contact is not None:
        held = {"name": contact.name, "e-mail address": contact.email, "account": contact.account_id}
        lines = [(name, value) for name, value in held.items() if value is not None]
    else:
        lines = [("row in contacts", "none: no identify of its ids is left")]
    return joined(tiles(counts), table(("of the contact", "now"), lines) if lines else None)


def _graph(label: str, asked: str, drawn: id_graph.Layout) -> Markup:
    ids, brackets = len(drawn.nodes) - id_graph.MOST_NODES, len(drawn.brackets) - id_graph.MOST_BRACKETS
    left_out = [counted(ids, "id")] * (ids > 0) + [counted(brackets, "bracket")] * (brackets > 0)
    return joined(
        element(
            "p",
            "An id hangs under the id that a call said it is; the number is the edge's in the table below. The root is "
            "the label. Brackets are edges that changed nothing, or that a later one has changed.",
            class_="note",
        ),
        id_graph.legend(),
        element("div", id_graph.draw(label, asked, drawn), class_="scroll"),
        element("p", f"{' and '.join(left_out)} more are not drawn.", class_="note") if left_out else None,
    )


def _edge_table(explanation: Explanation, edges: Sequence[NumberedEdge]) -> Markup:
    if not edges:
        return element("p", "No call names one of its ids with another.", class_="note")
    rows = []
    for edge, step in zip(edges, explanation.steps, strict=True):
        did = (edge.outcome.value, edge.previous, edge.user, edge.reason)
        rows.append((edge.number, utc(step.edge.stamp[0]), *did, *_call(step.edge.stamp, explanation)))
    return _cut_table(("number", "time", "outcome", "id", "is now", "why", "message_id", "call"), rows)


def _standing(explanation: Explanation) -> Markup:
    facts = sorted((fact, id) for id, of_id in explanation.facts.items() for fact in of_id)

    def rows(kind: str, *statuses: str) -> list[Sequence[Cell]]:
        chosen = sorted((fact.name, fact, id) for fact, id in facts if fact.kind == kind and fact.status in statuses)
        return [(name, fact.value, *_origin(fact, id, explanation)) for name, fact, id in chosen]

    of_accounts = [
        (
            membership.account_id,
            membership.account_source,
            utc(membership.first_named_at),
            utc(membership.last_named_at),
        )
        for membership in explanation.rows.memberships
    ]
    columns = ("value", "time", "set by", "call", "id")
    old = [*rows("trait", "replaced", "cleared", "forgotten"), *rows("audience", "replaced", "cleared", "forgotten")]
    return joined(
        element("h3", "Traits"),
        _cut_table(("trait", *columns), rows("trait", "stands")),
        element("h3", "Accounts"),
        _cut_table(("account", "named by", "first", "last"), of_accounts),
        element("h3", "Audiences"),
        _cut_table(("audience", *columns), rows("audience", "stands")),
        element(
            "details",
            element("summary", f"{counted(len(old), 'value')} that no longer stand"),
            _cut_table(("name", *columns), old),
        )
        if old
        else None,
    )


def _timeline(explanation: Explanation, edges: Sequence[NumberedEdge]) -> Markup:
    entries = sorted((*_told_edges(explanation, edges), *_told_facts(explanation)))
    rows = [(utc(stamp[0]), text, status, *_call(stamp, explanation)) for stamp, text, status in entries]
    return _cut_table(("time", "what", "outcome", "message_id", "call"), rows)


def _told_edges(explanation: Explanation, edges: Sequence[NumberedEdge]) -> Iterator[tuple[Stamp, str, str]]:
    for edge, step in zip(edges, explanation.steps, strict=True):
        yield step.edge.stamp, f"edge {edge.number}: {edge.previous} is now {edge.user}", edge.outcome.value


def _told_facts(explanation: Explanation) -> Iterator[tuple[Stamp, str, str]]:
    for id, facts in explanation.facts.items():
        for fact in facts:
            yield fact.stamp, f"{id}: {fact.text}", fact.status


def _origin(fact: Fact, id: str, explanation: Explanation) -> Sequence[Cell]:
    return (utc(fact.stamp[0]), *_call(fact.stamp, explanation), id)


def _call(stamp: Stamp, explanation: Explanation) -> tuple[str, str]:
    """(message_id, type) of the call that said something."""
    call = explanation.calls[stamp[1]]
    return call.message_id, call.type


def _cut_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    if not rows:
        return element("p", "None.", class_="note")
    left_out = len(rows) - _MOST_ROWS
    more = element("p", f"{counted(left_out, 'row')} more are not shown.", class_="note") if left_out > 0 else None
    return joined(table(columns, rows[:_MOST_ROWS]), more)
