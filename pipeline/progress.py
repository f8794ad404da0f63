"""What a running job shows: one live line on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

_LOGGER = logging.getLogger(__name__)

_FRAME_S = 0.25
_RATE_S = 5.0


class Tally:
    """Counts what this process has read and refused, from any thread; `unreadable` are lines on files read in part.
    `lag_ms` is how long after its publication the last message was durable, None where there is no such time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages = 0
        self.dead_letters = 0
        self.lag_ms: int | None = None
        self.unreadable: list[str] = []

    def clear(self) -> None:
        """Starts anew, for the next job of this process."""
        with self._lock:
            self.messages = self.dead_letters = 0
            self.lag_ms = None
            self.unreadable = []

    def add(self, messages: int = 0, dead_letters: int = 0, unreadable: str | None = None) -> None:
        """Adds the counts of a batch, and the line on a file once, however often its bundle is tried."""
        with self._lock:
            self.messages += messages
            self.dead_letters += dead_letters
            if unreadable is not None and unreadable not in self.unreadable:
                self.unreadable.append(unreadable)


TALLY = Tally()
"""This process's own. Steps that run in other processes, as on Dataflow, add to theirs, and nothing shows here."""


class Progress:
    """Shows a tally as long as its block runs.

    On a terminal it is one line that is gone when the block ends; elsewhere it is a log record of level INFO every
    `interval` seconds. It works in a thread of its own: if the terminal goes away the line ends, and the job goes on.
    """

    def __init__(
        self,
        tally: Tally = TALLY,
        *,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tally = tally
        self._console = Console(stderr=True) if console is None else console
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._interval = _FRAME_S if is_live else interval
        self._clock = clock
        self._started_at = clock()
        self._samples = deque([(self._started_at, tally.messages)], maxlen=max(1, int(_RATE_S / self._interval)))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show if is_live else self._log, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def line(self) -> str:
        """What there is to say now; the rate is that of the last seconds."""
        now, messages = self._clock(), self._tally.messages
        since, before = self._samples[0]
        self._samples.append((now, messages))
        rate = (messages - before) / (now - since) if now > since else 0.0
        elapsed = timedelta(seconds=int(now - self._started_at))
        lag = "" if self._tally.lag_ms is None else f"lag {self._tally.lag_ms / 1000:.1f} s, "
        return f"{messages:,} messages, {rate:,.0f}/s, {lag}{self._tally.dead_letters:,} dead letters, {elapsed}"

    def _log(self) -> None:
        while not self._ended.wait(self._interval):
            _LOGGER.info("%s", self.line())

    def _show(self) -> None:
        # What is printed meanwhile goes above the line, but never from a redirected stdout to the terminal.
        live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
        with contextlib.suppress(OSError, ValueError), live, _logs_to_stderr():  # the terminal was closed
            while not self._ended.wait(self._interval):
                live.update(Text(self.line(), no_wrap=True, overflow="crop"), refresh=True)


@contextlib.contextmanager
def _logs_to_stderr() -> Iterator[None]:
    """Has the root logger's handlers write to the `sys.stderr` of now, and afterwards where they wrote before."""
    redirected = [
        (handler, handler.stream)
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__
    ]
    for handler, _ in redirected:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in redirected:
            handler.setStream(stream)
