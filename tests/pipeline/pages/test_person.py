"""The page of one person: what `pipeline.explain` tells, with every text as text."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from pipeline.explain import main
from pipeline.options import parse
from pipeline.pages.person import page
from pipeline.run import run
from tests import chromium
from tests.histories import Message, history, line
from tests.page_text import Page
from tests.pipeline.test_explain import STORY, alias, at, calls, explained, identify
from transforms.core.connections import DEFAULT

HOSTILE = "<script>alert(1)</script>"
PAPER = 680
"""The width of A4 within its margins, in pixels of CSS."""


def shown(id: str, messages: list[Message]) -> Page:
    return Page(page(explained(id, messages)))


def test_edges_are_in_the_order_of_the_replay_with_why() -> None:
    assert shown("phone", STORY).tables["Edges, as they are replayed"][1:] == [
        [
            "1",
            "2023-11-14 22:13:22 UTC",
            "merged",
            "phone",
            "ann",
            "absorbed into the contact of ann",
            "m2",
            "identify",
        ],
        [
            *("2", "2023-11-14 22:13:23 UTC", "ignored", "phone", "bob"),
            *("phone was absorbed before, by phone → ann (m2)", "m3", "alias"),
        ],
    ]


def test_each_trait_has_the_message_that_set_it() -> None:
    page = shown("phone", [*STORY, identify(5, "phone", {"name": "Anna"})])
    assert [(name, value, message) for name, value, _, message, *_ in page.tables["Traits"][1:]] == [
        ("color", '"red"', "m1"),
        ("email", '"ann@acme.com"', "m2"),
        ("name", '"Anna"', "m5"),
    ]
    assert [row[:3] for row in page.tables["Audiences"][1:]] == [["name", '"Ann"', "2023-11-14 22:13:22 UTC"]]


def test_accounts_audiences_and_the_timeline() -> None:
    engage = {"personas": {"computation_class": "audience", "computation_key": "vip"}}
    messages = [
        *STORY,
        at(4, "group", userId="ann", groupId="globex"),
        at(5, "track", event="E", userId="ann", properties={"vip": True}, context=engage),
    ]
    page = shown("ann", messages)
    assert [row[:2] for row in page.tables["Accounts"][1:]] == [["acme.com", "email_domain"], ["globex", "group"]]
    assert [row[:2] for row in page.tables["Audiences"][1:]] == [["vip", "a member"]]
    timeline = page.tables["Timeline"][1:]
    assert [row[0] for row in timeline] == sorted(row[0] for row in timeline)
    assert ["edge 1: phone is now ann", "merged", "m2", "identify"] in [row[1:] for row in timeline]
    assert ["ann: account globex, by group", "main", "m4", "group"] in [row[1:] for row in timeline]


@pytest.mark.parametrize("seed", range(5))
def test_a_page_tells_all_that_an_explanation_holds(seed: int) -> None:
    messages = [call for call in history(Random(seed), 60) if call["type"] in ("identify", "alias", "group")]
    ids = {call.user_id or call.anonymous_id for call in calls(messages, DEFAULT)}
    for id in sorted(filter(None, ids))[:4]:
        explanation = explained(id, messages)
        found = Page(page(explanation))
        facts = [fact for of_id in explanation.facts.values() for fact in of_id]
        timeline = found.tables.get("Timeline", [[]])[1:]
        assert len(timeline) == len(explanation.steps) + len(facts)
        standing = {fact.name for fact in facts if (fact.kind, fact.status) == ("trait", "stands")}
        assert {row[0] for row in found.tables.get("Traits", [[]])[1:]} >= {name or "(no name)" for name in standing}
        assert set(explanation.facts) <= {*found.texts}


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    messages = [
        alias(1, HOSTILE, "ann"),
        alias(2, HOSTILE, "\u202eevil"),
        identify(3, "ann", {HOSTILE: HOSTILE, "name": "</style><b>"}),
        at(4, "group", userId="ann", groupId=HOSTILE),
    ]
    text = page(explained("ann", messages))
    found = Page(text)
    assert found.scripts == []
    assert found.addresses == []
    assert "\u202e" not in text
    assert "".join(found.texts).count(HOSTILE) > 5
    (tmp_path / "p.html").write_text(text, "utf-8")
    with chromium.started() as browser:
        tab = browser.new_page(viewport={"width": 360, "height": 800})
        problems: list[str] = []
        tab.on("request", lambda request: problems.append(request.url))
        tab.on("console", lambda message: problems.append(message.text))
        tab.goto(f"file://{tmp_path}/p.html")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert HOSTILE in tab.locator("svg.graph text").all_text_contents()
        assert problems == [f"file://{tmp_path}/p.html"]


def test_tables_fit_on_paper(tmp_path: Path) -> None:
    browsers = [f"ajs-next-{number:032x}" for number in range(4)]
    edges = [alias(number, browser, f"{number}@a-long-name.example") for number, browser in enumerate(browsers)]
    again = [alias(number + 9, browser, browsers[0]) for number, browser in enumerate(browsers)]
    (tmp_path / "p.html").write_text(page(explained(browsers[0], [*edges, *again])), "utf-8")
    with chromium.started() as browser:
        tab = browser.new_page(viewport={"width": PAPER, "height": 1000})
        tab.emulate_media(media="print")
        tab.goto(f"file://{tmp_path}/p.html")
        assert tab.evaluate("document.documentElement.scrollWidth") <= PAPER


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "calls.jsonl").write_bytes(b"".join(line(message) + b"\n" for message in STORY))
    url = f"duckdb:///{tmp_path}/warehouse.duckdb"
    run(*parse([f"--input={tmp_path}/calls.jsonl", f"--warehouse={url}"]), "")
    capsys.readouterr()
    assert main([f"--warehouse={url}", "--id=phone", f"--html={tmp_path}/p.html"]) == 0
    assert capsys.readouterr().out.startswith("phone belongs to the contact ann\n")
    assert "phone belongs to the contact ann" in "".join(Page((tmp_path / "p.html").read_text("utf-8")).texts)
    assert main([f"--warehouse={url}", "--id=phone", f"--html={tmp_path}/none/p.html"]) == 2
    (problem,) = capsys.readouterr().err.splitlines()
    assert problem.endswith("cannot be written: No such file or directory; name a file in a folder that you can write")
