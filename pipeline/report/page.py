"""The page of a report: what its parts are, and the words in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pipeline.pages.markup import Markup, document, element, given, joined
from pipeline.pages.stylesheet import STYLE
from pipeline.pages.tables import LONGEST_VALUE, NONE, Cell, cut, nothing, share, table, tiles, utc
from pipeline.plurals import counted
from pipeline.report import charts
from pipeline.report.charts import Bar, Times
from pipeline.report.figures import Figures, day_of
from pipeline.report.pieces import details, figure, over_time

_LONGEST_PAYLOAD: Final = 600
"""Characters of a dead letter that are shown."""
_EVENT_TYPES: Final = {"Page": "Pages", "Screen": "Screens", "Action": "Actions (track)"}
_SUFFIXES: Final = {"Page": " (page)", "Screen": " (screen)", "Action": ""}
_CALL_TYPES: Final = {
    "identify": "identify",
    "group": "group",
    "alias": "alias",
    "delete": "delete",
    "track": "Engage track",
}
_LAGS: Final = ("under 10 s", "10 s to 1 min", "1 to 10 min", "10 min to 1 h", "1 h to 1 day", "more than a day")
_ID_KINDS: Final = {
    ("user_id", False): "user id",
    ("user_id", True): "user id, an e-mail address",
    ("anonymous_id", False): "anonymous id",
    ("anonymous_id", True): "anonymous id, an e-mail address",
    ("previous_id", False): "previous id of an alias",
    ("previous_id", True): "previous id, an e-mail address",
}
_WEEKS_SHOWN: Final = 13
_MANY_IDS: Final = 20


def page(figures: Figures, warehouse: str) -> str:
    """The report as an HTML document. `warehouse` is what its title names."""
    parts = (
        ("traffic", "Traffic", _traffic(figures)),
        ("people", "People and accounts", _people(figures)),
        ("funnel", "Funnel", _funnel(figures)),
        ("retention", "Retention", _retention(figures)),
        ("audiences", "Audiences", _audiences(figures)),
        ("dead-letters", "Dead letters", _dead_letters(figures)),
        ("freshness", "Freshness", _freshness(figures)),
        ("identity", "How identity was resolved", _identity(figures)),
        ("suspicious", "What looks suspicious", _suspicious(figures)),
    )
    links = (element("a", title, href=f"#{name}") for name, title, _ in parts)
    return document(
        f"Report on {warehouse}",
        STYLE,
        element("h1", "What the warehouse holds"),
        element("p", given(warehouse), f" · {_period(figures)} · drawn {utc(figures.drawn_at)}", class_="lead"),
        _tiles(figures),
        element("nav", *links),
        *(element("section", element("h2", title), content, id=name) for name, title, content in parts),
        element("footer", "Days and weeks are in UTC, weeks begin on Monday. The page holds personal data."),
    )


# ---- the parts ----


def _tiles(figures: Figures) -> Markup:
    totals = figures.row("totals")
    letters = sum(row["letters"] for row in figures.rows("dead_letters"))
    newest, clock = ("never", "") if figures.newest is None else (utc(figures.newest)[:10], utc(figures.newest)[10:])
    counts = (
        (f"{totals['events']:,}", "events received in the period"),
        (f"{totals['identity_calls']:,}", "identity calls received in the period"),
        (f"{totals['people']:,}", "people with an event in the period"),
        (f"{totals['contacts']:,}", "contacts now"),
        (f"{totals['accounts']:,}", "companies now"),
        (f"{letters:,}", "dead letters written since the period began"),
        (newest, f"newest call received{clock}"),
    )
    return tiles(counts)


def _traffic(figures: Figures) -> Markup:
    rows = figures.rows("traffic")
    top = figures.rows("top_events")
    bars = [Bar(f"{row['name'] or '(no name)'}{_SUFFIXES[row['type']]}", row["events"]) for row in top]
    total = top[0]["total"] if top else 0
    return joined(
        over_time("Events received, by day and type", _by_type(rows, _EVENT_TYPES), stacked=True),
        over_time("Identity calls received, by day and type", _by_type(rows, _CALL_TYPES), stacked=True),
        figure(
            "Most frequent events, by name",
            f"The first {len(top):,} of {counted(total, 'name')}. People are contacts and anonymous visitors, each "
            "once; companies are those that the events belong to.",
            charts.bars(bars) if bars else None,
            ("name", "type", "events", "people", "companies"),
            [(row["name"], row["type"], row["events"], row["people"], row["accounts"]) for row in top],
        ),
    )


def _by_type(rows: Sequence[Mapping[str, object]], names: Mapping[str, str]) -> Times:
    values: dict[str, dict[date, int]] = {name: {} for name in names.values()}
    for row in rows:
        name = names.get(str(row["type"]))
        if name is not None:
            day, calls = row["day"], row["calls"]
            assert isinstance(day, date)
            assert isinstance(calls, int)
            values[name][day] = calls
    return Times({name: by_day for name, by_day in values.items() if by_day}, 1)


def _people(figures: Figures) -> Markup:
    active, growth = figures.rows("active"), figures.rows("growth")

    def series(rows: Sequence[Mapping[str, object]], column: str) -> dict[date, int]:
        return {row["week"]: int(str(row[column])) for row in rows if isinstance(row["week"], date)}

    return joined(
        over_time(
            "Active people and companies, by week",
            Times(
                {
                    "people": series(active, "people"),
                    "contacts": series(active, "contacts"),
                    "companies": series(active, "accounts"),
                }
                if active
                else {},
                7,
            ),
            "Who had an event that was received in the week, each once; people are contacts and anonymous visitors. "
            "The first and the last week may be incomplete.",
        ),
        over_time(
            "New contacts and companies, by week",
            Times(
                {"contacts": series(growth, "contacts"), "companies": series(growth, "accounts")} if growth else {}, 7
            ),
            "By the time of the first call that identifies the contact, or names the company.",
        ),
    )


def _funnel(figures: Figures) -> Markup:
    row = figures.row("lifecycle")
    steps = (
        ("had an event", row["seen"]),
        ("are contacts", row["identified"]),
        ("have an account", row["in_account"]),
        ("came on 2+ days", row["returned"]),
    )
    chosen = None
    if figures.funnel:
        people = {row["step"]: row["people"] for row in figures.rows("funnel")}
        named = [(name, people[number]) for number, name in enumerate(figures.funnel, 1)]
        chosen = _steps(
            "People by the events they did, in this order",
            "Each event at the time of the one before it or later; the earliest that fits counts.",
            named,
        )
    return joined(
        _steps(
            "From visitor to returning company",
            "Of the people with an event that was received in the period: those who are contacts, of these those who "
            "have an account, and of these those who came on two days or more.",
            steps,
        )
        if row["seen"]
        else nothing(),
        chosen,
    )


def _steps(title: str, note: str, steps: Sequence[tuple[str, int]]) -> Markup:
    first = steps[0][1]
    return figure(
        title,
        note,
        charts.bars([Bar(name, people, f"{people:,} ({share(people, first)})") for name, people in steps]),
        ("step", "people", "of the first", "of the step before"),
        [
            (name, people, share(people, first), share(people, steps[max(number - 1, 0)][1]))
            for number, (name, people) in enumerate(steps)
        ],
    )


def _retention(figures: Figures) -> Markup:
    sizes = {row["week"]: row["contacts"] for row in figures.rows("growth") if row["contacts"]}
    people = {(row["first_week"], row["days_later"] // 7): row["people"] for row in figures.rows("retention")}
    last = day_of(figures.period.until - 1)
    weeks = min(_WEEKS_SHOWN, max(((last - week).days // 7 + 1 for week in sizes), default=0))
    note = (
        "Contacts by the week of their first identify call, and the share of them that had an event in that week "
        "(0) and so many weeks later. The last week of each row may be incomplete."
    )
    if not sizes:
        return joined(element("p", note, class_="note"), nothing())
    body = []
    for week, size in sorted(sizes.items()):
        cells = []
        for later in range(weeks):
            if (last - week).days // 7 < later:
                cells.append(element("td"))
                continue
            part = people.get((week, later), 0) / size
            cells.append(element("td", f"{part:.0%}", class_="number share", style=f"--share: {part:.3f}"))
        body.append(element("tr", element("th", week.isoformat()), element("td", f"{size:,}", class_="number"), *cells))
    head = [element("th", "week from"), element("th", "contacts", class_="number")]
    head += [element("th", str(later), class_="number") for later in range(weeks)]
    grid = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    counts = [
        (week.isoformat(), size, *(people.get((week, later), 0) for later in range(weeks)))
        for week, size in sorted(sizes.items())
    ]
    return joined(
        element("h3", "Contacts that came back, by week of their first identify call"),
        element("p", note, class_="note"),
        element("div", grid, class_="scroll short"),
        details(("week from", "contacts", *(f"week {later}" for later in range(weeks))), counts),
    )


def _audiences(figures: Figures) -> Markup:
    rows = figures.rows("audiences")
    if not rows:
        return element("p", "No Engage audience or journey step is in the tables.", class_="note")
    return figure(
        "Members of each audience now",
        "Contacts by what Engage said of them last.",
        charts.bars([Bar(row["audience_key"], row["members"]) for row in rows]),
        ("audience", "members", "were members", "last change"),
        [(row["audience_key"], row["members"], row["former"], utc(row["changed_at"])) for row in rows],
    )


def _dead_letters(figures: Figures) -> Markup:
    rows = figures.rows("dead_letters")
    if not rows:
        return element("p", "None was written since the period began.", class_="good")
    examples = {row["dead_letter_id"]: row for row in reversed(figures.rows("dead_letter_examples"))}
    shown = []
    for row in rows:
        example = examples.get(row["dead_letter_id"])
        if example is not None:
            payload = example["payload"].decode("utf-8", "backslashreplace")
            shown += [
                element("h3", element("code", row["reason"])),
                element("p", given(cut(example["detail"], _LONGEST_PAYLOAD)), class_="note"),
                element("pre", given(cut(payload, _LONGEST_PAYLOAD))),
            ]
    return joined(
        figure(
            "Messages that were refused, by reason",
            "Written since the period began. docs/dead-letters.md says what each reason means, and how letters are "
            "read again.",
            charts.bars([Bar(row["reason"], row["letters"]) for row in rows]),
            ("reason", "letters", "may be accepted later", "newest"),
            [(row["reason"], row["letters"], row["retryable"], utc(row["newest_at"])) for row in rows],
        ),
        element("p", "The newest of each, its first characters:", class_="note"),
        *shown,
    )


def _freshness(figures: Figures) -> Markup:
    row = figures.row("freshness")
    lag = {row["bucket"]: row["calls"] for row in figures.rows("lag")}
    newest = {
        "newest event received": row["event_received_at"],
        "newest identity call received": row["call_received_at"],
        "newest identity call written": row["call_written_at"],
        "contacts last written": row["contact_written_at"],
        "accounts last written": row["account_written_at"],
    }
    jobs = [
        (
            utc(job["started_at"]),
            "has not entered its end" if job["ended_at"] is None else utc(job["ended_at"]),
            job["runner"],
            "yes" if job["history_done"] else "no",
            cut(job["options"], LONGEST_VALUE),
        )
        for job in figures.rows("jobs")
    ]
    return joined(
        table(
            ("what", "when", "before this report"),
            [(what, utc(at), _before(figures.drawn_at, at)) for what, at in newest.items()],
        ),
        figure(
            "From received to written, of identity calls",
            "Calls of the period. Those of files are written when the files are read, however old they are.",
            charts.bars([Bar(name, lag.get(bucket, 0)) for bucket, name in enumerate(_LAGS)]) if lag else None,
            ("time between", "calls"),
            [(name, lag.get(bucket, 0)) for bucket, name in enumerate(_LAGS)],
        ),
        element("h3", "Newest jobs"),
        table(("started", "ended", "runner", "history read", "options"), jobs) if jobs else nothing(),
    )


def _identity(figures: Figures) -> Markup:
    merges = Times({"ids": {row["day"]: row["ids"] for row in figures.rows("merges")}}, 1)
    absorbed = {row["ids"]: row["people"] for row in figures.rows("contact_sizes")}
    sizes = [Bar(f"{ids:,} ids", people) for ids, people in sorted(absorbed.items()) if ids <= _MANY_IDS]
    more = sum(people for ids, people in absorbed.items() if ids > _MANY_IDS)
    if more:
        sizes.append(Bar(f"more than {_MANY_IDS} ids", more))
    kinds = [(_ID_KINDS[row["field"], row["is_address"]], row["ids"]) for row in figures.rows("ids_by_kind")]
    return joined(
        over_time(
            "Ids that became part of another id's contact, by day",
            merges if merges.starts else Times({}, 1),
            "By the time of the first call that names the id with another one. Only ids that are part of another's "
            "contact today count.",
            stacked=True,
        ),
        figure(
            "Ids that calls of the period carry, by kind",
            "Each id once for each way in which it was sent.",
            charts.bars([Bar(name, ids) for name, ids in kinds]) if kinds else None,
            ("kind", "ids"),
            kinds,
        ),
        figure(
            "People with several ids, by how many",
            "People with a single id are not counted.",
            charts.bars(sizes) if sizes else None,
            ("size", "people"),
            [(bar.name, bar.value) for bar in sizes],
        ),
        element("h3", "The people with the most ids"),
        element("p", "python -m pipeline.explain --id=ID says why each id belongs to its contact.", class_="note"),
        table(
            ("external_id", "ids", "name", "e-mail address"),
            [(row["external_id"], row["ids"], row["name"], row["email"]) for row in figures.rows("largest_contacts")],
        ),
    )


def _suspicious(figures: Figures) -> Markup:
    coverage = figures.rows("coverage")
    clocks = figures.row("clocks")
    sums = {name: sum(row[name] for row in coverage) for name in ("events", "of_contacts", "of_accounts", "anonymous")}
    large = sum(row["people"] for row in figures.rows("contact_sizes") if row["ids"] > _MANY_IDS)
    covered = [
        (
            name,
            row["events"],
            share(row["events"] - row["of_contacts"], row["events"]),
            share(row["events"] - row["of_accounts"], row["events"]),
            share(row["anonymous"], row["events"]),
        )
        for name, row in [*((_EVENT_TYPES.get(row["type"], row["type"]), row) for row in coverage), ("all", sums)]
    ]
    of_clocks = (
        ("happened more than 5 minutes after they were received", clocks["ahead"]),
        ("were sent by a clock more than 1 hour off", clocks["wrong_clock"]),
        ("came more than 1 day late", clocks["day_late"]),
        ("came more than 7 days late", clocks["week_late"]),
    )
    return joined(
        element("h3", "Events without a contact or an account"),
        element("p", "A visitor who never identifies has no contact: some of that is usual.", class_="note"),
        table(("type", "events", "without contact", "without account", "without user id"), covered)
        if sums["events"]
        else nothing(),
        element("h3", "Clocks and late events"),
        table(("events that", "events", "share"), [
            (what, events, share(events, clocks["events"])) for what, events in of_clocks
        ]) if clocks["events"] else nothing(),
        _suspects(
            "Contacts that share an e-mail address", "Perhaps one person with two user ids: an alias call joins them.",
            figures.rows("shared_addresses"), ("address", "contacts"),
        ),
        _suspects(
            "Companies that share a domain or a name", "Perhaps one company under two account ids.",
            figures.rows("doubled_accounts"), ("what", "shared", "accounts"),
        ),
        _suspects(
            "Group ids without an account", "Events name them, and no group call does.",
            figures.rows("unknown_groups"), ("group_id", "events"),
        ),
        element("h3", "Contacts with many ids"),
        element(
            "p",
            f"{counted(large, 'person', 'people')} with more than {_MANY_IDS} ids: a shared device, or an id that a "
            "sender gives to everybody (placeholder_ids of the connections file)."
            if large else f"Nobody has more than {_MANY_IDS} ids.",
            class_="warn" if large else "good",
        ),
    )  # fmt: skip


def _suspects(title: str, meaning: str, rows: Sequence[Mapping[str, Cell]], columns: Sequence[str]) -> Markup:
    """What there should be none of."""
    if not rows:
        return joined(element("h3", title), element("p", "None.", class_="good"))
    total = int(rows[0]["total"] or 0)
    more = f" The first {len(rows):,} are shown." if total > len(rows) else ""
    return joined(
        element("h3", title),
        element("p", f"{total:,}. {meaning}{more}", class_="warn"),
        table([column.replace("_", " ") for column in columns], [[row[name] for name in columns] for row in rows]),
    )


def _period(figures: Figures) -> str:
    first, last = day_of(figures.period.since), day_of(figures.period.until - 1)
    return f"{first.isoformat()} to {last.isoformat()}"


def _before(now: int, at: int | None) -> str:
    """How long ago that was."""
    if at is None:
        return NONE
    seconds = (now - at) // 1_000_000
    if seconds < 0:
        return "ahead of this machine's clock"
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return counted(seconds // length, unit)
    return counted(seconds, "second")
