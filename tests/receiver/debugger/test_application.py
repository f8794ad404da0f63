"""The debugger follows what is stored, for browsers of this machine alone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.debugger import application
from receiver.debugger.application import Debugger
from receiver.debugger.shown import ShownCall
from receiver.sink import Message, Observer
from schemas.tables import Timestamp
from tests.receiver.debugger.browsers import Browser, answer, run, scope, track
from transforms.core.connections import DEFAULT

CALLS = "/debugger/calls"
PAGE = Path(application.__file__).parent / "page"
FILES = ("/debugger", "/debugger/", "/debugger/debugger.js", "/debugger/debugger.css", "/debugger/icon.svg")


# ---- the stream ----


def test_calls_come_as_they_are_stored() -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        observer: Observer = debugger
        observer.stored(track("before"))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        assert browser.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert browser.events[0]["event"] == "start"
        assert json.loads(browser.events[0]["data"])["connections"] == ["default"]
        debugger.stored(track("after"))
        await browser.until(lambda browser: browser.names == ["before", "after"])
        assert [call["outcome"] for call in browser.calls] == ["event", "event"]
        await browser.leave()

    run(test)


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_browser_goes_on_where_it_was(way: str) -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        debugger.stored(track("first"))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        await browser.leave()
        for name in ("second", "third"):
            debugger.stored(track(name))
        seen = browser.last_event_id
        asked = scope(CALLS, last_event_id=seen) if way == "header" else scope(f"{CALLS}?after={seen}")
        browser = await Browser(debugger, asked).until(lambda browser: browser.calls)
        assert (browser.names, browser.missing) == (["second", "third"], 0)
        await browser.leave()

    run(test)


@pytest.mark.parametrize(
    "seen", ["", "0123abcd-1", "-1", "nonsense", "{process}-x", "{process}-\u00b2", "{process}--1"]
)
def test_what_another_process_or_nobody_has_given_is_the_beginning(seen: str) -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        debugger.stored(track("first"))
        asked = scope(CALLS, last_event_id=seen.format(process=debugger._process))
        browser = await Browser(debugger, asked).until(lambda browser: browser.calls)
        assert (browser.names, browser.missing) == (["first"], 0)
        await browser.leave()

    run(test)


def test_where_more_comes_than_is_kept_the_newest_is_shown_and_that_some_is_missing() -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT, capacity=3)
        debugger.stored(track("0"))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        for number in range(1, 11):
            debugger.stored(track(str(number)))
        await browser.until(lambda browser: len(browser.calls) > 1)
        assert (browser.names, browser.missing) == (["0", "8", "9", "10"], 7)
        await browser.leave()

    run(test)


def test_of_a_batch_that_is_larger_than_what_is_kept_the_last_calls_are_shown() -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT, capacity=5)
        calls = [{"type": "page", "userId": "u", "name": str(number)} for number in range(50)]
        payload = json.dumps({"batch": calls, "receivedAt": "2026-03-01T00:00:00Z"}).encode()
        debugger.stored(Message(connection="default", payload=payload))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        assert browser.names == ["45", "46", "47", "48", "49"]
        await browser.leave()

    run(test)


def test_nothing_is_read_while_nobody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        read: list[Message] = []
        calls = debugger._showing.calls

        def noted(message: Message, stored_at: Timestamp) -> Iterator[ShownCall]:
            read.append(message)
            return calls(message, stored_at)

        monkeypatch.setattr(debugger._showing, "calls", noted)
        debugger.stored(track("unseen"))
        assert read == []
        browsers = [Browser(debugger, scope(CALLS)) for _ in range(3)]
        for browser in browsers:
            await browser.until(lambda browser: browser.calls)
        assert len(read) == 1  # once for all of them
        for browser in browsers:
            await browser.leave()
        debugger.stored(track("unseen"))
        await asyncio.sleep(0.1)
        assert len(read) == 1

    run(test)


@pytest.mark.parametrize("setting", ["_THREAD_BYTES", "_TURN_S"])
def test_reading_lets_the_receiver_have_its_turn(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, setting, 0)

    async def test() -> None:
        debugger = Debugger(DEFAULT)
        for number in range(100):
            debugger.stored(track(str(number)))
        browser = Browser(debugger, scope(CALLS))
        turns = 0
        while not browser.calls:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        assert len(browser.calls) == 100
        await browser.leave()

    run(test)


def test_calls_that_are_very_long_together_are_not_all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_MOST_AT_ONCE_BYTES", 10_000)

    async def test() -> None:
        debugger = Debugger(DEFAULT)
        calls = [{"type": "page", "userId": "u", "name": str(number)} for number in range(50)]
        payload = json.dumps({"batch": calls, "receivedAt": "2026-03-01T00:00:00Z"}).encode()
        debugger.stored(Message(connection="default", payload=payload))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        assert 2 < len(browser.names) < 20
        assert browser.names[-1] == "49"
        await browser.leave()

    run(test)


def test_a_browser_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_PATIENCE_S", 0.05)

    async def test() -> None:
        debugger = Debugger(DEFAULT)
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.events)
        browser.takes.clear()
        debugger.stored(track("e"))
        await asyncio.wait_for(browser.task, 10)
        assert (debugger._browsers, browser.calls, browser.is_complete) == (set(), [], False)

    run(test)


def test_a_heartbeat_tells_that_the_receiver_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_HEARTBEAT_S", 0.01)

    async def test() -> None:
        browser = Browser(Debugger(DEFAULT), scope(CALLS))
        await browser.until(lambda browser: browser.body.endswith(b"\n\n: \n\n: \n\n"))
        await browser.leave()

    run(test)


def test_only_so_many_browsers_look_on() -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        browsers = [Browser(debugger, scope(CALLS)) for _ in range(application._MOST_BROWSERS)]
        for browser in browsers:
            await browser.until(lambda browser: browser.events)
        status, headers, _ = await answer(debugger, scope(CALLS))
        assert (status, headers["retry-after"]) == (503, "5")
        await browsers.pop().leave()
        browsers.append(await Browser(debugger, scope(CALLS)).until(lambda browser: browser.events))
        for browser in browsers:
            await browser.leave()

    run(test)


# ---- the page ----


@pytest.mark.parametrize("path", FILES)
def test_the_page_and_its_files_are_served_with_a_strict_policy(path: str) -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        status, headers, body = await answer(debugger, scope(path))
        assert status == 200
        assert len(body) == int(headers["content-length"]) > 0
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        status, without_body, body = await answer(debugger, scope(path, method="HEAD"))
        assert (status, without_body, body) == (200, headers, b"")

    run(test)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/debugger/nothing", "GET", 404),
        ("/debugger/../shown.py", "GET", 404),
        ("/debugger/page/debugger.js", "GET", 404),
        ("/debugger", "POST", 405),
        (CALLS, "HEAD", 405),
    ],
)
def test_nothing_else_is_served(path: str, method: str, status: int) -> None:
    async def test() -> None:
        assert (await answer(Debugger(DEFAULT), scope(path, method=method)))[0] == status

    run(test)


ELSEWHERE: list[dict[str, Any]] = [
    {"client": "192.0.2.7"},
    {"client": "::ffff:192.0.2.7"},
    {"client": None},
    {"client": "unix"},
    {"x_forwarded_for": "192.0.2.7"},
    {"forwarded": "for=192.0.2.7"},
    {"host": "attacker.example"},
    {"host": "attacker.example:8080"},
    {"host": "127.0.0.1.attacker.example"},
    {"host": ""},
]


@pytest.mark.parametrize("path", ["/debugger", CALLS])
@pytest.mark.parametrize("request_", ELSEWHERE, ids=[str(request_) for request_ in ELSEWHERE])
def test_whoever_is_not_on_this_machine_finds_nothing(path: str, request_: dict[str, Any]) -> None:
    async def test() -> None:
        assert (await answer(Debugger(DEFAULT), scope(path, **request_)))[0] == 404

    run(test)


@pytest.mark.parametrize(
    "request_",
    [
        {"client": "::1", "host": "[::1]:8080"},
        {"client": "::ffff:127.0.0.1", "host": "127.0.0.1"},
        {"host": "LOCALHOST"},
    ],
)
def test_every_name_of_this_machine_does(request_: dict[str, Any]) -> None:
    async def test() -> None:
        assert (await answer(Debugger(DEFAULT), scope("/debugger", **request_)))[0] == 200

    run(test)


def test_what_was_sent_is_never_made_into_elements() -> None:
    script = (PAGE / "debugger.js").read_text()
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|DOMParser", script)
    page = (PAGE / "debugger.html").read_text()
    assert not re.findall(r"https?:|//|\son\w+=|style=|<style|<script>", page)
    assert not re.findall(r"https?:|//(?! )|url\(|@import", (PAGE / "debugger.css").read_text())


def test_a_name_of_markup_comes_as_text() -> None:
    async def test() -> None:
        debugger = Debugger(DEFAULT)
        name = "</script><script>alert(1)</script>\n\ndata: x\r\u2028"
        debugger.stored(track(name))
        browser = await Browser(debugger, scope(CALLS)).until(lambda browser: browser.calls)
        assert browser.names == [name]
        assert len(browser.events) == 2
        await browser.leave()

    run(test)
