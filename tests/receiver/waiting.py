"""Waiting in the event loop for what another task or thread does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(holds: Callable[[], object]) -> None:
    """Returns once it holds, and fails where it never does."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it never does"
        await asyncio.sleep(0.005)
