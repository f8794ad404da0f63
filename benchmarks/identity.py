"""What identity costs a message: with many ids, with long chains, and with heavy keys; `python -m benchmarks.identity`.

The pure stages run as a bounded job runs them, each key once, with what goes from one to the next encoded as it is in a
shuffle, but without Beam, whose own cost for each element is the same for all. Sizes are compared in turn, several
rounds, by the median of the ratios.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from transforms.coders import StructCoder
from transforms.core import account_rows
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known, learn, learn_account
from transforms.core.identity import chains, contact, household, person
from transforms.core.identity.protocol import Edge, Member, ProtocolMessage

Fact = tuple[str, Known]
Call = list[Fact]

IDS_GOAL, CHAIN_GOAL, HEAVY_GOAL, NEIGHBOURS_GOAL = 1.15, 1.1, 3.0, 1.1
_ROUNDS = 3
_KNOWN, _MESSAGE = StructCoder(Known), StructCoder(ProtocolMessage)


class Cost(NamedTuple):
    """Seconds that the stages took for the heavy keys, and for all others."""

    heavy: float
    usual: float


def identify(number: int, user: str, anonymous: str) -> Call:
    """The facts of an identify with both ids and three traits."""
    stamp = (1_700_000_000_000_000 + number, f"message-{number}")
    traits = dict.fromkeys(("email", "name", "plan"), (stamp, b'"value"'))
    known = Known(traits, seen=(stamp, stamp), connections={"default": stamp}, accounts={"acme": {}})
    return [(user, known), *alias(number, anonymous, user)]


def alias(number: int, previous: str, user: str) -> Call:
    stamp = (1_700_000_000_000_000 + number, f"message-{number}")
    return [(previous, Known(out={user: stamp})), (user, Known(named=True))]


def people(count: int, prefix: str = "") -> Iterator[Call]:
    """So many persons, each with one anonymous id and two calls."""
    for number in range(count):
        user, anonymous = f"{prefix}user-{number}", f"{prefix}anonymous-{number}"
        yield identify(2 * number, user, anonymous)
        yield identify(2 * number + 1, user, anonymous)


def chained(count: int, length: int) -> Iterator[Call]:
    """So many aliases, in chains of `length`."""
    for number in range(count):
        chain, at = divmod(number, length)
        yield alias(number, f"{chain}-{at}", f"{chain}-{at + 1}")


def run(calls: Iterable[Call], is_heavy: Callable[[str], bool] = lambda key: False) -> Cost:
    """Runs all four stages over the calls, as one window; times what is done by the keys that it is done for."""
    calls = list(calls)
    gc.collect()
    gc.disable()  # in a job it hardly runs, and has little to walk: what a job holds is bytes
    spent = {True: 0.0, False: 0.0}

    def timed(step: Callable[..., Any], coder: StructCoder, grouped: dict[str, list[bytes]]) -> Iterator[Any]:
        for key, inbox in grouped.items():
            started = time.perf_counter()
            _, outbox = step(key, None, map(coder.decode, inbox))
            spent[is_heavy(key)] += time.perf_counter() - started
            yield outbox

    def deliver(inboxes: dict[str, list[bytes]], messages: Iterable[tuple[str, Any]]) -> None:
        for key, message in messages:
            started = time.perf_counter()
            inboxes[key].append(_MESSAGE.encode(message))
            spent[is_heavy(key)] += time.perf_counter() - started

    known: dict[str, Known] = {}
    for call in calls:
        started = time.perf_counter()
        for id, fact in call:
            learn(known.setdefault(id, Known()), fact)
        spent[any(is_heavy(id) for id, _ in call)] += time.perf_counter() - started
    persons: dict[str, list[bytes]] = {}
    for id, fact in known.items():
        started = time.perf_counter()
        persons[id] = [_KNOWN.encode(fact)]
        spent[is_heavy(id)] += time.perf_counter() - started
    del known
    households: dict[str, list[bytes]] = defaultdict(list)
    edges: dict[str, list[bytes]] = defaultdict(list)
    contacts: dict[str, list[bytes]] = defaultdict(list)
    for said in timed(person.step, _KNOWN, persons):
        deliver(households, said.members)
        deliver(edges, said.edges)
    for said in timed(chains.step, _MESSAGE, edges):
        deliver(households, said.labels)
    for said in timed(household.step, _MESSAGE, households):
        deliver(contacts, said.members)
    for _ in timed(contact.step, _MESSAGE, contacts):
        pass
    return Cost(spent[True], spent[False])


def many_ids() -> None:
    """Cost a message with 10,000 ids and with 1,000,000."""
    few, many = 5_000, 500_000
    ratios = []
    for _ in range(_ROUNDS):
        small = statistics.median(run(list(people(few))).usual for _ in range(5)) / (2 * few)
        large = run(list(people(many))).usual / (2 * many)
        ratios.append(large / small)
    _print("1,000,000 ids against 10,000", statistics.median(ratios), IDS_GOAL)


def long_chains() -> None:
    """Cost a message in chains of two aliases, and of 1,000."""
    count = 100_000
    ratios = []
    for _ in range(_ROUNDS):
        short, long = run(list(chained(count, 2))).usual, run(list(chained(count, 1000))).usual
        ratios.append(long / short)
    _print("chains of 1,000 aliases against chains of 2", statistics.median(ratios), CHAIN_GOAL)


HEAVY: dict[str, Callable[[], Iterator[Call]]] = {
    "a user with 10,000 anonymous ids": lambda: (identify(n, "heavy", f"heavy-{n}") for n in range(10_000)),
    "a user with 100,000 anonymous ids": lambda: (identify(n, "heavy", f"heavy-{n}") for n in range(100_000)),
    "an anonymous id with 10,000 user ids": lambda: (identify(n, f"heavy-{n}", "heavy") for n in range(10_000)),
    "a chain of 10,000": lambda: (alias(n, f"heavy-{n}", f"heavy-{n + 1}") for n in range(10_000)),
    "a cycle of 1,000": lambda: (alias(n, f"heavy-{n}", f"heavy-{(n + 1) % 1000}") for n in range(1_000)),
}


def heavy_keys() -> None:
    """Cost a message of a heavy key against the usual one, and what its neighbours pay."""
    usual = list(people(20_000))
    for what, calls in HEAVY.items():
        heavy = list(calls())
        own, neighbours = [], []
        for _ in range(_ROUNDS):
            alone = run(usual)
            together = run([*usual, *heavy], lambda key: "heavy" in key or key == "")
            own.append((together.heavy / len(heavy)) / (alone.usual / len(usual)))
            neighbours.append(together.usual / alone.usual)
        _print(f"{what}, a message", statistics.median(own), HEAVY_GOAL)
        _print("  its neighbours", statistics.median(neighbours), NEIGHBOURS_GOAL)


def heavy_account() -> None:
    """Cost a message of an account that a million calls name, against accounts that two calls name each."""
    calls = 1_000_000
    ratios = []
    for _ in range(_ROUNDS):
        usual, heavy = (_name_accounts(calls, accounts) for accounts in (calls // 2, 1))
        ratios.append(heavy / usual)
    _print("an account with 1,000,000 members, a message", statistics.median(ratios), HEAVY_GOAL)


def _name_accounts(calls: int, accounts: int) -> float:
    """Seconds that it takes to learn of accounts and to write their rows."""
    known: dict[str, AccountKnown] = {}
    started = time.perf_counter()
    for number in range(calls):
        stamp = _stamp(number)
        fact = AccountKnown(
            {"plan": (stamp, b'"pro"')}, (stamp, "Acme"), {Way.GROUP: (stamp, stamp)}, {"default": stamp}
        )
        learn_account(known.setdefault(f"account-{number % accounts}", AccountKnown()), fact)
    for account_id, fact in known.items():
        account_rows.step(account_id, None, [fact])
    return time.perf_counter() - started


def over_windows() -> None:
    """What a window with one piece of news costs a heavy key: its state read, changed and written, as bytes."""
    print("Over windows (state of a key, and what a window with one piece of news costs it)")
    for count in (1_000, 10_000, 100_000):
        arrivals = [Member(f"anonymous-{number:08}", (0, 1), Known()) for number in range(count)]
        edges = [Known(out={f"user-{number:08}": _stamp(number)}) for number in range(count)]
        links = [Edge(_stamp(n), f"{n // 10}-{n % 10}", f"{n // 10}-{n % 10 + 1}") for n in range(count)]
        _window(
            "ids of a contact",
            count,
            household.HouseholdState,
            household.step,
            arrivals,
            Member("new", (0, 1), Known()),
        )
        _window("edges out of one id", count, person.PersonState, person.step, edges, Known(out={"new": _stamp(count)}))
        _window(
            "edges between chain ids", count, chains.ChainsState, chains.step, links, Edge(_stamp(count), "new", "0-0")
        )


def _stamp(number: int) -> tuple[int, str]:
    return 1_700_000_000_000_000 + number, f"message-{number:08}-0000"


def _window(what: str, count: int, state: Any, step: Callable[..., Any], inbox: list[Any], news: object) -> None:
    coder = StructCoder(state)
    encoded = coder.encode(step("key", None, inbox)[0])
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        coder.encode(step("key", coder.decode(encoded), [news])[0])
        seconds.append(time.perf_counter() - started)
    print(f"  {count:7,} {what:<26} {len(encoded) / 1e6:6.2f} MB {min(seconds) * 1e3:8.1f} ms")


def _print(what: str, ratio: float, goal: float) -> None:
    print(f"  {what:<50} {ratio:6.2f}   goal: at most {goal}")


def main() -> None:
    print("Identity (ratio of the costs of a message)")
    many_ids()
    long_chains()
    heavy_keys()
    heavy_account()
    over_windows()


if __name__ == "__main__":
    main()
