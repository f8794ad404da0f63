"""What the receiver hands on, and to whom: every sink makes messages durable, or says that it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the job reads as one message: `payload` is one JSON object with a `batch`, or bytes that are no JSON;
    `connection` is the name of the connection that the request was authenticated for."""

    connection: str
    payload: bytes


class Unavailable(Exception):
    """No durable place takes messages now. `retry_after_s` is when a client should try again."""

    def __init__(self, problem: str, *, retry_after_s: int = 5) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


class MessageRefused(Unavailable):
    """The place will never take one of these messages, however often it is tried; the others it would."""


class Sink(Protocol):
    """A durable place for messages."""

    async def start(self) -> None:
        """Makes the sink ready, in the running event loop. Raises Unavailable where it cannot be used at all."""

    def store(self, messages: Sequence[Message]) -> Awaitable[None]:
        """What is awaited is done once all of the messages, those of one request, are durable. It raises Unavailable
        otherwise: then some of them may be stored, and the client sends all of them again."""

    def problem(self) -> str | None:
        """Why a message would be refused now, in one line; None where it would be stored."""

    async def close(self) -> None:
        """Waits for what is being stored, and releases everything."""


class MessageObserver(Protocol):
    """Who sees each message once it is durable: the debugger."""

    def stored(self, message: Message) -> None:
        """Called in the event loop after the sink has stored the message; must return at once, and never raises."""
