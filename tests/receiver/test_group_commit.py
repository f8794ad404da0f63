"""Group commit: one thread, one commit for all that wait, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from receiver.group_commit import GroupCommit
from receiver.sink import Unavailable


class Recording:
    """A committer that keeps what it is given. A commit takes `commit_s`; of an item that is a str it says that it is
    not durable, and an exception it raises."""

    def __init__(self) -> None:
        self.groups: list[list[object]] = []
        self.threads: set[str] = set()
        self.commit_s = 0.0
        self.ticks = 0
        self.pause: float | None = None
        self.is_closed = False

    def commit(self, items: Sequence[object]) -> Sequence[str | None]:
        time.sleep(self.commit_s)
        self.threads.add(threading.current_thread().name)
        self.groups.append([*items])
        for item in items:
            if isinstance(item, Exception):
                raise item
        return [item if isinstance(item, str) else None for item in items]

    def tick(self) -> float | None:
        self.ticks += 1
        return self.pause

    def close(self) -> None:
        self.is_closed = True

    @property
    def items(self) -> list[object]:
        return [item for group in self.groups for item in group]


def run(use: Callable[[GroupCommit[object], Recording], Awaitable[None]], timeout_s: float = 20.0) -> Recording:
    async def used() -> Recording:
        committer = Recording()
        commits: GroupCommit[object] = GroupCommit(committer, "the disk", timeout_s)
        try:
            await use(commits, committer)
        finally:
            await commits.close()
        return committer

    return asyncio.run(used())


def test_what_comes_during_a_commit_is_committed_together_next() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.commit_s = 1.0
        first = asyncio.ensure_future(commits.commit(0))
        await asyncio.sleep(0.3)
        committer.commit_s = 0.0
        await asyncio.gather(first, *(commits.commit(number) for number in range(1, 100)))
        assert committer.groups == [[0], [*range(1, 100)]]

    assert run(use).threads == {"group-commit"}


def test_each_item_has_its_own_outcome() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        outcomes = await asyncio.gather(*map(commits.commit, (1, "full", 2, "torn")), return_exceptions=True)
        assert [str(outcome) if outcome else None for outcome in outcomes] == [None, "full", None, "torn"]

    run(use)


def test_an_error_that_nobody_expects_is_told_and_the_thread_goes_on() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        with pytest.raises(Unavailable, match=r"^the disk: ZeroDivisionError: what$"):
            await commits.commit(ZeroDivisionError("what"))
        await commits.commit(1)

    run(use)


def test_the_event_loop_goes_on_during_a_commit_and_a_request_does_not_wait_for_ever() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.commit_s = 3.0
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"^the disk has not answered for 0\.1 s$"):
            await commits.commit(1)
        later = asyncio.ensure_future(commits.commit(2))  # refused at once: nothing may pile up meanwhile
        await asyncio.wait([later])
        assert time.monotonic() - began < 2.4
        assert commits.is_overdue
        with pytest.raises(Unavailable):
            later.result()
        while commits.is_overdue:
            await asyncio.sleep(0.01)
        committer.commit_s = 0.0
        await commits.commit(3)

    assert run(use, 0.1).items == [1, 3]


def test_what_its_request_has_given_up_is_not_committed() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.commit_s = 0.1
        first = asyncio.ensure_future(commits.commit(1))
        await asyncio.sleep(0.05)
        given_up = asyncio.ensure_future(commits.commit(2))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(first, commits.commit(3))

    assert run(use).items == [1, 3]


def test_the_committer_does_what_is_due_though_nothing_comes() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.pause = 0.01
        await commits.commit(1)
        end = time.monotonic() + 10
        while committer.ticks < 5 and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert committer.ticks >= 5

    run(use)


def test_an_error_of_what_is_due_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.tick = lambda: 1 / 0  # type: ignore[method-assign]
        await commits.commit(1)
        await commits.commit(2)

    run(use)
    assert "the disk: ZeroDivisionError: division by zero" in caplog.text


def test_close_commits_what_waits_and_takes_no_more() -> None:
    async def use(commits: GroupCommit[object], committer: Recording) -> None:
        committer.commit_s = 0.05
        waiting = [asyncio.ensure_future(commits.commit(number)) for number in range(3)]
        await asyncio.sleep(0)
        await commits.close()
        await asyncio.gather(*waiting)
        assert committer.is_closed
        with pytest.raises(Unavailable, match=r"^the receiver is stopping$"):
            await commits.commit(4)

    assert run(use).items == [0, 1, 2]
