"""Group commit: one thread makes durable what waits, all of it at once, while what comes meanwhile gathers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
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


_Waiting = tuple[Item, "asyncio.Future[None]"]
"""An item, and what its request waits for."""


class GroupCommit(Generic[Item]):
    """The thread that writes with a committer, for the coroutines of one event loop. `place` is what the committer
    writes to, for errors."""

    def __init__(self, committer: Committer[Item], place: str, timeout_s: float | None = None) -> None:
        self._committer = committer
        self._place = place
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[Item]] = []
        self._is_idle = False
        self._is_closing = False
        self._committing_since: float | None = None
        self._watched: deque[tuple[float, asyncio.Future[None]]] = deque()
        """Until when each waits, the first first."""
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    async def commit(self, item: Item) -> None:
        """Returns once the item is durable. Raises Unavailable."""
        if self.is_overdue:
            raise self._overdue()
        done: asyncio.Future[None] = self._loop.create_future()
        with self._changed:
            if self._is_closing:
                raise Unavailable("the receiver is stopping")
            self._waiting.append((item, done))
            if self._is_idle:
                self._changed.notify()
        self._watch(done)
        await done

    def _watch(self, done: asyncio.Future[None]) -> None:
        """Has it given up in time: one timer is for all that wait, since most wait for a moment only."""
        while self._watched and self._watched[0][1].done():
            self._watched.popleft()
        self._watched.append((self._loop.time() + self._timeout_s, done))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._give_up)

    def _give_up(self) -> None:
        now = self._loop.time()
        while self._watched and (self._watched[0][1].done() or self._watched[0][0] <= now):
            _, done = self._watched.popleft()
            if not done.done():
                done.set_exception(self._overdue())
        self._timer = self._loop.call_at(self._watched[0][0], self._give_up) if self._watched else None

    @property
    def is_overdue(self) -> bool:
        """Whether the disk has been busy with one commit for longer than a request waits."""
        since = self._committing_since
        return since is not None and time.monotonic() > since + self._timeout_s

    async def close(self) -> None:
        """Commits what waits, and closes the committer."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        await self._loop.run_in_executor(None, self._thread.join)
        if self._timer is not None:
            self._timer.cancel()

    def _overdue(self) -> Unavailable:
        return Unavailable(f"{self._place} has not answered for {self._timeout_s:g} s")

    # ---- the thread ----

    def _run(self) -> None:
        while group := self._next_group():
            # Who has given up waiting sends again: the item need not be written twice.
            group = [(item, done) for item, done in group if not done.done()]
            if group:
                self._commit(group)
        self._committer.close()

    def _next_group(self) -> list[_Waiting[Item]] | None:
        """What waits; None when there will be no more."""
        while True:
            pause = self._tick()
            with self._changed:
                self._is_idle = True
                self._changed.wait_for(lambda: self._waiting or self._is_closing, pause)
                self._is_idle = False
                group, self._waiting = self._waiting, []
                if group:
                    return group
                if self._is_closing:
                    return None

    def _tick(self) -> float | None:
        try:
            return self._committer.tick()
        except Exception as error:  # whatever it is, the thread goes on
            _log.error("%s: %s: %s", self._place, type(error).__name__, error)
            return _AGAIN_S

    def _commit(self, group: list[_Waiting[Item]]) -> None:
        self._committing_since = time.monotonic()
        problems: Sequence[str | None]
        try:
            problems = self._committer.commit([item for item, _ in group])
        except Exception as error:  # whatever it is, those that wait are told, and the thread goes on
            problems = [f"{self._place}: {type(error).__name__}: {error}"] * len(group)
        self._committing_since = None
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it all that wait
            self._loop.call_soon_threadsafe(_settle, group, problems)


def _settle(group: Sequence[_Waiting[Item]], problems: Sequence[str | None]) -> None:
    for (_, done), problem in zip(group, problems, strict=True):
        if done.done():
            continue
        if problem is None:
            done.set_result(None)
        else:
            done.set_exception(Unavailable(problem))
