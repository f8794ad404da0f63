"""Random histories of chains as a streaming job keeps it: work items that run twice, processes that come and go.

`python -m tests.transforms.kept_chains [--histories=20000] [--seed=0]` judges them by the replay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

from apache_beam.transforms.userstate import get_dofn_specs
from apache_beam.utils.timestamp import Timestamp

from judge import resolve
from tests.transforms.core.identity.dense import edges
from transforms import chains_journal
from transforms.chains_journal import chains_fn
from transforms.core.identity import chains, chains_index
from transforms.core.identity.chains import ChainsHead, ChainsState
from transforms.core.identity.protocol import CHAINS, Deep, Label

NOW_S = 1_700_000_000.0
AT = Timestamp(NOW_S)
PROCESSES = 3

Sent = list[tuple[str, Label]]
Cells = dict[str, tuple[bytes, ...]]


@dataclass
class Bag:
    """A bag of one key during a work item, and what of it is read and written."""

    coder: Any
    content: tuple[bytes, ...]
    read_bytes: int = 0
    written_bytes: int = 0

    def read(self) -> list[Any]:
        self.read_bytes += sum(map(len, self.content))
        return [self.coder.decode(element) for element in self.content]

    def add(self, value: Any) -> None:
        encoded = self.coder.encode(value)
        self.written_bytes += len(encoded)
        self.content = (*self.content, encoded)

    def clear(self) -> None:
        self.content = ()


@dataclass
class Timer:
    due: bool = False

    def set(self, at: Timestamp) -> None:
        self.due = True


@dataclass(frozen=True)
class Outcome:
    """What a work item puts out and writes, if it counts."""

    sent: Sent
    bags: dict[str, Bag]
    timer: Timer

    @property
    def cells(self) -> Cells:
        return {name: bag.content for name, bag in self.bags.items()}

    @property
    def read_bytes(self) -> int:
        return sum(bag.read_bytes for bag in self.bags.values())

    @property
    def written_bytes(self) -> int:
        return sum(bag.written_bytes for bag in self.bags.values())


class Key:
    """The one key of chains, and what work items do with it."""

    def __init__(self, page_bytes: int | None) -> None:
        self.observed: list[ChainsState] = []
        self.fn: Any = chains_fn(page_bytes, lambda: NOW_S, self.observed.append)
        bags, timers = get_dofn_specs(self.fn)
        self._coders = {bag.name: bag.coder for bag in bags}
        self._has_timer = bool(timers)
        self.cells: Cells = dict.fromkeys(self._coders, ())
        self.timer = Timer()

    def window(self, inbox: list[Deep]) -> Outcome:
        """A work item of messages; it counts when it is committed."""
        at = {"timestamp": AT} if self._has_timer else {}
        return self._run(self.fn.process, Timer(self.timer.due), gathered=(CHAINS, inbox), **at)

    def page(self) -> Outcome:
        """A work item of the timer."""
        return self._run(self.fn.put_out, Timer())

    def _run(self, process: Callable[..., Iterator[Any]], timer: Timer, **given: Any) -> Outcome:
        bags = {name: Bag(self._coders[name], content) for name, content in self.cells.items()}
        if self._has_timer:
            given["timer"] = timer
        self.fn.start_bundle()
        values = [getattr(output.value, "value", output.value) for output in process(**given, **bags)]
        return Outcome(values, bags, timer)

    def head(self) -> ChainsHead:
        """The head of the journal."""
        (encoded,) = self.cells["head"]
        head: ChainsHead = self._coders["head"].decode(encoded)
        return head

    def commit(self, outcome: Outcome) -> Sent:
        """Has an outcome count."""
        self.cells, self.timer = outcome.cells, outcome.timer
        return outcome.sent


@dataclass
class Judge:
    """What chains was told, and what it has sent."""

    edges: dict[tuple[str, str], Any] = field(default_factory=dict)
    deep: dict[str, dict[int, tuple[int, bool]]] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)

    def learn(self, message: Deep) -> None:
        for user, stamp in message.edges.items():
            self.edges[message.id, user] = min(stamp, self.edges.get((message.id, user), stamp))
        hops = self.deep.setdefault(message.id, {})
        hops[message.hop] = max(hops.get(message.hop, (0, False)), (message.version, message.is_deep))

    def receive(self, sent: Sent) -> None:
        for id, label in sent:
            if id not in self.labels or label.version > self.labels[id].version:
                self.labels[id] = label

    def is_right(self) -> bool:
        resolved = resolve([(stamp, previous, user) for (previous, user), stamp in self.edges.items()])
        deep = {id for id, hops in self.deep.items() if any(is_deep for _, is_deep in hops.values())}
        labels = {id: resolved.get(id, id) for id in deep}
        labels |= {label: label for label in labels.values() if label not in labels}
        return {id: label.label for id, label in self.labels.items() if label.label is not None} == labels


@contextmanager
def small(rng: Random) -> Iterator[None]:
    """Bounds that a handful of edges reaches."""
    with (
        mock.patch.object(chains, "TAIL_BYTES", rng.choice((0, 200, 24_000))),
        mock.patch.object(chains, "COPIED_BYTES", rng.choice((1, 100, 1_000))),
        mock.patch.object(chains, "OUT_OF_DATE_BYTES", rng.choice((-10_000, 0, 24_000))),
        mock.patch.object(chains_index, "NODES", rng.choice((2, 10_000))),
        mock.patch.object(chains_journal, "FEW", 0),
        mock.patch.object(chains_journal, "UNCOMMITTED_BYTES", rng.choice((0, 16_000_000))),
    ):
        yield


def messages(rng: Random) -> list[Deep]:
    """What the stages of depth tell of some edges: each edge some time after it, and deep or not as it comes."""
    waiting: list[Deep] = []
    versions: dict[tuple[str, int], int] = {}
    for stamp, previous, user in edges(rng):
        for hop in rng.sample((1, 2, 3), rng.randint(1, 2)):
            version = versions[previous, hop] = versions.get((previous, hop), 0) + 1
            is_deep = rng.random() < 0.8
            waiting.append(Deep(previous, hop, version, is_deep, {user: stamp} if is_deep else {}))
    return waiting


def is_right(seed: int) -> bool:
    """Whether the newest labels are those of the replay, after all that came until then."""
    rng = Random(seed)
    key, judge = Key(rng.choice((None, 20, 10_000))), Judge()
    waiting = messages(rng)
    rng.shuffle(waiting)
    processes = [chains_journal.OneIndex() for _ in range(PROCESSES)]
    with small(rng):
        while waiting or key.timer.due:
            if rng.random() < 0.1:
                processes[rng.randrange(PROCESSES)] = chains_journal.OneIndex()
            is_page = key.timer.due and (not waiting or rng.random() < 0.4)
            runs: list[tuple[Outcome, list[Deep]]] = []
            for _ in range(rng.choice((1, 1, 2, 3))):
                with mock.patch.object(chains_journal, "_INDEX", rng.choice(processes)):
                    inbox = [] if is_page else rng.sample(waiting, rng.randint(1, min(4, len(waiting))))
                    repeated = inbox * rng.choice((1, 1, 2))
                    runs.append((key.page() if is_page else key.window(repeated), inbox))
            outcome, inbox = rng.choice(runs)
            judge.receive(key.commit(outcome))
            for message in inbox:
                judge.learn(message)
                if rng.random() < 0.9:
                    waiting.remove(message)
            if not key.timer.due and not judge.is_right():
                return False
    return key.head().edges == len(judge.edges)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.transforms.kept_chains")
    parser.add_argument("--histories", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong = [seed for seed in range(given.seed, given.seed + given.histories) if not is_right(seed)]
    print(f"{given.histories:,} histories of chains: {len(wrong):,} differences {wrong[:20] or ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
