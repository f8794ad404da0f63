"""Keeps a copy of a local warehouse that anybody can open while a job has the warehouse for itself."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Final, Protocol

from pipeline.errors import printable, reason, without_secrets

_log = logging.getLogger(__name__)

_SHARE: Final = 20
"""The job waits while a copy is made: for one part of its time in so many, however large the warehouse is."""


class Snapshot(Protocol):
    """The copy of a warehouse that a job has open."""

    def renew(self) -> bool:
        """Makes it as the warehouse is now; returns whether there was anything new. Raises OSError where it cannot, and
        RuntimeError where the warehouse has failed."""


class Snapshots:
    """Renews a copy when its block begins, every so many seconds, and when it is told to. What goes wrong is a warning:
    no job fails for its copy."""

    def __init__(self, snapshot: Snapshot, path: str, every: float) -> None:
        self._snapshot = snapshot
        self._path = path
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="snapshots", daemon=True)

    def __enter__(self) -> Snapshots:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def renew(self) -> None:
        """Renews the copy now. Not to be called while the block lasts."""
        try:
            self._snapshot.renew()
        except (OSError, RuntimeError) as error:
            path, why = printable(without_secrets(self._path)), reason(error)
            _log.warning("--snapshot=%s: cannot be written: %s; the job goes on, and tries again", path, why)

    def _keep(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            started = time.monotonic()
            self.renew()
            wait = max(self._every, _SHARE * (time.monotonic() - started))
