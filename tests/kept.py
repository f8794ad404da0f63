"""What tests install or compute once and keep in the user's cache, for every run and every worktree."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segment-bigquery"


@contextmanager
def alone(name: str) -> Iterator[Path]:
    """The folder of that name, which may not exist yet; no other process is in such a block for it."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with open(_CACHE / f"{name}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _CACHE / name


class KeptAnswers:
    """Answers by name, each in a file: what nobody has asked for in a month goes."""

    _MONTH_S = 30 * 86_400

    def __init__(self, name: str) -> None:
        self._folder = _CACHE / name
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - self._MONTH_S:
                path.unlink(missing_ok=True)

    def get(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            answer = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        return answer

    def put(self, name: str, answer: bytes) -> None:
        """Several processes may do so at once: each answer is written beside its file, and renamed."""
        unfinished = self._folder / f"{name}.{os.getpid()}"
        unfinished.write_bytes(answer)
        unfinished.rename(self._folder / name)
