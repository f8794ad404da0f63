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
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.plurals import counted
from transforms import metrics

_LOGGER = logging.getLogger(__name__)

_DEAD_LETTER = metrics.OUTCOMES.of("dead_letter")
_FRAME_S = 0.25
_RATE_S = 5.0
_ROWS_S = 2.0
"""So seldom the rows of the tables are counted, at most."""
_KNOWN = 0.01
"""From this part on it can be told how long the rest will take."""
_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a job that ends has to read: bytes of files as they are stored, and entries of the log of earlier jobs."""

    bytes: int = 0
    log_rows: int = 0


class ReportedCounts:
    """What the steps of this process have reported: messages and bytes of the input, entries of the log that were read
    again, dead letters, whether keys are resolved and whether their rows are shown; and the milliseconds from the
    publication of a message until it was durable, the most since it was last asked for; None where no step tells."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages = 0
        self.bytes = 0
        self.log_rows = 0
        self.dead_letters = 0
        self.is_resolving = False
        self.is_publishing = False
        self._lag_ms: int | None = None
        self._is_shown = False

    def counted(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self.messages += counts.get(metrics.RECEIVED.name, 0)
            self.bytes += counts.get(metrics.READ_BYTES.name, 0)
            self.log_rows += counts.get(metrics.LOG_ROWS.name, 0)
            self.dead_letters += counts.get(_DEAD_LETTER, 0)
            self.is_publishing = self.is_publishing or metrics.PUBLISHING in counts

    def observed(self, distribution: str, value: int) -> None:
        if distribution == metrics.LAG.name:
            with self._lock:
                self._lag_ms = value if self._is_shown or self._lag_ms is None else max(self._lag_ms, value)
                self._is_shown = False
        elif distribution == metrics.WINDOW_KEYS.name:
            self.is_resolving = True

    def lag_ms(self) -> int | None:
        with self._lock:
            self._is_shown = True
            return self._lag_ms


class Progress:
    """Shows what the steps of this process report while its block runs.

    On a terminal it is a line or some that are gone when the block ends; elsewhere it is a log record of level INFO
    every `interval` seconds. It works in a thread of its own: if the terminal goes away the line ends, and the job goes
    on. Of a job that ends with its input, `expected` gives the phase, and the part that was read; of one without end,
    `rows` gives how many rows each table has.
    """

    def __init__(
        self,
        *,
        expected: Expected | None = None,
        rows: Callable[[], Mapping[str, int]] | None = None,
        interval: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = ReportedCounts()
        self._expected = expected
        self._rows = rows
        self._shown_rows: Mapping[str, int] = {}
        self._rows_at = -_ROWS_S
        self._observing = contextlib.ExitStack()
        self._console = Console(stderr=True) if console is None else console
        is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._interval = _FRAME_S if is_live else interval
        self._clock = clock
        self._started_at = clock()
        self._phase = ""
        self._phase_at = self._started_at
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
        counts = self._counts
        now, messages = self._clock(), counts.messages
        since, before = self._samples[0]
        self._samples.append((now, messages))
        rate = (messages - before) / (now - since) if now > since else 0.0
        lag_ms = counts.lag_ms()
        parts = [
            *self._phase_parts(now),
            *self._read_parts(messages, rate),
            *([] if lag_ms is None else [f"lag {lag_ms / 1000:.1f} s"]),
            *([counted(counts.dead_letters, "dead letter")] if counts.dead_letters else []),
            f"{timedelta(seconds=int(now - self._started_at))}",
        ]
        return ", ".join(parts)

    def _read_parts(self, messages: int, rate: float) -> Iterator[str]:
        """What was read, and how fast; of the history, which is no input, its calls."""
        if self._phase == _HISTORY:
            yield counted(self._counts.log_rows, "call of earlier jobs", "calls of earlier jobs")
            return
        yield counted(messages, "message")
        if self._phase in ("", _READING):
            yield f"{rate:,.0f}/s"

    def rows(self) -> Mapping[str, int]:
        """How many rows each table has, as of a moment ago; nothing of a job that ends."""
        now = self._clock()
        if self._rows is not None and now >= self._rows_at + _ROWS_S:
            self._shown_rows, self._rows_at = self._rows(), now
        return self._shown_rows

    def _phase_parts(self, now: float) -> Iterator[str]:
        """The phase that a job which ends is in, the part of it that is done, and how long the rest will take."""
        if self._expected is None:
            return
        phase, part = _phase(self._expected, self._counts)
        if phase != self._phase:
            self._phase, self._phase_at = phase, now
        if part is None:
            yield phase
            return
        yield f"{phase} {part:.0%}"
        elapsed = now - self._phase_at
        if part >= _KNOWN and elapsed:
            yield f"{timedelta(seconds=int(elapsed * (1 - part) / part))} left"

    def _log(self) -> None:
        while not self._ended.wait(self._interval):
            rows = ", ".join(f"{name} {count:,}" for name, count in self.rows().items())
            _LOGGER.info("%s%s", self.line(), f"; rows: {rows}" if rows else "")

    def _show(self) -> None:
        # What is printed meanwhile goes above the line, but never from a redirected stdout to the terminal.
        live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
        with contextlib.suppress(OSError, ValueError), live, _logs_to_stderr():  # the terminal was closed
            while not self._ended.wait(self._interval):
                lines = [self.line(), *_wrapped(self.rows())]
                live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)


_READING: Final = "reading"
_HISTORY: Final = "reading history"


def _phase(expected: Expected, counts: ReportedCounts) -> tuple[str, float | None]:
    """The phase, and the part of it that is done where that is known."""
    if counts.is_publishing:
        return "publishing", None
    if counts.is_resolving:
        return "resolving", None
    if counts.log_rows < expected.log_rows and (counts.log_rows or counts.bytes >= expected.bytes):
        return _HISTORY, counts.log_rows / expected.log_rows
    if counts.bytes < expected.bytes:
        return _READING, counts.bytes / expected.bytes
    return "resolving", None


def _wrapped(rows: Mapping[str, int]) -> Iterator[str]:
    """The rows of each table, in lines that fit a terminal."""
    line = ""
    for name, count in rows.items():
        part = f"{name} {count:,}"
        if line and len(line) + len(part) + 2 > _WIDTH:
            yield line
            line = ""
        line = f"{line}, {part}" if line else part
    if line:
        yield line


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
