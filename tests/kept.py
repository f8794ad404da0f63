"""What tests install once and keep in the user's cache, for every run and every worktree."""

from __future__ import annotations

import fcntl
import os
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
