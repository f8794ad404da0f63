"""The picture of the flow: where calls come from, what the job does, and the tables that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.pictures import svg

WIDTH, HEIGHT = 960, 420
_FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
_TITLE = (
    "Segment calls come from files, a directory, webhooks and SDKs through the receiver, or Pub/Sub. The job parses "
    "them, appends events and identity calls, and resolves identities into contacts, accounts, identities and "
    "memberships; what cannot be read goes to dead_letters. The tables are in a DuckDB file or a BigQuery dataset."
)


class Box(NamedTuple):
    """A box with a title and lines of notes below it."""

    x: float
    y: float
    width: float
    height: float
    title: str
    notes: Sequence[str]
    style: str = "box"

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + self.height / 2


FILES = Box(20, 60, 188, 62, "Files", ["local or gs://, also gzip"])
DIRECTORY = Box(20, 138, 188, 62, "A directory", ["that grows, file by file"])
SUBSCRIPTION = Box(20, 216, 188, 62, "Pub/Sub", ["a subscription"])
RECEIVER = Box(20, 318, 188, 62, "Receiver", ["webhooks, Segment's SDKs"])
PARSE = Box(268, 60, 208, 88, "Parse and classify", ["repairs a message, or", "refuses it with a reason"], "job")
RESOLVE = Box(292, 214, 184, 88, "Resolve identities", ["replays every alias", "in the order of time"], "job")
EVENTS = Box(552, 48, 180, 56, "events", ["pages, screens, tracks"])
LOG = Box(552, 122, 180, 56, "identity_calls", ["the log of who is who"])
CONTACTS = Box(552, 206, 180, 56, "contacts", ["one row a person"])
ACCOUNTS = Box(552, 280, 180, 56, "accounts", ["one row a company"])
DEAD_LETTERS = Box(552, 354, 180, 48, "dead_letters", [])
QUESTIONS = Box(792, 88, 148, 116, "SQL and views", ["each event with", "its person and", "company of today"])
PAGES = Box(792, 244, 148, 108, "Commands", ["report: a page", "explain: why", "audit: is it right"])

BOXES = [
    *(FILES, DIRECTORY, SUBSCRIPTION, RECEIVER, PARSE, RESOLVE),
    *(EVENTS, LOG, CONTACTS, ACCOUNTS, DEAD_LETTERS, QUESTIONS, PAGES),
]
HEADINGS = [
    (114, "Segment calls from"),
    (372, "one Apache Beam job"),
    (642, "a DuckDB file, or BigQuery"),
    (866, "your questions"),
]
_FORK = 764
_WHERE = ["here, on a laptop,", "or on Dataflow"]


def picture() -> str:
    """The whole picture as SVG."""
    lines = [
        _curve(FILES.right, (PARSE.x, PARSE.y + 24)),
        _curve(DIRECTORY.right, (PARSE.x, PARSE.y + 46)),
        _curve(SUBSCRIPTION.right, (PARSE.x, PARSE.y + 68)),
        _straight((114, RECEIVER.y), (114, SUBSCRIPTION.y + SUBSCRIPTION.height)),
        _path(f"M60 {RECEIVER.y:g} V298 Q60 288 50 288 H14 Q8 288 8 282 V175 Q8 169 14 169 H20"),
        _curve((PARSE.x + PARSE.width, PARSE.y + 24), EVENTS.left),
        _curve((PARSE.x + PARSE.width, PARSE.y + 60), (LOG.x, LOG.y + 20)),
        _curve((LOG.x, LOG.y + 40), (RESOLVE.x + RESOLVE.width, RESOLVE.y + 24)),
        _curve((RESOLVE.x + RESOLVE.width, RESOLVE.y + 50), CONTACTS.left),
        _curve((RESOLVE.x + RESOLVE.width, RESOLVE.y + 66), ACCOUNTS.left),
        _path(f"M280 {PARSE.y + PARSE.height:g} V358 Q280 378 300 378 H{DEAD_LETTERS.x:g}"),
        _bracket(),
        _straight((_FORK, QUESTIONS.left[1]), QUESTIONS.left),
        _straight((_FORK, PAGES.left[1]), PAGES.left),
    ]
    words = [svg.text(x, 32, heading, "note", 13, "middle") for x, heading in HEADINGS]
    words += [svg.text(384, 328 + 17 * row, words, "note", 12, "middle") for row, words in enumerate(_WHERE)]
    body = "".join([_ARROW, *lines, *map(_drawn, BOXES), *words])
    return svg.document(WIDTH, HEIGHT, _TITLE, body, _FONT)


_ARROW = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>\n'
)


def _drawn(box: Box) -> str:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    shape = f'<rect class="{box.style}" {place} rx="6"/>\n'
    middle = box.x + box.width / 2
    first = box.y + box.height / 2 + 5 - 9 * len(box.notes)
    title = svg.text(middle, first, box.title, "title bold", 14.5, "middle")
    notes = [svg.text(middle, first + 20 + 17 * row, note, "note", 12, "middle") for row, note in enumerate(box.notes)]
    return "".join([shape, title, *notes])


def _straight(start: tuple[float, float], end: tuple[float, float]) -> str:
    return _path(f"M{start[0]:g} {start[1]:g} L{end[0]:g} {end[1]:g}")


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    middle = (start[0] + end[0]) / 2
    return _path(f"M{start[0]:g} {start[1]:g} C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]:g} {end[1]:g}")


def _bracket() -> str:
    """The bracket beside the tables, and the line from it to both boxes behind it."""
    x, top, bottom = EVENTS.x + EVENTS.width + 14, EVENTS.y, DEAD_LETTERS.y + DEAD_LETTERS.height
    ends = f"M{x - 8:g} {top:g} H{x:g} V{bottom:g} H{x - 8:g}"
    return f'<path class="line" d="{ends} M{x:g} {QUESTIONS.left[1]:g} H{_FORK:g} V{PAGES.left[1]:g}"/>\n'


def _path(way: str) -> str:
    return f'<path class="line" marker-end="url(#head)" d="{way}"/>\n'
