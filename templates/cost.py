"""What a streaming job costs a month, by line: `python -m templates.cost --messages_per_second=500 --ids=1000000`.

It multiplies three things: what comes (the options), what the job does with it (`Work`, as counted on the strict
runner), and list prices (`PRICES`, each to be replaced by `--price NAME=DOLLARS`). Prices are those of us-central1
without discounts; other regions differ by some tens of percent.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline import command_line
from pipeline.command_line import CommandParser
from pipeline.errors import UsageError
from pipeline.plurals import counted
from transforms.core.memory import CELLS

PRICES_AS_OF: Final = "2025-11"
HOURS: Final = 730
"""Hours of a month, as the price lists have it."""
_MONTH_S: Final = HOURS * 3600
_GB: Final = 1e9
_GIB: Final = 2**30
_TIB: Final = 2**40


@dataclass(frozen=True)
class Price:
    """A list price in US dollars, for one `unit`; the first `free` units of a month cost nothing."""

    dollars: float
    unit: str
    source: str
    free: float = 0.0


_DATAFLOW: Final = "https://cloud.google.com/dataflow/pricing"
_PUBSUB: Final = "https://cloud.google.com/pubsub/pricing"
_BIGQUERY: Final = "https://cloud.google.com/bigquery/pricing"
_RUN: Final = "https://cloud.google.com/run/pricing"

PRICES: Final[Mapping[str, Price]] = {
    "worker_vcpu": Price(0.069, "vCPU hour", _DATAFLOW),
    "worker_memory": Price(0.003557, "GB hour", _DATAFLOW),
    "streaming_engine": Price(0.018, "GB", _DATAFLOW),
    "pubsub_throughput": Price(40.0, "TiB", _PUBSUB, free=10 / 1024),
    "pubsub_retention": Price(0.27, "GiB month", _PUBSUB),
    "storage_write": Price(0.025, "GiB", _BIGQUERY, free=2048),
    "storage": Price(0.02, "GiB month", _BIGQUERY, free=10),
    "query": Price(6.25, "TiB", _BIGQUERY, free=1),
    "run_vcpu": Price(0.0648, "vCPU hour", _RUN, free=240_000 / 3600),
    "run_memory": Price(0.0072, "GiB hour", _RUN, free=450_000 / 3600),
}


@dataclass(frozen=True)
class Traffic:
    """What comes, and what is asked: rates a second, sizes in bytes, times in seconds, days of rows that are kept.
    `bundle` is how long Dataflow takes for a work item; 0 where that is no more than its CPU."""

    messages_per_second: float
    ids: int
    days: float = 365.0
    message_bytes: int = 1700
    identity_share: float = 1 / 6
    alias_window: float = 60.0
    max_staleness: float = 900.0
    retain_acked_days: float = 0.0
    queried_tib: float = 1.0
    receiver_instances: float = 0.0
    deduplicate_for: float = 86_400.0
    event_shards: int = 16
    bundle: float = 0.0

    @property
    def events_per_second(self) -> float:
        return self.messages_per_second * (1 - self.identity_share)

    @property
    def calls_per_second(self) -> float:
        """Identity calls."""
        return self.messages_per_second * self.identity_share


@dataclass(frozen=True)
class Work:
    """What the job does with a message, an id or a call, in bytes unless it says otherwise.

    As counted on the strict runner, on the traffic of `examples.generate` with a mean message of 1.7 kB. `event_row`,
    `log_row`, `event_engine` and `deduplicate_engine` are in mean messages; a row of the log is less than one, since
    identity calls are shorter than events. `deduplicate_engine` is what an event carries through Streaming Engine into
    the memory of message ids, where each that is remembered has `digest`; `event_engine` into a shard, and there into
    the rows that wait and out of them. `identity_engine` is what a call's facts, states and rows carry; it grows with
    what is known of a person. `keyed_change` is a changed row as it is sent, `keyed_row` what the tables hold for an
    id, `id_state` what the steps do. Items are work items behind shuffles, each of one key: `event_items` those of an
    event behind the memory of message ids, `call_items` those of a call.
    """

    event_row: float = 0.97
    log_row: float = 0.79
    event_engine: float = 3.75
    deduplicate_engine: float = 1.29
    digest: float = 10.0
    identity_engine: float = 5100.0
    keyed_change: float = 290.0
    keyed_row: float = 1000.0
    keyed_rows_a_call: float = 1.23
    id_state: float = 1000.0
    event_items: float = 0.02
    call_items: float = 3.6
    log_rows_a_request: float = 200.0
    engine_overhead: float = 200.0
    messages_per_second_a_core: float = 2000.0


WORK: Final = Work()
WORKER_VCPUS: Final = 2
WORKER_GB: Final = 8
"""Of an `n2-standard-2`."""
RECEIVER_VCPUS: Final = 1
RECEIVER_GIB: Final = 0.5
"""Of an instance of the receiver on Cloud Run, as `make receiver-deploy` has it, with its processor at all times."""


@dataclass(frozen=True)
class BillLine:
    """A line of the bill: `quantity` units a month."""

    name: str
    price: str
    quantity: float
    dollars: float
    meaning: str


WORKER_THREADS: Final = 12 * WORKER_VCPUS
"""So many work items has a worker at once: Dataflow's default for Python's streaming jobs."""
REMEMBERED: Final = 1.125
"""The mean share of `deduplicate_for` that a message id is remembered: it is forgotten by quarters."""
SHARD_S: Final = 3.0
"""How often a shard of events is appended, in the mean: between two and four seconds."""
KEYED_S: Final = 3.0
KEYED_BUCKETS: Final = 4 * 8
"""Of the four keyed tables. Each sends its rows so often, where it has any."""


def workers(traffic: Traffic, work: Work = WORK) -> int:
    """How many workers the mean rate keeps busy to two thirds; where `bundle` is given, as many as have its work items
    at once."""
    by_cpu = traffic.messages_per_second / (work.messages_per_second_a_core * WORKER_VCPUS * 2 / 3)
    by_items = items_per_second(traffic, work) * traffic.bundle / WORKER_THREADS
    return max(1, math.ceil(by_cpu), math.ceil(by_items))


def items_per_second(traffic: Traffic, work: Work = WORK) -> float:
    """Work items behind shuffles, each of one key."""
    deduplicated = 1 if traffic.deduplicate_for else 0
    return traffic.events_per_second * (deduplicated + work.event_items) + traffic.calls_per_second * work.call_items


def engine_bytes_per_second(traffic: Traffic, work: Work = WORK) -> float:
    """What goes through Streaming Engine: shuffles, and state that is read and written. The event that is looked for in
    its cell reads and writes all that the cell remembers."""
    event = traffic.message_bytes * work.event_engine
    if traffic.deduplicate_for:
        event += traffic.message_bytes * work.deduplicate_engine
        event += 2 * _remembered(traffic) / CELLS * work.digest
    of_events, of_calls = traffic.events_per_second * event, traffic.calls_per_second * work.identity_engine
    return traffic.messages_per_second * work.engine_overhead + of_events + of_calls


def state_bytes(traffic: Traffic, work: Work = WORK) -> float:
    """What the steps keep: of each id, and of the message ids that are remembered."""
    return traffic.ids * work.id_state + _remembered(traffic) * work.digest


def requests_per_second(traffic: Traffic, work: Work = WORK) -> float:
    """Appends to BigQuery: of the shards of events, of the buckets of keyed rows, and of the log."""
    events = min(traffic.event_shards / SHARD_S, traffic.events_per_second)
    keyed = min(KEYED_BUCKETS / KEYED_S, _changes_per_second(traffic, work))
    return events + keyed + traffic.calls_per_second / work.log_rows_a_request


def _remembered(traffic: Traffic) -> float:
    return traffic.events_per_second * traffic.deduplicate_for * REMEMBERED


def _changes_per_second(traffic: Traffic, work: Work) -> float:
    """Changed rows of keyed tables: a window writes what each of its ids changes once."""
    return min(traffic.calls_per_second, traffic.ids / traffic.alias_window) * work.keyed_rows_a_call


def bill(traffic: Traffic, prices: Mapping[str, Price] = PRICES, work: Work = WORK) -> list[BillLine]:
    """What a month costs, line by line. What is free goes to the first lines of its price."""
    free = {name: price.free for name, price in prices.items()}
    lines = []
    for name, price, quantity, meaning in _uses(traffic, work):
        billed = max(0.0, quantity - free[price])
        free[price] -= quantity - billed
        lines.append(BillLine(name, price, quantity, billed * prices[price].dollars, meaning))
    return lines


def _uses(traffic: Traffic, work: Work) -> Iterator[tuple[str, str, float, str]]:
    """(name, name of its price, units a month, meaning) of everything that is billed."""
    messages = traffic.messages_per_second * _MONTH_S
    calls, events = traffic.calls_per_second * _MONTH_S, traffic.events_per_second * _MONTH_S
    machines = workers(traffic, work)
    event_bytes, log_bytes = (
        events * traffic.message_bytes * work.event_row,
        calls * traffic.message_bytes * work.log_row,
    )
    engine = engine_bytes_per_second(traffic, work) * _MONTH_S
    keyed_bytes = _changes_per_second(traffic, work) * _MONTH_S * work.keyed_change
    table = traffic.ids * work.keyed_row
    applied = table * _MONTH_S / max(traffic.max_staleness, 1.0)
    kept = (event_bytes + log_bytes) / HOURS * 24 * traffic.days + table
    retained = traffic.messages_per_second * traffic.message_bytes * 86400 * traffic.retain_acked_days

    size = f"{counted(machines, 'worker')}, n2-standard-2"
    yield "Dataflow: CPU", "worker_vcpu", machines * WORKER_VCPUS * HOURS, size
    yield "Dataflow: memory", "worker_memory", machines * WORKER_GB * HOURS, f"{WORKER_GB} GB each"
    yield "Dataflow: Streaming Engine", "streaming_engine", engine / _GB, "shuffles and state"
    yield "Pub/Sub: throughput", "pubsub_throughput", 2 * messages * (traffic.message_bytes + 60) / _TIB, "in and out"
    yield "Pub/Sub: retention", "pubsub_retention", retained / _GIB, f"acknowledged, {traffic.retain_acked_days:g} days"
    written = event_bytes + log_bytes + keyed_bytes
    yield "BigQuery: Storage Write", "storage_write", written / _GIB, "events, the log, changes of keyed rows"
    yield "BigQuery: storage", "storage", kept / _GIB, f"{traffic.days:g} days of events and of the log"
    every = f"all keyed rows, every {traffic.max_staleness / 60:g} minutes"
    yield "BigQuery: applying changes", "query", applied / _TIB, every
    yield "BigQuery: queries", "query", traffic.queried_tib, "as you ask"
    if traffic.receiver_instances:
        hours = traffic.receiver_instances * HOURS
        size = f"receiver, {traffic.receiver_instances:g} at the mean"
        yield "Cloud Run: CPU", "run_vcpu", hours * RECEIVER_VCPUS, size
        yield "Cloud Run: memory", "run_memory", hours * RECEIVER_GIB, f"{RECEIVER_GIB:g} GiB each"


def total(lines: Sequence[BillLine]) -> float:
    """Dollars a month."""
    return sum(line.dollars for line in lines)


def per_million(lines: Sequence[BillLine], traffic: Traffic) -> float:
    """Dollars for a million messages."""
    return total(lines) / (traffic.messages_per_second * _MONTH_S) * 1e6


def rendered(lines: Sequence[BillLine], traffic: Traffic, prices: Mapping[str, Price] = PRICES) -> str:
    """The bill as a table of text."""
    rows = [("", "a month", "of", "at $", "$ a month", "")]
    for line in lines:
        price = prices[line.price]
        amounts = (f"{line.quantity:,.1f}", price.unit, f"{price.dollars:g}", f"{line.dollars:,.0f}", line.meaning)
        rows.append((line.name, *amounts))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    right = (False, True, False, True, True, False)
    text = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    million = per_million(lines, traffic)
    text += [
        "",
        needs(traffic),
        f"${total(lines):,.0f} a month, ${million:,.2f} for a million messages; prices as of {PRICES_AS_OF}",
    ]
    return "\n".join(text)


def needs(traffic: Traffic, work: Work = WORK) -> str:
    """What the job keeps, and what it does in a second, as a line."""
    kept, engine = state_bytes(traffic, work) / _GB, engine_bytes_per_second(traffic, work) / 1e6
    items, requests = items_per_second(traffic, work), requests_per_second(traffic, work)
    return (
        f"{kept:,.1f} GB of state; in a second {engine:,.1f} MB through shuffles and state, {items:,.0f} work items, "
        f"{requests:,.0f} requests to BigQuery"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the bill. Returns 0, or 2 for a usage error, which is reported in one line."""
    return command_line.run("templates.cost", lambda: _print(_arguments(argv)))


def _print(arguments: argparse.Namespace) -> int:
    traffic = traffic_of(arguments)
    prices = dict(PRICES)
    for name, dollars in arguments.price:
        prices[name] = Price(dollars, PRICES[name].unit, "--price", PRICES[name].free)
    lines = bill(traffic, prices)
    if arguments.json:
        document = {
            "dollars": total(lines),
            "dollars_per_million": per_million(lines, traffic),
            "as_of": PRICES_AS_OF,
            "workers": workers(traffic),
            "state_bytes": state_bytes(traffic),
            "engine_bytes_per_second": engine_bytes_per_second(traffic),
            "work_items_per_second": items_per_second(traffic),
            "requests_per_second": requests_per_second(traffic),
        }
        print(json.dumps({**document, "lines": [vars(line) for line in lines]}, indent=2))
    else:
        print(rendered(lines, traffic, prices))
    return 0


def traffic_of(arguments: argparse.Namespace) -> Traffic:
    """What the options say of it."""
    return Traffic(**{name: getattr(arguments, name) for name in Traffic.__dataclass_fields__})


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Traffic(messages_per_second=1, ids=1)
    parser = CommandParser(prog="python -m templates.cost", description="What a streaming job costs a month.")
    parser.add_argument(
        "--messages_per_second", required=True, type=_positive, metavar="NUMBER", help="mean rate of messages"
    )
    parser.add_argument("--ids", required=True, type=_count, metavar="NUMBER", help="ids of people and accounts")
    for name, type_, metavar, meaning in (
        ("days", _positive, "NUMBER", "days of events and of the log that are kept"),
        ("message_bytes", _count, "BYTES", "mean size"),
        (
            "identity_share",
            _share,
            "PART",
            "part of the messages that are identify, group, alias or delete calls, 0 to 1",
        ),
        ("alias_window", _positive, "NUMBER", "the job's option, in seconds"),
        ("max_staleness", _positive, "NUMBER", "of the keyed tables, in seconds"),
        ("retain_acked_days", _not_negative, "DAYS", "days for which the subscription keeps what is acknowledged"),
        ("queried_tib", _not_negative, "TIB", "queries a month, in TiB"),
        ("receiver_instances", _not_negative, "NUMBER", "mean number of instances of the receiver on Cloud Run"),
        ("deduplicate_for", _not_negative, "NUMBER", "the job's option, in seconds"),
        ("event_shards", _count, "NUMBER", "the job's option"),
        (
            "bundle",
            _not_negative,
            "SECONDS",
            "what Dataflow takes for a work item of one key, for the number of workers",
        ),
    ):
        parser.add_argument(f"--{name}", type=type_, default=getattr(default, name), metavar=metavar, help=meaning)
    parser.add_argument(
        "--price",
        type=_price,
        action="append",
        default=[],
        metavar="NAME=DOLLARS",
        help=f"another price; the names are {', '.join(PRICES)}",
    )
    parser.add_argument("--json", action="store_true", help="prints JSON")
    return parser.parse_args(argv)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def _positive(text: str) -> float:
    if (number := _number(text)) > 0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is not above 0")


def _not_negative(text: str) -> float:
    if (number := _number(text)) >= 0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is below 0")


def _count(text: str) -> int:
    number = _positive(text)
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(number)


def _share(text: str) -> float:
    if (number := _not_negative(text)) <= 1:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is above 1")


def _price(text: str) -> tuple[str, float]:
    name, _, dollars = text.partition("=")
    if name not in PRICES:
        raise UsageError(f"has no price {name!r}", f"name one of {', '.join(PRICES)}", option="--price", value=text)
    return name, _not_negative(dollars)


if __name__ == "__main__":
    sys.exit(main())
