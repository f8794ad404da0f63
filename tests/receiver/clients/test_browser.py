"""Segment's SDK for browsers, in a page of another origin: settings, preflights, batches, and what a page sends when it
is left."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page

from judge import Config, ConnectionRules, Tables
from tests import chromium, prism
from tests.receiver.clients import faulty_server, installed, receiver_process, story
from tests.receiver.clients.faulty_server import Fault, FaultyServer
from tests.receiver.clients.receiver_process import ReceiverProcess
from tests.streaming import Stream, wait_until

HERE = Path(__file__).parent


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[str]:
    """Serves the page and the SDK that it loads; gives the origin."""
    shutil.copy(HERE / "browser" / "page.html", folder)
    (folder / "sdk").symlink_to(installed.node_modules() / "@segment" / "analytics-next" / "dist" / "umd")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What came of it when a page was looked at."""

    server: FaultyServer
    tables: Tables


@contextlib.contextmanager
def _shop(
    folder: Path, plan: Sequence[Fault] = (), *, is_allowed: bool = True, calls_per_second: int | None = None
) -> Iterator[tuple[str, ReceiverProcess, FaultyServer]]:
    """The site's origin, the receiver that it may send to or may not, and the server before that."""
    chromium.require()
    site = folder / "site"
    site.mkdir()
    with (
        _site(site) as origin,
        receiver_process.running(folder, [origin] if is_allowed else [], calls_per_second) as receiver,
        faulty_server.before(receiver.host, plan) as server,
    ):
        yield origin, receiver, server


@contextlib.contextmanager
def _page(origin: str, server: FaultyServer, batch_ms: int = 0) -> Iterator[Page]:
    """The page in a browser, with the SDK started."""
    with chromium.started() as browser:
        page = browser.new_page()
        page.goto(f"{origin}/page.html")
        page.evaluate("arguments => start(...arguments)", [server.host, receiver_process.WRITE_KEY, batch_ms])
        yield page


def visit(
    folder: Path,
    script: str,
    calls: int,
    *,
    batch_ms: int = 0,
    plan: Sequence[Fault] = (),
    calls_per_second: int | None = None,
) -> Visit:
    """Opens the page, runs a script in it, and waits until so many calls are delivered."""
    with _shop(folder, plan, calls_per_second=calls_per_second) as (origin, receiver, server):
        with _page(origin, server, batch_ms) as page:
            page.evaluate(script)
            wait_until("the calls are delivered", lambda: len(server.delivered) >= calls)
        return Visit(server=server, tables=receiver.tables())


WAYS = {"a call a request": 0, "in batches": 500}
FAULTS = (Fault.ERROR, Fault.RATE_LIMITED, Fault.NO_ANSWER, Fault.LOST_ANSWER)
PATHS = {f"/v1/{letter}" for letter in "pitsga"}


def check(tables: Tables) -> None:
    """The tables hold the story, each call once, as the SDK for browsers tells it: the visitor's id is in every call,
    and an alias after an identify has the user's id twice, which changes nothing."""
    assert tables.dead_letters == []
    events = {event["name"]: event for event in tables.events.values()}
    assert len(tables.events) == len(story.EVENTS)
    for expected in story.EVENTS:
        event = events[expected["name"]]
        assert event["type"] == expected["type"]
        assert event["properties"].items() >= expected["properties"].items()
    calls = tables.identity_calls.values()
    assert sorted(call["type"] for call in calls) == ["alias", "group", "identify"]
    for row in (*events.values(), *calls):
        assert (row["user_id"], row["anonymous_id"]) == (story.FIRST_ID, story.VISITOR)
        assert row["context"]["library"]["name"] == "analytics.js"
        assert row["context"]["ip"] == "127.0.0.1"
        assert "Chrome" in row["context"]["userAgent"]
    story.check_people(tables, story.FIRST_ID)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_page_says_is_in_the_tables(way: str, tmp_path: Path) -> None:
    seen = visit(tmp_path, "tell()", 6, batch_ms=WAYS[way])
    assert set(seen.server.preflights) == ({"/v1/b"} if WAYS[way] else PATHS)
    check(seen.tables)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_page_says_again_is_in_the_tables_once(way: str, tmp_path: Path) -> None:
    faults = FAULTS if WAYS[way] else FAULTS * 2
    seen = visit(tmp_path, "tell()", 6, batch_ms=WAYS[way], plan=faults)
    assert seen.server.is_through
    assert seen.server.refused == []
    check(seen.tables)


def test_what_a_page_says_faster_than_it_may_is_in_the_tables(tmp_path: Path) -> None:
    """The receiver itself answers 429."""
    seen = visit(tmp_path, "tell()", 6, calls_per_second=2)
    assert set(seen.server.refused) == {429}
    check(seen.tables)


@pytest.mark.parametrize("script", ["trackAndLeave()", "beaconAndLeave()"])
def test_what_a_page_sends_when_it_is_left_is_in_the_tables(script: str, tmp_path: Path) -> None:
    seen = visit(tmp_path, script, 1, batch_ms=60_000)
    (event,) = seen.tables.events.values()
    assert (event["type"], event["name"]) == ("Action", "Leaving")
    assert {event["message_id"]} == seen.server.delivered
    assert event["anonymous_id"] is not None


def test_an_image_of_a_page_is_in_the_tables(tmp_path: Path) -> None:
    seen = visit(tmp_path, "showPixel()", 0)
    (event,) = seen.tables.events.values()
    assert (event["type"], event["name"], event["anonymous_id"]) == ("Action", "Image Seen", story.VISITOR)
    assert "Chrome" in event["context"]["userAgent"]


@pytest.mark.parametrize(("is_allowed", "answers"), [(True, [200, 200]), (False, ["refused by the browser"] * 2)])
def test_a_page_of_an_allowed_site_alone_reads_and_sends(
    is_allowed: bool, answers: list[object], tmp_path: Path
) -> None:
    with (
        _shop(tmp_path, is_allowed=is_allowed) as (origin, _, server),
        _page(origin, server) as page,
    ):
        assert page.evaluate("ask()") == answers
        assert bool(server.stored) is is_allowed


def test_a_visitor_becomes_the_user_of_an_alias(tmp_path: Path) -> None:
    seen = visit(tmp_path, "becomeKnown()", 2)
    assert seen.tables.dead_letters == []
    assert seen.tables.identities == {story.VISITOR: story.LAST_ID}
    (event,) = seen.tables.events.values()
    assert event["anonymous_id"] == story.VISITOR


@dataclass
class DirectoryOfReceiver(Stream):
    """What the jobs follow is the receiver's directory."""

    directory: Path = field(kw_only=True)

    def __post_init__(self) -> None:
        prism.require()
        self.host = ""
        self.configure(self.config)

    @property
    def source(self) -> str:
        return f"--input_directory={self.directory}"


WHOLE_CONTACT = f"email IS NOT NULL AND account_id = '{story.COMPANY}' AND len(previous_ids) = 1"


def test_what_a_page_says_is_in_the_tables_while_the_job_goes_on(tmp_path: Path) -> None:
    job_folder = tmp_path / "job"
    job_folder.mkdir()
    config = Config((ConnectionRules(receiver_process.CONNECTION),))
    with _shop(tmp_path) as (origin, receiver, server):
        stream = DirectoryOfReceiver(job_folder, config, directory=receiver.directory)
        with stream.job() as job, _page(origin, server) as page:
            page.evaluate("tell()")
            job.wait_until("the events are rows", lambda: stream.stored("events") == len(story.EVENTS))
            job.wait_until("the contact is a row", lambda: stream.stored("contacts", WHOLE_CONTACT))
        check(stream.tables())
