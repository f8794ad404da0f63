"""What identity costs a message: with many ids, with long chains, and with heavy keys; `python -m benchmarks.identity`.

The pure stages run as a bounded job runs them, each key once, with what goes from one to the next encoded as it is in a
shuffle, but without Beam, whose own cost for each element is the same for all. Sizes are compared in turn, several
rounds, by the median of the ratios.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import resource
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from transforms.coders import StructCoder
from transforms.core import account_rows
from transforms.core.accounts import Way
from transforms.core.facts import AccountKnown, Known, learn, learn_account
from transforms.core.identity import chains, household, person
from transforms.core.identity.chains_index import ChainsIndex
from transforms.core.identity.protocol import CHAINS, Deep, Hop, Member, ProtocolMessage
from transforms.core.identity.stages import stages
from transforms.core.keyed_stage import KeyedStage

Fact = tuple[str, Known]
Call = list[Fact]

IDS_GOAL, CHAIN_GOAL, HEAVY_GOAL, NEIGHBOURS_GOAL, RENAMED_GOAL = 1.15, 1.1, 3.0, 1.1, 1.1
DEEP_GOAL, COMMIT_GOAL, EDGE_GOAL = 1.2, 100_000, 300
CROWD_GOAL = 100_000
MANY = 1_000_000
_ROUNDS = 3
_KNOWN, _MESSAGE = StructCoder(Known), StructCoder(ProtocolMessage)
_CHAINS, _HEAD = StructCoder(chains.ChainsState), StructCoder(chains.ChainsHead)
_STATES = {stage.name: StructCoder(stage.state) for stage in stages()}


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


class Job:
    """The stages from window to window, with the states of keys and what goes between stages as bytes. `keeps_state` is
    off for a bounded job, which has one window."""

    def __init__(self, is_heavy: Callable[[str], bool] = lambda key: False, *, keeps_state: bool = True) -> None:
        self._is_heavy = is_heavy
        self._keeps_state = keeps_state
        self._states: dict[tuple[str, str], bytes] = {}
        self._spent = {True: 0.0, False: 0.0}

    def window(self, calls: Iterable[Call]) -> Cost:
        """Runs every stage on what the calls of one window say; times what is done by the keys that it is done for."""
        self._spent = {True: 0.0, False: 0.0}
        inboxes: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        inboxes["Person"] |= self._joined(calls)
        for stage in stages():
            coder = _KNOWN if stage.name == "Person" else _MESSAGE
            for key, inbox in inboxes.pop(stage.name, {}).items():
                with self._timed(key):
                    outbox = self._step(stage, key, map(coder.decode, inbox))
                for sent, names in stage.sends.items():
                    for to, message in getattr(outbox, sent):
                        for name in names:
                            with self._timed(to):
                                inboxes[name][to].append(_MESSAGE.encode(message))
        return Cost(self._spent[True], self._spent[False])

    def chain_edges(self) -> int:
        """Edges that the one key of chains has."""
        encoded = self._states.get(("Chains", CHAINS))
        return 0 if encoded is None else chains.size(_CHAINS.decode(encoded))

    def _joined(self, calls: Iterable[Call]) -> dict[str, list[bytes]]:
        known: dict[str, Known] = {}
        for call in calls:
            for id, fact in call:
                with self._timed(id):
                    learn(known.setdefault(id, Known()), fact)
        persons: dict[str, list[bytes]] = {}
        for id, fact in known.items():
            with self._timed(id):
                persons[id] = [_KNOWN.encode(fact)]
        return persons

    def _step(self, stage: KeyedStage, key: str, inbox: Iterable[Any]) -> Any:
        encoded = self._states.get((stage.name, key))
        coder = _STATES[stage.name]
        after, outbox = stage.step(key, None if encoded is None else coder.decode(encoded), inbox)
        if self._keeps_state:
            self._states[stage.name, key] = coder.encode(after)
        return outbox

    @contextmanager
    def _timed(self, key: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._spent[self._is_heavy(key)] += time.perf_counter() - started


def run(calls: Iterable[Call], is_heavy: Callable[[str], bool] = lambda key: False) -> Cost:
    """Runs all stages over the calls, as one window of a bounded job."""
    calls = list(calls)
    gc.collect()
    gc.disable()  # in a job it hardly runs, and has little to walk: what a job holds is bytes
    return Job(is_heavy, keeps_state=False).window(calls)


def renamed(count: int, first: int = 0) -> Iterator[Call]:
    """So many users, each with an anonymous id, who are renamed from an e-mail address to an id."""
    for number in range(first, first + count):
        yield identify(2 * number, f"user-{number}@x.example", f"anonymous-{number}")
        yield alias(2 * number + 1, f"user-{number}@x.example", f"user-{number}")


def renamed_users(among: int = MANY) -> None:
    """What a window with 100 renamed users costs among so many of them, and among 1,000; and the edges in chains."""
    gc.collect()
    gc.disable()
    ratios = []
    many, few = Job(), Job()
    for first in range(0, among, 50_000):
        many.window(renamed(50_000, first))
    few.window(renamed(1_000))
    for number in range(20):
        news = [list(renamed(100, among + 100 * (2 * number + one))) for one in (0, 1)]
        ratios.append(many.window(news[0]).usual / few.window(news[1]).usual)
    _print(f"100 renamed users among {among:,}, against 1,000", statistics.median(ratios), RENAMED_GOAL)
    print(f"  edges in chains {many.chain_edges():,}   goal: 0")


class Chains:
    """The one key of chains, as a streaming job keeps it: its head as bytes, its journal, and the index."""

    def __init__(self, edges: int) -> None:
        self.journal: list[bytes] = []
        self._added: list[bytes] = []
        self._head = _HEAD.encode(chains.ChainsState().head)
        self._index = ChainsIndex()
        for first in range(0, edges, 10_000):
            self.window(deep_cycles(first, min(10_000, edges - first)))

    def window(self, news: list[Deep]) -> tuple[float, int]:
        """The seconds of CPU that a window takes, and the bytes that it commits."""
        started = time.process_time()
        head = _HEAD.decode(self._head)
        if not chains.catch_up(self._index, head):
            self._index.add(self._added, head.digest)  # larger than the tail: a process keeps what it has added itself
        commit, _ = chains.advance(self._index, head, news)
        assert commit is not None
        self._head, self._added = _HEAD.encode(commit.head), commit.added
        seconds = time.process_time() - started
        self.journal += commit.added
        return seconds, len(self._head) + sum(map(len, (*commit.added, *commit.copied)))


def deep_cycles(first: int, count: int) -> list[Deep]:
    """So many edges, in cycles of two, as a faulty library makes one for every user."""
    return [
        Deep(previous, 1, 1, True, {user: (1_700_000_000_000_000 + number, _uuid(f"{number}{previous}"))})
        for number in range(first // 2, (first + count) // 2)
        for previous, user in [
            (f"user-{number}@x.example", f"user-{number}"),
            (f"user-{number}", f"user-{number}@x.example"),
        ]
    ]


def _uuid(of: str) -> str:
    return str(uuid.UUID(bytes=hashlib.md5(of.encode(), usedforsecurity=False).digest()))


def deep_edges() -> None:
    """What a window with 100 new edges costs chains among 1,000,000 and among 1,000, and what it commits; the memory of
    the index, and how long it takes to make it anew."""
    gc.collect()
    gc.disable()
    many, few = Chains(MANY), Chains(1_000)
    ratios, commits = [], []
    for number in range(60):
        news = deep_cycles(MANY + 100 * number, 100)
        in_turn = (many, few) if number % 2 else (few, many)
        spent = {of: of.window(news) for of in in_turn}
        ratios.append(spent[many][0] / spent[few][0])
        commits.append(spent[many][1])
    _print(f"100 new edges among {MANY:,} in chains, against 1,000", statistics.median(ratios), DEEP_GOAL)
    print(f"  bytes of a commit {max(commits):,}   goal: at most {COMMIT_GOAL:,}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        path.write_bytes(msgspec.msgpack.encode(many.journal))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            seconds, size = process.submit(_make_index, path).result()
    print(f"  bytes of memory an edge {size / MANY:.0f}   goal: at most {EDGE_GOAL}; made anew in {seconds:.1f} s")


def _make_index(path: Path) -> tuple[float, int]:
    """The seconds of CPU and the bytes of memory that an index takes, in a process of its own."""
    journal = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
    before, started = _resident(), time.process_time()
    index = ChainsIndex()
    index.add(journal, b"")
    return time.process_time() - started, _resident() - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * resource.getpagesize()


def many_ids() -> None:
    """Cost a message with 10,000 ids and with 1,000,000."""
    few, many = 5_000, 500_000
    ratios = []
    for _ in range(_ROUNDS):
        small = statistics.median(run(list(people(few))).usual for _ in range(5)) / (2 * few)
        large = run(list(people(many))).usual / (2 * many)
        ratios.append(large / small)
    _print("1,000,000 ids against 10,000", statistics.median(ratios), IDS_GOAL)


def long_chains(count: int = 100_000) -> None:
    """Cost a message in chains of two aliases, and of 1,000."""
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


def heavy_keys(neighbours_count: int = 20_000) -> None:
    """Cost a message of a heavy key against the usual one, and what its neighbours pay."""
    usual = list(people(neighbours_count))
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


def heavy_account(calls: int = MANY) -> None:
    """Cost a message of an account that so many calls name, against accounts that two calls name each."""
    ratios = []
    for _ in range(_ROUNDS):
        usual, heavy = (_name_accounts(calls, accounts) for accounts in (calls // 2, 1))
        ratios.append(heavy / usual)
    _print(f"an account with {calls:,} members, a message", statistics.median(ratios), HEAVY_GOAL)


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
    moved = 0
    for count in (1_000, 10_000, 100_000):
        arrivals = [Member(f"anonymous-{number:08}", (0, 1), Known()) for number in range(count)]
        edges = [Known(out={f"user-{number:08}": _stamp(number)}) for number in range(count)]
        moved = _window(
            "ids of a contact",
            count,
            household.HouseholdState,
            partial(household.step, Hop(1, False)),
            arrivals,
            Member("new", (0, 1), Known()),
        )
        _window("edges out of one id", count, person.PersonState, person.step, edges, Known(out={"new": _stamp(count)}))
    print(f"  bytes that one more of 100,000 ids reads and writes {moved:,}   goal: at most {CROWD_GOAL:,}")


def _stamp(number: int) -> tuple[int, str]:
    return 1_700_000_000_000_000 + number, f"message-{number:08}-0000"


def _window(what: str, count: int, state: Any, step: Callable[..., Any], inbox: list[Any], news: object) -> int:
    """Returns the bytes that are read and written. A crowd is kept apart, and not needed here."""
    coder = StructCoder(state)
    before = step("key", None, inbox)[0]
    encoded, apart = coder.encode(_without_crowd(before)), sum(map(len, getattr(before, "crowd", ())))
    seconds, moved = [], 0
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        after = step("key", coder.decode(encoded), [news])[0]
        written = len(coder.encode(_without_crowd(after))) + sum(map(len, getattr(after, "crowd", ())))
        seconds.append(time.perf_counter() - started)
        moved = len(encoded) + written
    size = (len(encoded) + apart) / 1e6
    print(f"  {count:7,} {what:<26} {size:6.2f} MB {moved / 1e6:6.2f} MB moved {min(seconds) * 1e3:8.1f} ms")
    return moved


def _without_crowd(state: Any) -> Any:
    return replace(state, crowd=()) if getattr(state, "crowd", ()) else state


def _print(what: str, ratio: float, goal: float) -> None:
    print(f"  {what:<50} {ratio:6.2f}   goal: at most {goal}")


def brief() -> None:
    """Prints what costs minutes with fewer people; `benchmarks.many_ids` has a million."""
    print("Identity (ratio of the costs of a message)")
    long_chains(30_000)
    renamed_users(100_000)
    heavy_keys(5_000)
    heavy_account(200_000)
    over_windows()


def main() -> None:
    print("Identity (ratio of the costs of a message)")
    many_ids()
    long_chains()
    renamed_users()
    deep_edges()
    heavy_keys()
    heavy_account()
    over_windows()


if __name__ == "__main__":
    main()
