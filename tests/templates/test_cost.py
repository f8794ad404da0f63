"""The cost calculator, and the page that shows what it says.

`python -m tests.templates.test_cost --update` writes the bills into docs/cost.md anew.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.warehouses.bigquery import event_streams, gathering
from schemas.tables import KEYED
from templates import cost
from templates.cost import PRICES, WORK, BillLine, Price, Traffic
from transforms.coders import StructCoder
from transforms.core.memory import CELLS, Memory, place, remembered

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
_BILL = re.compile(r"```sh\n(?P<command>[^`]*templates\.cost[^`]*)```\n\n```text\n(?P<bill>[^`]*)```\n")

SMALL = Traffic(messages_per_second=50, ids=100_000)
FREE = {name: Price(1.0, price.unit, price.source) for name, price in PRICES.items()}
"""Prices of a dollar, of which nothing is free: a bill's dollars are its quantities."""


def line(traffic: Traffic, name: str) -> BillLine:
    return next(line for line in cost.bill(traffic, FREE) if line.name == name)


def test_what_grows_with_the_rate() -> None:
    names = {line.name for line in cost.bill(SMALL)}
    twice = replace(SMALL, messages_per_second=2 * SMALL.messages_per_second)
    grows = {name for name in names if line(twice, name).dollars > 1.5 * line(SMALL, name).dollars}
    assert grows == {
        "Dataflow: Streaming Engine",
        "Pub/Sub: throughput",
        "BigQuery: Storage Write",
        "BigQuery: storage",
    }


CASES: list[tuple[str, Traffic, str, float]] = [
    # 100 M rows of 1 kB, read 96 times a day for 730 hours
    ("100 M ids at 15 minutes", Traffic(messages_per_second=1, ids=10**8), "BigQuery: applying changes", 265.6),
    ("at 4 hours", Traffic(messages_per_second=1, ids=10**8, max_staleness=14_400), "BigQuery: applying changes", 16.6),
    # 5,000 messages of 1.7 kB for 31 days: some 21 TiB
    (
        "31 days of acknowledged messages",
        Traffic(messages_per_second=5000, ids=1, retain_acked_days=31),
        "Pub/Sub: retention",
        21_203.4,
    ),
    ("a core that is busy to two thirds", Traffic(messages_per_second=2666, ids=1), "Dataflow: CPU", 1460),
    ("two workers", Traffic(messages_per_second=2667, ids=1), "Dataflow: CPU", 2920),
    ("an instance always", replace(SMALL, receiver_instances=1), "Cloud Run: CPU", 730),
    ("two and a half", replace(SMALL, receiver_instances=2.5), "Cloud Run: memory", 912.5),
    ("in and out", Traffic(messages_per_second=1000, ids=1, message_bytes=1000), "Pub/Sub: throughput", 5.07),
]


@pytest.mark.parametrize(("what", "traffic", "name", "quantity"), CASES, ids=[case[0] for case in CASES])
def test_quantities(what: str, traffic: Traffic, name: str, quantity: float) -> None:
    assert line(traffic, name).quantity == pytest.approx(quantity, rel=0.001)


def test_without_a_receiver_nothing_is_billed_for_one() -> None:
    assert not [line for line in cost.bill(SMALL) if line.name.startswith("Cloud Run")]


def test_the_receiver_s_document_says_what_an_instance_costs() -> None:
    lines = cost.bill(replace(SMALL, receiver_instances=1))
    dollars = sum(line.dollars for line in lines if line.name.startswith("Cloud Run"))
    page = " ".join((PAGE.parent / "receiver.md").read_text("utf-8").split())
    assert f"about {dollars:.0f} USD a month for an instance that always runs" in page


def test_an_instance_is_the_one_that_is_deployed() -> None:
    makefile = (PAGE.parents[1] / "Makefile").read_text("utf-8")
    assert f"--cpu={cost.RECEIVER_VCPUS} --memory={cost.RECEIVER_GIB * 1024:g}Mi" in makefile


def test_what_is_free_is_free_once() -> None:
    lines = {line.name: line for line in cost.bill(replace(SMALL, queried_tib=1.0), {**FREE, "query": PRICES["query"]})}
    applied, asked = lines["BigQuery: applying changes"], lines["BigQuery: queries"]
    assert applied.dollars == 0
    assert asked.dollars == pytest.approx((applied.quantity + 1 - PRICES["query"].free) * PRICES["query"].dollars)


def test_streaming_engine_is_billed_by_what_events_and_calls_carry() -> None:
    messages = 50 * cost.HOURS * 3600
    events, calls = (
        line(replace(SMALL, identity_share=share), "Dataflow: Streaming Engine").quantity * 1e9 / messages
        for share in (0, 1)
    )
    kept = 50 * SMALL.deduplicate_for * cost.REMEMBERED / CELLS * WORK.digest
    carried = SMALL.message_bytes * (WORK.event_engine + WORK.deduplicate_engine)
    assert events == pytest.approx(WORK.engine_overhead + carried + 2 * kept)
    assert calls == pytest.approx(WORK.engine_overhead + WORK.identity_engine)
    assert line(replace(SMALL, identity_share=0), "BigQuery: Storage Write").quantity == pytest.approx(
        messages * SMALL.message_bytes * WORK.event_row / 2**30
    )


def test_what_is_not_deduplicated_goes_through_less() -> None:
    none = replace(SMALL, deduplicate_for=0)
    events = SMALL.events_per_second
    saved = cost.engine_bytes_per_second(SMALL) - cost.engine_bytes_per_second(none)
    assert saved > events * SMALL.message_bytes * WORK.deduplicate_engine
    assert cost.items_per_second(SMALL) - cost.items_per_second(none) == pytest.approx(events)
    assert cost.state_bytes(none) == SMALL.ids * WORK.id_state


def test_a_digest_is_as_large_as_it_is_written() -> None:
    coder, sizes = StructCoder(Memory), []
    memory = Memory()
    for number in range(40):
        if number in (20, 39):
            sizes.append(len(coder.encode(memory)))
        after = remembered(memory, place(f"m{number}")[1], published_at=1, now=1, remember_us=10**9)
        assert after is not None
        memory = after
    assert (sizes[1] - sizes[0]) / 19 == pytest.approx(WORK.digest, rel=0.1)


def test_a_message_id_is_remembered_for_a_quarter_more_at_most() -> None:
    assert 1 < cost.REMEMBERED < 1.25


@pytest.mark.parametrize(
    ("bundle", "workers"),
    # 5,000 messages a second are 2 workers by CPU; with all calls, of 10 items each, 50,000 items, 24 at once a worker
    [(0.0, 2), (0.0001, 2), (0.01, math.ceil(5_000 * WORK.call_items * 0.01 / 24))],
)
def test_slow_work_items_need_more_workers(bundle: float, workers: int) -> None:
    assert cost.workers(Traffic(messages_per_second=5_000, ids=1, identity_share=1, bundle=bundle)) == workers


def test_requests_are_by_time_where_there_is_much_to_send() -> None:
    lots = Traffic(messages_per_second=100_000, ids=10**9, identity_share=0)
    assert cost.requests_per_second(lots) == pytest.approx(lots.event_shards / cost.SHARD_S)
    few = Traffic(messages_per_second=0.1, ids=10**9, identity_share=0)
    assert cost.requests_per_second(few) == pytest.approx(0.1)


def test_the_calculator_gathers_as_the_job_does() -> None:
    assert event_streams.GATHERED_FOR_S <= cost.SHARD_S <= 2 * event_streams.GATHERED_FOR_S
    assert gathering.GATHERED_FOR_S == cost.KEYED_S
    assert len(KEYED) * gathering._BUCKETS == cost.KEYED_BUCKETS


def test_windows_bound_the_changes_of_keyed_rows() -> None:
    few = Traffic(messages_per_second=1000, ids=100)
    longer = replace(few, alias_window=600)
    assert line(longer, "BigQuery: Storage Write").quantity < line(few, "BigQuery: Storage Write").quantity


def test_a_price_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--messages_per_second=5000", "--ids=1000000", "--json"]
    dollars = []
    for price in ("40", "0"):
        assert cost.main([*arguments, f"--price=pubsub_throughput={price}"]) == 0
        dollars.append(json.loads(capsys.readouterr().out)["dollars"])
    assert dollars[0] - dollars[1] == pytest.approx(cost.bill(Traffic(5000, 10**6))[3].dollars)


WRONG: list[tuple[Sequence[str], str]] = [
    (["--ids=1"], "the following arguments are required: --messages_per_second"),
    (["--messages_per_second=many", "--ids=1"], "'many' is not a number"),
    (["--messages_per_second=inf", "--ids=1"], "'inf' is not a number"),
    (["--messages_per_second=0", "--ids=1"], "'0' is not above 0"),
    (["--messages_per_second=1", "--ids=1.5"], "'1.5' is not a whole number"),
    (["--messages_per_second=1", "--ids=1", "--identity_share=2"], "'2' is above 1"),
    (["--messages_per_second=1", "--ids=1", "--bundle=-1"], "'-1' is below 0"),
    (["--messages_per_second=1", "--ids=1", "--price=gold=1"], "has no price 'gold'"),
    (["--messages_per_second=1", "--ids=1", "--price=query=-1"], "'-1' is below 0"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_mistake_is_one_line(arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert shown.err.count("\n") == 1


# ---- the page ----


def billed(command: str) -> str:
    words = shlex.split(command.replace("\\\n", " "))
    traffic = cost.traffic_of(cost._arguments(words[words.index("templates.cost") + 1 :]))
    return cost.rendered(cost.bill(traffic), traffic) + "\n"


def updated() -> str:
    def bill(found: re.Match[str]) -> str:
        return f"```sh\n{found['command']}```\n\n```text\n{billed(found['command'])}```\n"

    return _BILL.sub(bill, PAGE.read_text())


def test_the_page_shows_what_the_calculator_says() -> None:
    assert len(_BILL.findall(PAGE.read_text())) >= 3
    assert PAGE.read_text() == updated(), "python -m tests.templates.test_cost --update"


def test_the_first_table_and_the_readme_say_what_the_bills_do() -> None:
    bills = re.findall(r"^\$([\d,]+) a month, \$([\d.]+) for a million", PAGE.read_text(), re.MULTILINE)
    first = re.findall(r"^\| [\d,]+ \| [^|]+ \| \$([\d.]+) \| \$([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(month, million) for million, month in first] == bills[: len(first)]
    assert len(first) == 3
    millions = sorted(million for million, _ in first)
    readme = (PAGE.parents[1] / "README.md").read_text("utf-8")
    assert f"${millions[0]} to ${millions[-1]} for a million messages" in readme


def test_the_page_names_every_price() -> None:
    page = PAGE.read_text()
    for name, price in PRICES.items():
        assert f"| `{name}` | ${price.dollars:g} | {price.unit} |" in page, name
    assert cost.PRICES_AS_OF in page


if __name__ == "__main__" and "--update" in sys.argv:
    PAGE.write_text(updated())
