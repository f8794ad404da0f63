"""The command `segment-pipeline`, and `python -m pipeline`."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from pipeline import command_line
from pipeline.command_line import INTERRUPTED_STATUS, USAGE_STATUS, OutputError, print_error

_PROGRAM = "segment-pipeline"
_INTERRUPTED = "interrupted; the same command continues from what was written"
_NOT_READ_STATUS = 1
_STOPS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"
_STOPPING = "stopping: it writes what was read and closes the window; Ctrl-C again ends it at once"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job that the arguments ask for. A job without end is done when it is told to stop.

    Returns 0 when it is done, or was stopped; 1 where a file of the input was lost or nothing of the input could be
    read; 2 for a usage error, reported in one line; and 130 when an interrupt ended it at once: of a job on files the
    first, of one without end the second.
    """
    atexit.register(gc.freeze)  # at its end Python need not look for garbage in all that was loaded
    command_line.log_to_standard_error()
    arguments = sys.argv[1:] if argv is None else list(argv)
    return command_line.run(_PROGRAM, lambda: _job(arguments), _INTERRUPTED)


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Has Python look for no garbage while the job is loaded: that takes a quarter of the time, and finds none. `run`
    switches it on for the job."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collection()
def _job(arguments: list[str]) -> int:
    from rich.console import Console

    from pipeline.job_kind import JobKind
    from pipeline.options import options_without_secrets, parse
    from pipeline.run import run, stop
    from pipeline.summary import render

    settings, options = parse(arguments)
    with _stoppable(stop) if settings.kind is JobKind.STREAMING else _interruptible():
        summary = run(settings, options, options_without_secrets(arguments))
    try:
        render(summary, Console())
        sys.stdout.flush()
    except OutputError as error:
        if not error.is_closed_pipe:
            print_error(f"{_PROGRAM}: the job is done, but {error}")
            return USAGE_STATUS
    return 0 if summary.is_input_read else _NOT_READ_STATUS


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ends the process at an interrupt: as an exception Beam takes it for the failure of whatever step it hits. Nothing
    needs to be put away, since what is written is durable and the rest will be read again."""
    before = signal.signal(signal.SIGINT, _end_interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Has the first interrupt or termination stop the job in order, and the second end the process."""

    def first(*_: object) -> None:
        for number in _STOPS:
            signal.signal(number, _end_interrupted)
        _write_error(f"{_PROGRAM}: {_STOPPING}")
        stop()

    before = {number: signal.signal(number, first) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_interrupted(*_: object) -> None:
    shown = _SHOW_CURSOR if sys.stderr.isatty() else ""  # the progress line hides it
    _write_error(shown + f"{_PROGRAM}: {_INTERRUPTED}")
    os._exit(INTERRUPTED_STATUS)


def _write_error(line: str) -> None:
    """Writes to standard error past its buffer, which what the signal interrupted may be writing to: that may not be
    entered twice."""
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
