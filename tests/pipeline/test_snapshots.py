"""When the copy of a warehouse is renewed, and what becomes of a job whose copy cannot be."""

from __future__ import annotations

import errno
import logging
import threading
import time

import pytest

from pipeline.snapshots import Snapshots


class Copy:
    """A copy that notes when it is renewed, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.renewed = 0
        self.thrice = threading.Event()
        self._failures = failures
        self._error = error or OSError(errno.ENOSPC, "No space left on device")

    def renew(self) -> bool:
        self.renewed += 1
        if self.renewed >= 3:
            self.thrice.set()
        if self.renewed <= self._failures:
            raise self._error
        return True


def test_it_is_renewed_at_once_and_then_at_intervals() -> None:
    copy = Copy()
    with Snapshots(copy, "s.duckdb", 0.001):
        assert copy.thrice.wait(10)
    renewed = copy.renewed
    assert "snapshots" not in [thread.name for thread in threading.enumerate()]
    assert copy.renewed == renewed, "and no more when the block has ended"


def test_the_first_copy_waits_for_no_interval() -> None:
    copy = Copy()
    with Snapshots(copy, "s.duckdb", 3600) as snapshots:
        pass
    snapshots.renew()
    assert 1 <= copy.renewed <= 2


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("it has failed")])
def test_a_failure_is_a_warning_and_is_tried_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    copy = Copy(2, error)
    with caplog.at_level(logging.WARNING), Snapshots(copy, "s.duckdb", 0.001):
        assert copy.thrice.wait(10)
    why = "No space left on device" if isinstance(error, OSError) else "it has failed"
    line = f"--snapshot=s.duckdb: cannot be written: {why}; the job goes on, and tries again"
    assert caplog.messages == [line, line]


def test_a_copy_that_takes_long_is_made_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = iter([0.0, 3.0, 100.0, 100.1])

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 2

    snapshots = Snapshots(Copy(), "s.duckdb", 10.0)
    monkeypatch.setattr(snapshots, "_ended", Ended())
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    snapshots._keep()
    assert waits == [0.0, 60.0, 10.0], "twenty times as long as the copy took, or as the option says"
