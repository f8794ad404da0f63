"""The time of writing."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000
