"""The debugger's page in a browser: what it shows, filters and holds, by hand and by keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from receiver.sink import Message
from tests import chromium
from tests.receiver.debugger.browsers import track
from tests.receiver.debugger.screenshots import opened
from tests.receiver.debugger.served import Served, served
from transforms.core.connections import Connection, Connections

CONNECTIONS = Connections(connections=(Connection("Web app"), Connection("Site", project_ids=("site",))))
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PATIENCE_MS = 30_000


def message(payload: bytes, connection: str = "Web app") -> Message:
    return Message(connection=connection, payload=b'{"batch":[%b],"receivedAt":"2026-03-01T00:00:00Z"}' % payload)


IDENTIFY = message(
    b'{"type":"identify","userId":"ada","traits":{"email":"ada@acme.example","n":1000000000000000001.50}}'
)
GROUP = message(b'{"type":"group","userId":"ada","groupId":"acme","traits":{"name":"Acme"}}', "Site")
NOTHING = message(b'{"type":"track","userId":"ada"}')


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium.started() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A debugger with four calls; each test looks at it by a page of its own."""
    with served(CONNECTIONS) as server:
        server.store(track(MARKUP, properties={"k": MARKUP}), IDENTIFY, GROUP, NOTHING)
        yield server


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    """A page that shows the four calls; at its end the browser must have had nothing to complain of."""
    page = opened(browser, server)
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    expect(page.locator(".call")).to_have_count(4)
    yield page
    page.context.close()
    assert complaints == []


def outcomes(page: Page) -> list[str]:
    return page.locator(".call .badge").all_text_contents()


def selected(page: Page) -> str:
    return page.locator('.call[aria-selected="true"] .type').inner_text()


def test_the_newest_call_is_first_with_its_outcome(page: Page) -> None:
    assert outcomes(page) == ["missing_field", "identity call", "identity call", "event"]


def test_what_is_markup_is_shown_as_text(page: Page) -> None:
    page.locator(".call").last.click()
    expect(page.locator("#details h2")).to_have_text(f"track · {MARKUP}")
    expect(page.locator("#details .raw")).to_contain_text(MARKUP)
    assert page.locator("#details img, #details script, .call img, .call script").count() == 0


def test_a_call_is_shown_as_it_was_sent_beside_its_row(page: Page) -> None:
    page.locator(".call").nth(2).click()
    expect(page.locator(".raw pre")).to_have_text(
        '{\n  "type": "identify",\n  "userId": "ada",\n  "traits": {\n    "email": "ada@acme.example",\n'
        '    "n": 1000000000000000001.50\n  }\n}'
    )
    read = page.locator(".read")
    expect(read.locator("h3")).to_have_text("read, a row of identity_calls")
    expect(read.locator("dt", has_text="user_id")).to_have_attribute("title", "the userId as it was sent")
    expect(page.locator(".notice")).to_contain_text("contact ada has email, n")


def test_a_dead_letter_says_why(page: Page) -> None:
    page.locator(".call").first.click()
    expect(page.locator(".notice")).to_contain_text("a track needs an event")
    expect(page.locator(".read h3")).to_have_text("read, a row of dead_letters")


def test_filters_leave_what_they_ask_for(page: Page) -> None:
    page.select_option("#connection", "Site")
    expect(page.locator(".call .type")).to_have_text(["group"])
    page.select_option("#connection", "")
    page.select_option("#type", "track")
    expect(page.locator(".call")).to_have_count(2)
    page.select_option("#type", "")
    page.fill("#search", "ACME.example")
    expect(page.locator(".call .type")).to_have_text(["identify"])
    page.fill("#search", "nowhere")
    expect(page.locator("#nothing")).to_be_visible()


def test_keys_do_what_the_mouse_does(page: Page) -> None:
    for key, type_ in [("j", "track"), ("j", "group"), ("ArrowDown", "identify"), ("k", "group"), ("Home", "track")]:
        page.keyboard.press(key)
        assert selected(page) == type_
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()
    page.keyboard.press("2")
    expect(page.locator(".call")).to_have_count(2)
    page.keyboard.press("2")
    page.keyboard.press("/")
    page.keyboard.type("group")
    expect(page.locator(".call")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".call")).to_have_count(4)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.locator(".call")).to_have_count(0)


def test_a_paused_list_stays_as_it_is_until_it_goes_on(browser: Browser) -> None:
    with served(CONNECTIONS) as server:
        server.store(track("before"))
        page = opened(browser, server)
        page.keyboard.press("p")
        expect(page.locator("#state")).to_have_text("paused")
        server.store(track("meanwhile"))
        expect(page.locator("#pause")).to_have_text("Go on (1 new)")
        expect(page.locator(".call .name")).to_have_text(["before"])
        page.keyboard.press("p")
        expect(page.locator(".call .name")).to_have_text(["meanwhile", "before"])
        page.context.close()


def test_the_list_is_bounded_and_draws_what_is_in_sight(browser: Browser) -> None:
    with served(CONNECTIONS) as server:
        server.store(*(track(f"e{number}") for number in range(700)))
        page = opened(browser, server)
        expect(page.locator(".call .name").first).to_have_text("e699")
        server.store(*(track(f"f{number}") for number in range(450)))
        expect(page.locator(".call .name").first).to_have_text("f449")
        expect(page.locator('[data-outcome="event"] .count')).to_have_text("500")
        assert page.locator(".call").count() < 60
        page.keyboard.press("End")
        assert page.locator('.call[aria-selected="true"] .name').inner_text() == "e650"
        page.context.close()


def test_a_page_goes_on_when_the_receiver_is_back(browser: Browser) -> None:
    with served(CONNECTIONS) as server:
        server.store(track("before"))
        page = opened(browser, server)
    expect(page.locator("#state")).to_have_text("connection lost, trying again")
    with served(CONNECTIONS, port=int(server.address.rpartition(":")[2])) as server:
        server.store(track("after"))
        expect(page.locator(".call .name")).to_have_text(["after", "before"])
        expect(page.locator("#state")).to_have_text("live")
        page.context.close()
