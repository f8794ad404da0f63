"""Whether a file system of another machine answers at all, before a job depends on it."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Final

from apache_beam.io.filesystems import FileSystems

_PATIENCE_S: Final = 15.0
"""How long an answer may take: Beam and Google's clients look for credentials and try again for minutes."""
_TALKATIVE: Final = ("apache_beam", "google", "urllib3")
"""Loggers that tell of every retry, with a traceback."""


class NoAnswer(Exception):
    """A file system does not answer."""

    remedy: Final = "check the network, and sign in: gcloud auth application-default login"

    def __init__(self) -> None:
        super().__init__(f"no answer in {_PATIENCE_S:g} s")


_answered: Final[set[str]] = set()
"""The schemes of file systems that have answered."""


def check_answer(path: str) -> None:
    """Returns when the file system of a path has answered, be it with an error. Raises NoAnswer."""
    scheme = FileSystems.get_scheme(path)
    if scheme is None or scheme in _answered:
        return
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
        raise NoAnswer  # the thread goes on, and must not be heard
    for logger, level in levels.items():
        logger.setLevel(level)
    _answered.add(scheme)
