"""What a running job shows of itself."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Mapping

import pytest
from rich.console import Console

from pipeline import progress
from pipeline.progress import Expected, Progress
from transforms import metrics

READ_BYTES, LOG_ROWS = metrics.READ_BYTES.name, metrics.LOG_ROWS.name


def report(messages: int = 0, dead_letters: int = 0) -> None:
    """What a step reports when a bundle ends."""
    metrics.Tally({metrics.RECEIVED.name: messages, metrics.OUTCOMES.of("dead_letter"): dead_letters}).report()


def report_often() -> None:
    for _ in range(1000):
        report(messages=2, dead_letters=1)


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console(is_terminal: bool, file: io.StringIO | None = None) -> Console:
    return Console(file=file or io.StringIO(), force_terminal=is_terminal, width=80, _environ={"TERM": "xterm"})


def test_steps_report_from_any_thread() -> None:
    shown = Progress(console=console(False), clock=Clock())
    with shown.observing():
        threads = [threading.Thread(target=report_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report(messages=5)
    assert shown.line().startswith("8,000 messages, "), "and only while the block lasts"
    assert "4,000 dead letters" in shown.line()


def test_the_line_gives_the_rate_of_late() -> None:
    clock = Clock()
    shown = Progress(console=console(False), interval=2.5, clock=clock)
    lines = [shown.line()]
    with shown.observing():
        for seconds, messages, dead_letters in [(2, 5000, 0), (2, 5000, 3), (4, 0, 0), (3600, 1_000_000, 0)]:
            clock.now += seconds
            report(messages, dead_letters)
            lines.append(shown.line())
    assert lines == [
        "0 messages, 0/s, 0:00:00",
        "5,000 messages, 2,500/s, 0:00:02",
        "10,000 messages, 2,500/s, 3 dead letters, 0:00:04",
        "10,000 messages, 833/s, 3 dead letters, 0:00:08",
        "1,010,000 messages, 277/s, 3 dead letters, 1:00:08",
    ]


def test_the_lag_is_told_where_there_is_one() -> None:
    shown = Progress(console=console(False), clock=Clock())
    with shown.observing():
        for lag_ms in (700, 1234, 900):
            metrics.observe(metrics.LAG, lag_ms)
    assert shown.line() == "0 messages, 0/s, lag 1.2 s, 0:00:00"


def test_of_a_job_that_ends_the_phase_its_part_and_the_time_left_are_told() -> None:
    clock = Clock()
    shown = Progress(expected=Expected(bytes=1_000_000, log_rows=400), console=console(False), clock=clock)
    lines = [shown.line()]
    reported: list[tuple[float, Mapping[str, int]]] = [
        (1, {LOG_ROWS: 100}),
        (1, {LOG_ROWS: 300}),
        (10, {READ_BYTES: 250_000, metrics.RECEIVED.name: 5000}),
        (10, {READ_BYTES: 500_000, metrics.RECEIVED.name: 5000, metrics.OUTCOMES.of("dead_letter"): 2}),
        (10, {READ_BYTES: 250_000, metrics.RECEIVED.name: 5000}),
    ]
    with shown.observing():
        for seconds, counts in reported:
            clock.now += seconds
            metrics.Tally(counts).report()
            lines.append(shown.line())
        clock.now += 5
        metrics.tell(metrics.PUBLISHING)
        lines.append(shown.line())
    assert lines == [
        "reading 0%, 0 messages, 0/s, 0:00:00",
        "reading history 25%, 100 calls of earlier jobs, 0:00:01",
        "reading 0%, 0 messages, 0/s, 0:00:02",
        "reading 25%, 0:00:30 left, 5,000 messages, 500/s, 0:00:12",
        "reading 75%, 0:00:06 left, 10,000 messages, 500/s, 2 dead letters, 0:00:22",
        "resolving, 15,000 messages, 2 dead letters, 0:00:32",
        "publishing, 15,000 messages, 2 dead letters, 0:00:37",
    ]


def test_history_is_no_message_of_the_input() -> None:
    shown = Progress(expected=Expected(log_rows=10), console=console(False), clock=Clock())
    with shown.observing():
        metrics.Tally({LOG_ROWS: 10}).report()
    assert shown.line() == "resolving, 0 messages, 0:00:00"


def test_a_file_that_was_cut_meanwhile_does_not_hide_that_keys_are_resolved() -> None:
    shown = Progress(expected=Expected(bytes=100), console=console(False), clock=Clock())
    with shown.observing():
        metrics.Tally({READ_BYTES: 90}).report()
        assert shown.line().startswith("reading 90%, ")
        metrics.observe(metrics.WINDOW_KEYS, 12)
    assert shown.line().startswith("resolving, ")


def test_of_a_job_without_end_the_rows_of_each_table_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    clock = Clock()
    stored = {"events": 1_234_567, "identity_calls": 45_678, "contacts": 9_876, "accounts": 543, "identities": 9_999}
    asked = []

    def rows() -> Mapping[str, int]:
        asked.append(clock.now)
        return stored

    shown = Progress(rows=rows, console=console(True, file), clock=clock)
    shown_once(shown, monkeypatch)
    assert "events 1,234,567, identity_calls 45,678, contacts 9,876, accounts 543" in file.getvalue()
    assert "identities 9,999" in file.getvalue()
    clock.now += 1.9
    assert shown.rows() == stored
    assert len(asked) == 1, "and no more than every two seconds"


def test_in_a_log_the_rows_follow_the_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    shown = Progress(rows=lambda: {"events": 3, "contacts": 1}, console=console(False), clock=Clock())
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        shown_once(shown, monkeypatch)
    assert caplog.messages == ["0 messages, 0/s, 0:00:00; rows: events 3, contacts 1"]


class Once(threading.Event):
    """An event that a waiting thread finds unset once, then set."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return len(self.waited) > 1


def shown_once(shown: Progress, monkeypatch: pytest.MonkeyPatch) -> Once:
    """Runs the block of a progress whose thread shows one frame, whatever the time."""
    once = Once()
    monkeypatch.setattr(shown, "_ended", once)
    with shown:
        pass
    return once


def test_elsewhere_it_logs_at_intervals(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    file = io.StringIO()
    shown = Progress(console=console(False, file), interval=7, clock=Clock())
    with shown.observing():
        report(messages=12)
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        once = shown_once(shown, monkeypatch)
    assert caplog.messages == ["12 messages, 0/s, 0:00:00"]
    assert once.waited == [7, 7]
    assert file.getvalue() == ""


def test_on_a_terminal_it_is_one_line_that_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.StringIO()
    shown = Progress(console=console(True, file), clock=Clock())
    with shown.observing():
        report(messages=12)
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        shown_once(shown, monkeypatch)
    written = file.getvalue()
    assert "12 messages, 0/s, 0:00:00" in written
    assert written.rindex("\x1b[2K") > written.rindex("messages"), "the line is erased"
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is back"
    assert caplog.messages == []


def test_a_dumb_terminal_gets_log_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with caplog.at_level(logging.INFO, logger=progress.__name__):
        shown_once(Progress(console=dumb, clock=Clock()), monkeypatch)
    assert len(caplog.messages) == 1


class Gone(io.StringIO):
    """A terminal that has gone away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("file", [Gone(), io.StringIO()])
def test_a_terminal_that_goes_away_does_not_end_the_job(
    file: io.StringIO, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    shown = Progress(console=console(True, file), clock=Clock())
    if not isinstance(file, Gone):
        file.close()
    shown_once(shown, monkeypatch)
    assert not recwarn.list, "nothing was raised in its thread either"


def test_log_records_go_above_the_line_and_then_where_they_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    shown = Progress(console=console(True, terminal), clock=Clock())

    def line() -> str:
        logging.getLogger().error("something happened")
        return "the line"

    monkeypatch.setattr(shown, "line", line)
    shown_once(shown, monkeypatch)
    written = terminal.getvalue()
    assert written.index("something happened") < written.index("the line")
    assert handler.stream is terminal


def test_an_error_of_the_job_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), Progress(console=console(True), clock=Clock()):
        raise ZeroDivisionError
    assert "progress" not in [thread.name for thread in threading.enumerate()]
