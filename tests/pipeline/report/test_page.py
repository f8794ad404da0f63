"""What the page of a report shows: the numbers that were asked for, every text as text, and nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from pipeline.pages.markup import document
from pipeline.pages.stylesheet import STYLE
from pipeline.report import charts
from pipeline.report.charts import Bar, Times
from pipeline.report.figures import Choice, Figures
from pipeline.report.page import page
from tests import chromium
from tests.page_text import Page
from tests.pipeline.report.test_figures import figures_of, page_at, spread, warehouse, written
from tests.transforms.core.calls import START_MS
from tests.warehouse import EXAMPLES

HOSTILE = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "\"'`&amp;--></svg>",
    "emoji 🙂 注文 Ünïcode",
    "\u202egnp.exe\u202c",
    "שלום עולם (hello)",
    "${alert(1)} {{x}} \x1b[31m\x00",
    "long " * 60,
)


def hostile(number: int, text: str) -> list[dict[str, Any]]:
    """Calls that carry a text wherever a report shows one."""
    at = {"timestamp": START_MS + number, "receivedAt": START_MS + number + 5}
    traits = {"email": f"{number}@acme.example", "name": text}
    engage = {"personas": {"computation_class": "audience", "computation_key": text}}
    return [
        {"type": "track", "event": text, "userId": text, "messageId": f"t{number}", **at},
        {"type": "page", "name": text, "userId": f"u{number}", "context": {"groupId": text}, **at},
        {"type": "identify", "userId": text, "anonymousId": f"a {text}", "traits": traits, **at},
        {"type": "identify", "userId": f"u{number}", "traits": {**traits, text: text}, **at},
        {"type": "group", "userId": text, "groupId": f"g{number}", "traits": {"name": text}, **at},
        {"type": "group", "userId": text, "groupId": f"h{number}", "traits": {"name": text}, **at},
        {"type": "track", "event": "E", "userId": text, "properties": {text: True}, "context": engage, **at},
        {"type": text, "userId": text, **at},
    ]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    file = written(tmp_path_factory.mktemp("sample"), EXAMPLES)
    return figures_of(file, Choice(funnel=("Signed Up", "Report Generated")))


@pytest.fixture(scope="module")
def hostile_figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    messages = [call for number, text in enumerate(HOSTILE) for call in hostile(number, text)]
    return figures_of(warehouse(tmp_path_factory.mktemp("hostile"), messages), Choice(funnel=HOSTILE[:3]))


@pytest.fixture(scope="module")
def shown(sample: Figures) -> Page:
    return Page(page(sample, "duckdb:///sample.duckdb"))


# ---- the numbers ----

TABLES = [
    # (the heading, the query, the columns that its rows have to show)
    ("Most frequent events, by name", "top_events", ("name", "type", "events", "people", "accounts")),
    ("Active people and companies, by week", "active", ("week", "people", "contacts", "accounts")),
    ("New contacts and companies, by week", "growth", ("week", "contacts", "accounts")),
    ("Ids that became part of another id's contact, by day", "merges", ("day", "ids")),
    ("The people with the most ids", "largest_contacts", ("external_id", "ids", "name", "email")),
]


@pytest.mark.parametrize(("heading", "query", "columns"), TABLES, ids=[query for _, query, _ in TABLES])
def test_a_table_shows_the_rows_of_its_query(
    heading: str, query: str, columns: tuple[str, ...], sample: Figures, shown: Page
) -> None:
    expected = [["-" if row[name] is None else _text(row[name]) for name in columns] for row in sample.rows(query)]
    assert [[_text(cell) for cell in row] for row in shown.numbers(heading)] == expected


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value) or "(no name)"


def test_traffic_is_shown_by_day_and_type(sample: Figures, shown: Page) -> None:
    counts = {(row["day"].isoformat(), row["type"]): row["calls"] for row in sample.rows("traffic")}
    found: dict[tuple[Any, str], Any] = {}
    for heading, types in (
        ("Events received, by day and type", ("Page", "Screen", "Action")),
        ("Identity calls received, by day and type", ("identify", "group", "alias", "delete", "track")),
    ):
        for day, *numbers in shown.numbers(heading):
            found |= {(day, type_): number for type_, number in zip(types, numbers, strict=True) if number}
    assert found == counts


def test_a_funnel_is_shown_with_its_shares(sample: Figures, shown: Page) -> None:
    row = sample.row("lifecycle")
    counts = [row[name] for name in ("seen", "identified", "in_account", "returned")]
    rows = list(shown.numbers("From visitor to returning company"))
    assert [people for _, people, *_ in rows] == counts
    assert [of_first for _, _, of_first, _ in rows] == [f"{count / counts[0]:.1%}" for count in counts]
    chosen = [people for _, people, *_ in shown.numbers("People by the events they did, in this order")]
    assert chosen == [row["people"] for row in sample.rows("funnel")]


def test_retention_is_shown_in_numbers_and_shares(sample: Figures, shown: Page) -> None:
    heading = "Contacts that came back, by week of their first identify call"
    people = {
        (row["first_week"].isoformat(), row["days_later"] // 7): row["people"] for row in sample.rows("retention")
    }
    for week, size, *counts in shown.numbers(f"{heading}'"):
        assert counts == [people.get((str(week), later), 0) for later in range(len(counts))]
        (shares,) = [cells for first, _, *cells in shown.tables[heading][1:] if first == week]
        assert [share for share in shares if share] == [
            f"{count / int(size):.0%}" for count, share in zip(map(int, counts), shares, strict=True) if share
        ]


def test_audiences_letters_and_tiles(sample: Figures, shown: Page) -> None:
    members = {key: (number, former) for key, number, former, _ in shown.numbers("Members of each audience now")}
    assert members == {row["audience_key"]: (row["members"], row["former"]) for row in sample.rows("audiences")}
    letters = {reason: number for reason, number, *_ in shown.numbers("Messages that were refused, by reason")}
    assert letters == {row["reason"]: row["letters"] for row in sample.rows("dead_letters")}
    text = " ".join(shown.texts)
    for example in sample.rows("dead_letter_examples"):
        assert example["payload"].decode("utf-8", "backslashreplace")[:50] in text
    assert f"{sample.row('totals')['events']:,} events received in the period" in text


def test_many_days_are_shown_by_week(tmp_path: Path) -> None:
    choice = Choice(first_day=date(2022, 1, 1), last_day=date(2024, 12, 31))
    figures = figures_of(warehouse(tmp_path, spread(5, 200)), choice)
    shown = Page(page(figures, "w"))
    rows = list(shown.numbers("Events received, by week and type"))
    assert sum(int(number) for _, *numbers in rows for number in numbers) == figures.row("totals")["events"]
    assert {date.fromisoformat(str(week)).weekday() for week, *_ in rows} == {0}


# ---- whatever is sent is text ----


def test_hostile_texts_are_text(hostile_figures: Figures) -> None:
    text = page(hostile_figures, "duckdb:///<script>.duckdb")
    shown = Page(text)
    assert shown.scripts == []
    assert all(address.startswith("#") for address in shown.addresses)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "\u202e" not in text
    whole = "".join(shown.texts)
    for hostile_text in ("<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", "\\u202egnp.exe\\u202c"):
        assert whole.count(hostile_text) > 3


def test_a_page_asks_for_nothing(sample: Figures) -> None:
    text = page(sample, "w")
    assert not re.search(
        r"url\((?!#)|@import|https?://(?!www\.w3\.org)[\w.]+[^<]*\"", re.sub(r"<pre>.*?</pre>", "", text)
    )
    assert "Content-Security-Policy" in text


# ---- what a browser shows ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.started() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Opens a page from a file; fails where it asks for anything, runs anything or reports an error."""
    problems: list[str] = []
    pages = []

    def open_page(text: str, width: int = 1100, scheme: Any = "light") -> Any:
        (tmp_path / "report.html").write_text(text, "utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(tab)
        address = f"file://{tmp_path}/report.html"
        tab.on("request", lambda request: problems.append(request.url) if request.url != address else None)
        tab.on("dialog", lambda dialog: problems.append(dialog.message))
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.goto(address)
        return tab

    yield open_page
    for tab in pages:
        tab.close()
    assert problems == []


VISIBLE = "element => { const box = element.getBoundingClientRect(); return box.width > 0 && box.height > 0 }"


@pytest.mark.parametrize(("width", "kind"), [(1100, "wide"), (360, "narrow")])
def test_every_chart_is_shown_in_one_width_within_the_page(width: int, kind: str, sample: Figures, opened: Any) -> None:
    tab = opened(page(sample, "w"), width)
    charts = tab.locator(".chart")
    visible = [chart for chart in charts.all() if chart.evaluate(VISIBLE)]
    assert len(visible) * 2 == charts.count() > 10
    assert all(kind in str(chart.get_attribute("class")) for chart in visible)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for chart in visible:
        right = chart.locator("svg").evaluate("svg => svg.getBoundingClientRect().right")
        assert right <= width


@pytest.mark.parametrize(("width", "kind"), [(1100, "wide"), (360, "narrow")])
def test_no_text_of_a_chart_is_cut(width: int, kind: str, opened: Any) -> None:
    """The first day's point is off the axis, and the number of the longest bar has its place."""
    weeks = {date(2025, 3, 3) + timedelta(weeks=number): 200 + number for number in range(4)}
    steps = [Bar("had an event", 21_440_000, "21,440,000 (100.0%)"), Bar("are contacts", 9, "9 (0.0%)")]
    tab = opened(document("t", STYLE, charts.bars(steps), charts.lines(Times({"people": weeks}, 7))), width)
    outside = """svg => [...svg.querySelectorAll("text")].filter(text =>
        text.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1).length"""
    shown = tab.locator(f".chart.{kind} svg")
    assert shown.count() == 2
    assert [drawing.evaluate(outside) for drawing in shown.all()] == [0, 0]
    assert "21,440,000 (100.0%)" in shown.first.locator("text").all_text_contents()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_and_text_stand_out_by_day_and_by_night(scheme: str, sample: Figures, opened: Any) -> None:
    tab = opened(page(sample, "w"), scheme=scheme)
    paper = _brightness(tab, "body", "backgroundColor")
    assert (paper > 0.9) == (scheme == "light")
    assert abs(_brightness(tab, "h2", "color") - paper) > 0.6
    assert abs(_brightness(tab, ".chart.wide svg text", "fill") - paper) > 0.3
    assert abs(_brightness(tab, ".chart.wide .mark-rect path", "fill") - paper) > 0.2


def _brightness(tab: Any, selector: str, style: str) -> float:
    script = f"element => getComputedStyle(element).{style}"
    red, green, blue = map(int, re.findall(r"\d+", tab.locator(selector).first.evaluate(script))[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_paper_is_white_and_charts_are_wide(sample: Figures, opened: Any) -> None:
    tab = opened(page(sample, "w"), width=700, scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert _brightness(tab, "body", "backgroundColor") > 0.99
    assert _brightness(tab, "h2", "color") == 0
    assert tab.locator(".chart.wide").first.evaluate(VISIBLE)
    assert not tab.locator("details").first.evaluate(VISIBLE)
    assert tab.pdf(format="A4").startswith(b"%PDF")


def test_hostile_texts_run_nothing_and_keep_their_place(hostile_figures: Figures, opened: Any) -> None:
    tab = opened(page(hostile_figures, "w"))
    assert tab.locator("script, img, iframe").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1100
    names = tab.locator(".chart.wide svg text").all_text_contents()
    assert any("<script>alert(1)</script>" in name for name in names)
    assert any("注文" in name for name in names)


def test_numbers_are_shown_when_they_are_asked_for(sample: Figures, opened: Any) -> None:
    tab = opened(page(sample, "w"))
    details = tab.locator("details").first
    assert not details.locator("table").is_visible()
    details.locator("summary").click()
    assert details.locator("table").is_visible()


@pytest.mark.parametrize("calls", [0, 1], ids=["an empty warehouse", "one call"])
def test_a_page_of_little_is_whole(calls: int, tmp_path: Path, opened: Any) -> None:
    messages = [page_at(date(2025, 12, 20))] * calls
    tab = opened(page(figures_of(warehouse(tmp_path, messages)), "w"))
    assert tab.locator("h2").count() == 9
    assert (tab.locator("svg").count() > 0) == (calls > 0)
    assert "NaN" not in tab.content()
    newest = tab.locator(".tile").last.inner_text()
    assert newest.split("\n")[0] == ("2025-12-20" if calls else "never")
    assert "Nothing in this period." in tab.locator("body").inner_text()
