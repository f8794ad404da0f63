"""What a streaming job of a given size needs, and which of its limits is reached first: `python -m benchmarks.scale`.

The pure steps run on generated traffic, window by window, and it is counted what goes to each key. What a size needs
and costs is told by `templates.cost`.

python -m benchmarks.scale           prints the tables of docs/scale.md, which are the same each time
python -m benchmarks.scale measure   prints what a message costs each step on this machine, as MICROSECONDS has it
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from examples.generate import GeneratorSettings, stream
from pipeline.warehouses.bigquery.shards import shard
from templates import cost
from templates.cost import Traffic
from transforms.coders import StructCoder, UpsertCoder
from transforms.core import account_rows, call_rows
from transforms.core.connections import DEFAULT
from transforms.core.facts import AccountKnown, Known, Learned, learn, learn_account, learned
from transforms.core.identity.protocol import Deep, ProtocolMessage
from transforms.core.identity.stages import stages
from transforms.core.reader import Call, Reader, Received
from transforms.core.rows import Upsert
from transforms.fold_accounts import PARTS, divider

CALLS: Final = 20_000
MICROSECONDS: Final[Mapping[str, float]] = {
    "Person": 11.0,
    "Depth1": 5.0,
    "Depth2": 4.0,
    "Chains": 22.0,
    "Household1": 50.0,
    "Household2": 6.5,
    "Household3": 5.5,
    "Contact": 52.0,
    "Parts": 7.0,
    "Account": 24.0,
    "Buckets": 5.0,
}
"""What a message costs a step, the state of its key included; by `measure`, on 2026-11-29."""
_FIXED: Final = {"Chains", "Buckets"}
"""The steps whose keys are as many for any number of ids."""
_WINDOWS: Final = 10
_BUCKETS: Final = cost.KEYED_BUCKETS // 4
_KNOWN, _MESSAGE, _ACCOUNT, _UPSERT = (
    StructCoder(Known),
    StructCoder(ProtocolMessage),
    StructCoder(AccountKnown),
    UpsertCoder(),
)


@dataclass
class Busy:
    """What a step had to do: messages by key, their bytes, the CPU that they cost, and the states at the end, as
    bytes."""

    messages: Counter[str] = field(default_factory=Counter)
    received: int = 0
    seconds: float = 0.0
    states: dict[str, bytes] = field(default_factory=dict)

    @property
    def busiest(self) -> float:
        """The share of the busiest key in all messages."""
        return max(self.messages.values(), default=0) / max(1, self.messages.total())

    def run(self, key: str, state: StructCoder[Any], step: Callable[..., tuple[Any, Any]]) -> Any:
        """Runs the step on the key's state, and keeps the state that it gives. Returns the outbox."""
        encoded = self.states.get(key)
        after, outbox = step(state=None if encoded is None else state.decode(encoded))
        self.states[key] = state.encode(after)
        return outbox


@dataclass
class Simulation:
    """The keyed steps of a job on some traffic."""

    steps: dict[str, Busy] = field(default_factory=lambda: defaultdict(Busy))
    chain_edges: set[tuple[str, str]] = field(default_factory=set)
    calls: int = 0
    ids: int = 0

    def window(self, calls: Sequence[Learned]) -> None:
        """What the calls of one window say."""
        self.calls += len(calls)
        self._identities([person for call in calls for person in call.persons])
        self._accounts([call.account for call in calls if call.account is not None])

    def _identities(self, facts: Sequence[tuple[str, Known]]) -> None:
        inboxes: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        for id, known in facts:
            inboxes["Person"][id].append(_KNOWN.encode(known))
        for stage in stages():
            busy, state = self.steps[stage.name], StructCoder(stage.state)
            coder: StructCoder[Any] = _KNOWN if stage.name == "Person" else _MESSAGE
            for key, inbox in inboxes.pop(stage.name, {}).items():
                busy.messages[key] += len(inbox)
                busy.received += sum(map(len, inbox))
                started = time.process_time()
                messages = [coder.decode(message) for message in inbox]
                if stage.name == "Person":
                    messages = [functools.reduce(learn, messages, Known())]
                outbox = busy.run(key, state, functools.partial(stage.step, key, inbox=messages))
                busy.seconds += time.process_time() - started
                for sent, names in stage.sends.items():
                    for to, message in getattr(outbox, sent):
                        for name in names:
                            inboxes[name][to].append(_MESSAGE.encode(message))
                self.chain_edges |= {(m.id, user) for m in messages if isinstance(m, Deep) for user in m.edges}
                for table in stage.writes:
                    self._rows(table, getattr(outbox, table))
        self.ids = len(self.steps["Person"].states)

    def _accounts(self, facts: Sequence[tuple[str, AccountKnown]]) -> None:
        parts: dict[str, list[bytes]] = defaultdict(list)
        divide = divider()
        for account in facts:
            part, known = divide(account)
            parts[part].append(_ACCOUNT.encode(known))
        whole: dict[str, list[AccountKnown]] = defaultdict(list)
        busy = self.steps["Parts"]
        for part, inbox in parts.items():
            busy.messages[part] += len(inbox)
            busy.received += sum(map(len, inbox))
            started = time.process_time()
            whole[part[2:]].append(functools.reduce(learn_account, map(_ACCOUNT.decode, inbox), AccountKnown()))
            busy.seconds += time.process_time() - started
        busy, state = self.steps["Account"], StructCoder(account_rows.AccountState)
        for account_id, known_parts in whole.items():
            busy.messages[account_id] += len(known_parts)
            started = time.process_time()
            step = functools.partial(account_rows.step, account_id, inbox=known_parts)
            outbox = busy.run(account_id, state, step)
            busy.seconds += time.process_time() - started
            self._rows("accounts", outbox.accounts)

    def _rows(self, table: str, rows: Sequence[Upsert]) -> None:
        for row in rows:
            encoded = _UPSERT.encode(row)
            bucket = f"{table}{shard(chr(0).join(row.key), _BUCKETS)[-1]}"
            busy = self.steps["Buckets"]
            busy.messages[bucket] += 1
            started = time.process_time()
            _UPSERT.encode(_UPSERT.decode(encoded))
            busy.seconds += time.process_time() - started


def generated(calls: int) -> list[Learned]:
    """The facts of the identity calls among so many generated ones."""
    reader = Reader.of(DEFAULT)
    settings = GeneratorSettings(calls=calls, rubbish=0)
    read = (outcome for line in stream(settings) for outcome in reader.read(Received(line)))
    return [learned(call, DEFAULT) for call in read if isinstance(call, Call) and call_rows.is_identity_call(call)]


@functools.cache
def simulated(calls: int = CALLS) -> Simulation:
    """The steps on the identity calls among so many generated ones, in ten windows."""
    facts = generated(calls)
    simulation = Simulation()
    size = -(-len(facts) // _WINDOWS)
    for first in range(0, len(facts), size):
        simulation.window(facts[first : first + size])
    return simulation


# ---- what a size needs ----

_SHARD_ROWS: Final = 300
"""Rows a second of a shard of events: it gathers some 600 of them, a megabyte, before it sends."""
_STALE_FROM_IDS: Final = 100_000_000
_CHAIN_EDGE_BYTES: Final = 256.0
"""Of the index of Chains, which each process that works on its key has in memory (docs/identity.md)."""
_PROCESS_BYTES: Final = cost.WORKER_GB * 1e9 / cost.WORKER_VCPUS
_HOT: Final = 0.01
"""The share of a hot id in the calls."""
_APPEND_BYTES: Final = 300e6
"""BigQuery's default quota of bytes a second by the Storage Write API in a region; 3 GB in the US and in the EU."""
SIZES: Final = tuple(
    Traffic(messages_per_second=rate, ids=ids) for ids in (10_000_000, 1_000_000_000) for rate in (1e3, 1e4, 1e5)
)
"""With the job's defaults."""


def advised(traffic: Traffic) -> Traffic:
    """The same with the settings that the page advises at this size."""
    shards = max(traffic.event_shards, math.ceil(traffic.events_per_second / _SHARD_ROWS))
    remember = traffic.deduplicate_for
    while _cell_load(replace(traffic, deduplicate_for=remember)) > 1:
        remember /= 2
    stale = 14_400.0 if traffic.ids >= _STALE_FROM_IDS else traffic.max_staleness
    return replace(traffic, event_shards=shards, deduplicate_for=remember, max_staleness=stale)


class Limit(NamedTuple):
    """How much of what a part of the job can do a size asks for: 1 is all of it."""

    name: str
    load: float


def limits(traffic: Traffic, world: Simulation) -> list[Limit]:
    """All limits, those first that are reached first."""
    keys = [Limit(f"the busiest key of {name}", key_load(name, traffic, world)) for name in MICROSECONDS]
    chains = len(world.chain_edges) / world.ids * traffic.ids * _CHAIN_EDGE_BYTES
    bytes_ = traffic.messages_per_second * traffic.message_bytes * cost.WORK.event_row
    others = [
        Limit("the shards of events", traffic.events_per_second / traffic.event_shards / _SHARD_ROWS),
        Limit("the memory of message ids", _cell_load(traffic)),
        Limit("the index of Chains", chains / _PROCESS_BYTES),
        Limit("BigQuery's quota of a region", bytes_ / _APPEND_BYTES),
    ]
    return sorted([*keys, *others], key=lambda limit: -limit.load)


def key_load(step: str, traffic: Traffic, world: Simulation) -> float:
    """The CPU of one core that the busiest key of a step takes: its share, times the rate, times what a message costs.
    The share of one id falls as there are more ids; that of a fixed key does not."""
    share = world.steps[step].busiest * (1.0 if step in _FIXED else min(1.0, world.ids / traffic.ids))
    return _load(step, traffic, world, share)


def hot_load(step: str, traffic: Traffic, world: Simulation) -> float:
    """The same where one id, or one account, has a hundredth of all calls."""
    return _load(step, traffic, world, _hot(step))


def hot_bytes(step: str, traffic: Traffic, world: Simulation) -> float:
    """What waits for such a key until its window closes."""
    busy = world.steps[step]
    of_message = busy.received / busy.messages.total()
    rate = traffic.calls_per_second * _messages_a_call(step, world) * _hot(step)
    return rate * traffic.alias_window * of_message


def _hot(step: str) -> float:
    return 1.0 if step == "Chains" else _HOT / PARTS if step == "Parts" else _HOT


def _load(step: str, traffic: Traffic, world: Simulation, share: float) -> float:
    return traffic.calls_per_second * _messages_a_call(step, world) * share * MICROSECONDS[step] / 1e6


def _messages_a_call(step: str, world: Simulation) -> float:
    return world.steps[step].messages.total() / world.calls


def _cell_load(traffic: Traffic) -> float:
    """What an event reads and writes in its cell, over its own bytes."""
    bare = replace(traffic, deduplicate_for=1e-9)
    per_event = (cost.engine_bytes_per_second(traffic) - cost.engine_bytes_per_second(bare)) / traffic.events_per_second
    return per_event / traffic.message_bytes


# ---- the tables ----


def tables() -> Mapping[str, str]:
    """The tables of docs/scale.md by name."""
    world = simulated()
    return {
        "sizes": _sizes(),
        "limits": _limits(world),
        "keys": _keys(world),
        "items": _items(),
        "starts": _starts(),
    }


def _sizes() -> str:
    header = (
        *("messages a second", "ids", "workers", "state", "shuffles and state", "requests to BigQuery", "a month"),
        *("for a million messages", "with the defaults"),
    )
    rows = []
    for size in SIZES:
        traffic = advised(size)
        lines, by_default = cost.bill(traffic), cost.bill(size)
        rows.append(
            (
                *(f"{size.messages_per_second:,.0f}", _ids(size.ids), f"{cost.workers(traffic):,}"),
                *(_bytes(cost.state_bytes(traffic)), f"{_bytes(cost.engine_bytes_per_second(traffic))} a second"),
                f"{cost.requests_per_second(traffic):,.0f} a second",
                *(f"${cost.total(lines):,.0f}", f"${cost.per_million(lines, traffic):.2f}"),
                f"${cost.total(by_default):,.0f}",
            )
        )
    return _markdown(header, rows)


def _limits(world: Simulation) -> str:
    header = ("messages a second", "ids", "reached first", "load", "then", "load", "with the settings, first", "load")
    rows = []
    for size in SIZES:
        first, second, *_ = limits(size, world)
        after, *_ = limits(advised(size), world)
        limits_ = [text for limit in (first, second, after) for text in (limit.name, _load_text(limit.load))]
        rows.append((f"{size.messages_per_second:,.0f}", _ids(size.ids), *limits_))
    return _markdown(header, rows)


def _keys(world: Simulation) -> str:
    header = (
        *("step", "messages a call", "state of an id", "busiest key", "a key does a second"),
        *("busiest key of 10 million ids", "a hot id", "waits for a hot id"),
    )
    size = SIZES[2]
    rows = []
    for step, microseconds in MICROSECONDS.items():
        busy = world.steps[step]
        hot = ("", "") if step == "Buckets" else (_load_text(hot_load(step, size, world)), _waiting(step, world))
        rows.append(
            (
                *(f"`{step}`", f"{_messages_a_call(step, world):.2g}"),
                "" if step in _FIXED else _state_of_an_id(busy, world),
                *(f"{100 * busy.busiest:.1f} %", f"{float(f'{1e6 / microseconds:.2g}'):,.0f}"),
                *(_load_text(key_load(step, size, world)), *hot),
            )
        )
    return _markdown(header, rows)


def _state_of_an_id(busy: Busy, world: Simulation) -> str:
    return _bytes(sum(map(len, busy.states.values())) / world.ids) if busy.states else ""


def _waiting(step: str, world: Simulation) -> str:
    return "" if step == "Account" else _bytes(hot_bytes(step, SIZES[2], world))


def _items() -> str:
    header = ("messages a second", "work items a second", "one may take", "workers, at 10 ms", "at 50 ms")
    rows = []
    for size in SIZES[:3]:
        items = cost.items_per_second(size)
        slow = [f"{cost.workers(replace(size, bundle=seconds)):,}" for seconds in (0.01, 0.05)]
        may_take = 1000 * cost.workers(size) * cost.WORKER_THREADS / items
        rows.append((f"{size.messages_per_second:,.0f}", f"{items:,.0f}", f"{may_take:.1f} ms", *slow))
    return _markdown(header, rows)


def _starts() -> str:
    header = ("messages a second", "calls in the log of a year", "with the workers of its rate", "workers for one day")
    rows = []
    for size in SIZES[:3]:
        calls = size.calls_per_second * 365 * 86_400
        a_day = cost.WORK.messages_per_second_a_core * cost.WORKER_VCPUS * 86_400
        days = calls / (cost.workers(size) * a_day)
        rows.append(
            (
                *(f"{size.messages_per_second:,.0f}", f"{calls / 1e9:,.1f} billion"),
                *(f"{days:.0f} days", f"{math.ceil(calls / a_day):,}"),
            )
        )
    return _markdown(header, rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    numbers = [all(row[column][:1] in "$0123456789" for row in rows) for column in range(len(header))]
    rule = ["---:" if is_number else "---" for is_number in numbers]
    return "\n".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in (header, rule, *rows))


def _load_text(load: float) -> str:
    return f"{load:.2g}" if load >= 0.001 else "0.001 or less"


def _ids(ids: int) -> str:
    return f"{ids // 1_000_000:,} million"


def _bytes(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


def measured(rounds: int = 5) -> Iterator[tuple[str, float]]:
    """(step, microseconds of CPU for a message) on this machine."""
    worlds = []
    for _ in range(rounds):
        simulated.cache_clear()
        worlds.append(simulated())
    for step in MICROSECONDS:
        costs = [world.steps[step].seconds / world.steps[step].messages.total() for world in worlds]
        yield step, 1e6 * statistics.median(costs)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["tables", "measure"], default="tables")
    if parser.parse_args(argv).what == "measure":
        for step, microseconds in measured():
            print(f"{step:12} {microseconds:6.1f} us, {MICROSECONDS[step]:6.1f} in the tables")
        return
    for table in tables().values():
        print(f"{table}\n")


if __name__ == "__main__":
    main()
