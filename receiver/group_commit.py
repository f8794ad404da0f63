"""Group commit: one thread makes durable what waits, all of it at once, while what comes meanwhile gathers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from receiver.sink import Unavailable

TIMEOUT_S: Final = 3.0
"""How long a request waits for the disk: those that deliver to us wait no longer than 5 s."""

_AGAIN_S: Final = 1.0

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Committed = TypeVar("Committed", contravariant=True)


class Committer(Protocol[Committed]):
    """What one thread writes with. All of its methods are called in that thread."""

    def commit(self, items: Sequence[Committed]) -> Sequence[str | None]:
        """Makes the items durable. For each item: None, or in one line why it is not."""

    def tick(self) -> float | None:
        """Does what is due by the clock; returns in how many seconds something is due again, None for nothing."""

    def close(self) -> None:
        """Releases everything."""


class _Batch(Generic[Item]):
    """The items that came in one turn of the event loop, and what the request of each waits for."""

    __slots__ = ("items", "waiting")

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.waiting: list[asyncio.Future[None]] = []

    def add_undone(self, items: list[Item], waiting: list[asyncio.Future[None]]) -> None:
        """Adds the items whose requests wait. Who has given up sends again: its item need not be written twice."""
        if not any(map(asyncio.Future.done, self.waiting)):
            items += self.items
            waiting += self.waiting
            return
        for item, done in zip(self.items, self.waiting, strict=True):
            if not done.done():
                items.append(item)
                waiting.append(done)

    @property
    def is_done(self) -> bool:
        """Whether nobody waits any more."""
        return all(map(asyncio.Future.done, self.waiting))


class GroupCommit(Generic[Item]):
    """The thread that writes with a committer, for the coroutines of one event loop. `place` is what the committer
    writes to, for errors.

    What is done for each item is little: items are handed to the thread, and watched, a batch at a time."""

    def __init__(self, committer: Committer[Item], place: str, timeout_s: float | None = None) -> None:
        self._committer = committer
        self._place = place
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self._loop = asyncio.get_running_loop()
        self._gathering: _Batch[Item] | None = None
        """The batch of this turn of the event loop."""
        self._handed_over: queue.SimpleQueue[_Batch[Item] | None] = queue.SimpleQueue()
        """What waits for the thread; None is the last."""
        self._is_closing = False
        self._committing_since: float | None = None
        self._watched: deque[tuple[float, _Batch[Item]]] = deque()
        """Until when each batch waits, the first first."""
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def commit(self, item: Item) -> asyncio.Future[None]:
        """A future that is done once the item is durable; it raises Unavailable where it will not be."""
        done = self._loop.create_future()
        batch = self._gathering
        if batch is None:
            if self.is_overdue or self._is_closing:
                done.set_exception(self._overdue() if self.is_overdue else Unavailable("the receiver is stopping"))
                return done
            batch = self._gathering = _Batch()
            self._loop.call_soon(self._hand_over)
        batch.items.append(item)
        batch.waiting.append(done)
        return done

    def _hand_over(self) -> None:
        """Gives the thread what has gathered."""
        batch, self._gathering = self._gathering, None
        if batch is not None:
            self._watch(batch)
            self._handed_over.put(batch)

    def _watch(self, batch: _Batch[Item]) -> None:
        """Has them given up in time: one timer is for all that wait, since most wait for a moment only."""
        self._forget_done()
        self._watched.append((self._loop.time() + self._timeout_s, batch))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._give_up)

    def _forget_done(self) -> None:
        while self._watched and self._watched[0][1].is_done:
            self._watched.popleft()

    def _give_up(self) -> None:
        now = self._loop.time()
        while self._watched and self._watched[0][0] <= now:
            for done in self._watched.popleft()[1].waiting:
                if not done.done():
                    done.set_exception(self._overdue())
        self._forget_done()
        self._timer = self._loop.call_at(self._watched[0][0], self._give_up) if self._watched else None

    @property
    def is_overdue(self) -> bool:
        """Whether the disk has been busy with one commit for longer than a request waits."""
        since = self._committing_since
        return since is not None and time.monotonic() > since + self._timeout_s

    async def close(self) -> None:
        """Commits what waits, and closes the committer."""
        self._is_closing = True
        self._hand_over()
        self._handed_over.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        if self._timer is not None:
            self._timer.cancel()

    def _overdue(self) -> Unavailable:
        return Unavailable(f"{self._place} has not answered for {self._timeout_s:g} s")

    # ---- the thread ----

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batches = self._next_batches()
            is_last = None in batches
            items: list[Item] = []
            waiting: list[asyncio.Future[None]] = []
            for batch in batches:
                if batch is not None:
                    batch.add_undone(items, waiting)
            if items:
                self._commit(items, waiting)
        self._committer.close()

    def _next_batches(self) -> list[_Batch[Item] | None]:
        """What waits; nothing where something is due by the clock."""
        batches: list[_Batch[Item] | None] = []
        with contextlib.suppress(queue.Empty):
            batches.append(self._handed_over.get(timeout=self._tick()))
            while not self._handed_over.empty():
                batches.append(self._handed_over.get_nowait())
        return batches

    def _tick(self) -> float | None:
        try:
            return self._committer.tick()
        except Exception as error:  # whatever it is, the thread goes on
            _log.error("%s: %s: %s", self._place, type(error).__name__, error)
            return _AGAIN_S

    def _commit(self, items: Sequence[Item], waiting: Sequence[asyncio.Future[None]]) -> None:
        self._committing_since = time.monotonic()
        problems: Sequence[str | None]
        try:
            problems = self._committer.commit(items)
        except Exception as error:  # whatever it is, those that wait are told, and the thread goes on
            problems = [f"{self._place}: {type(error).__name__}: {error}"] * len(items)
        self._committing_since = None
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it all that wait
            self._loop.call_soon_threadsafe(_settle, waiting, problems)


def _settle(waiting: Sequence[asyncio.Future[None]], problems: Sequence[str | None]) -> None:
    for done, problem in zip(waiting, problems, strict=True):
        if done.done():
            continue
        if problem is None:
            done.set_result(None)
        else:
            done.set_exception(Unavailable(problem))
