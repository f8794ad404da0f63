"""What a running job shows: one live line on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.plurals import counted
from transforms import metrics

_LOGGER = logging.getLogger(__name__)

_DEAD_LETTER = metrics.OUTCOMES.of("dead_letter")
_FRAME_S = 0.25
_RATE_S = 5.0


class ReportedCounts:
    """What the steps of this process have reported: messages received, dead letters, and the milliseconds from the
    publication of a message until it was durable, the most since it was last asked for; None where no step tells."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages = 0
        self.dead_letters = 0
        self._lag_ms: int | None = None
        self._is_shown = False

    def counted(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self.messages += counts.get(metrics.RECEIVED.name, 0)
            self.dead_letters += counts.get(_DEAD_LETTER, 0)

    def observed(self, distribution: str, value: int) -> None:
        if distribution == metrics.LAG.name:
            with self._lock:
                self._lag_ms = value if self._is_shown or self._lag_ms is None else max(self._lag_ms, value)
                self._is_shown = False

    def lag_ms(self) -> int | None:
        with self._lock:
            self._is_shown = True
            return self._lag_ms


class Progress:
    """Shows what the steps of this process report while its block runs.

    On a terminal it is one line that is gone when the block ends; elsewhere it is a log record of level INFO every
    `interval` seconds. It works in a thread of its own: if the terminal goes away the line ends, and the job goes on.
    """

    def __init__(
        self,
        *,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = ReportedCounts()
        self._observing = contextlib.ExitStack()
        self._console = Console(stderr=True) if console is None else console
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._interval = _FRAME_S if is_live else interval
        self._clock = clock
        self._started_at = clock()
        self._samples = deque([(self._started_at, 0)], maxlen=max(1, int(_RATE_S / self._interval)))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show if is_live else self._log, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._observing.enter_context(self.observing())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._observing.close()

    def observing(self) -> AbstractContextManager[None]:
        """Counts what is reported while the block lasts; `with` the progress itself does so too."""
        return metrics.observed_by(self._counts)

    def line(self) -> str:
        """The line of this moment; the rate is that of the last seconds."""
        now, messages = self._clock(), self._counts.messages
        since, before = self._samples[0]
        self._samples.append((now, messages))
        rate = (messages - before) / (now - since) if now > since else 0.0
        elapsed = timedelta(seconds=int(now - self._started_at))
        lag_ms = self._counts.lag_ms()
        lag = "" if lag_ms is None else f"lag {lag_ms / 1000:.1f} s, "
        dead_letters = counted(self._counts.dead_letters, "dead letter")
        return f"{counted(messages, 'message')}, {rate:,.0f}/s, {lag}{dead_letters}, {elapsed}"

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
