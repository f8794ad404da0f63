"""A sink in memory that fails as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from receiver.sink import Message, MessageRefused, Unavailable


class MemorySink:
    """`stored` are the messages that it has taken, `asked` how often it was asked to. While `is_away` it takes none,
    after `delay_s`, and never more than `most` at a time; those that `refuses` names it never takes. `start_problem` is
    what its start raises."""

    def __init__(self) -> None:
        self.stored: list[Message] = []
        self.asked = 0
        self.is_away = False
        self.delay_s = 0.0
        self.most = 10_000
        self.refuses: Callable[[Message], bool] = lambda message: False
        self.start_problem: str | None = None
        self.is_closed = False

    async def start(self) -> None:
        if self.start_problem is not None:
            raise Unavailable(self.start_problem)

    async def store(self, messages: Sequence[Message]) -> None:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.is_away or self.is_closed or len(messages) > self.most:
            raise Unavailable("the sink is away")
        if any(map(self.refuses, messages)):
            raise MessageRefused("the sink does not like it")
        self.stored += messages

    def problem(self) -> str | None:
        return "the sink is away" if self.is_away else None

    async def close(self) -> None:
        self.is_closed = True
