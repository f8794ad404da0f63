"""Whether a file system of another machine answers at all, before a job depends on it."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from importlib import import_module
from typing import Final

from apache_beam.io.filesystems import FileSystems

from transforms.core import google_clients

_GOOGLES: Final = "gs"
"""The scheme of Google's storage."""
_PATIENCE_S: Final = 15.0
"""How long an answer may take: Beam and Google's clients look for credentials and try again for minutes."""
_REMEDY: Final = "check the network, and sign in: gcloud auth application-default login"
_TALKATIVE: Final = ("apache_beam", "google", "urllib3")
"""Loggers that tell of every retry, with a traceback."""


class NoAnswer(Exception):
    """A file system does not answer, or this installation cannot ask it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def unreadable() -> tuple[type[Exception], ...]:
    """What reading a file fails with where it is gone or may not be read: also with errors of Google's clients, where
    any of these is loaded."""
    google = sys.modules.get("google.api_core.exceptions")
    return (OSError,) if google is None else (OSError, google.NotFound, google.Forbidden)


_answered: Final[set[str]] = set()
"""The schemes of file systems that have answered."""


def check_answer(path: str) -> None:
    """Returns when the file system of a path has answered, be it with an error. Raises NoAnswer."""
    scheme = FileSystems.get_scheme(path)
    if scheme is None or scheme in _answered:
        return
    if scheme == _GOOGLES:
        _check_clients()
    answer = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # whatever it is, who uses the file will meet it again, and tell it
            FileSystems.exists(path)
        answer.set()

    levels = {logger: logger.level for logger in map(logging.getLogger, _TALKATIVE)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    threading.Thread(target=ask, name="remote file system", daemon=True).start()
    if not answer.wait(_PATIENCE_S):
        # The thread goes on, and must not be heard.
        raise NoAnswer(f"no answer in {_PATIENCE_S:g} s", _REMEDY)
    for logger, level in levels.items():
        logger.setLevel(level)
    _answered.add(scheme)


def _check_clients() -> None:
    """Raises NoAnswer where Google's clients, by which Beam reads its storage, are not installed."""
    try:
        import_module("apache_beam.io.gcp.gcsfilesystem")
    except ImportError as error:
        missing = google_clients.missing(error)
        if missing is error:
            raise
        raise NoAnswer(str(missing), "") from None
