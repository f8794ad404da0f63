"""How a process that goes on for ever asks for memory, so that it keeps little more than it uses.

By default freed memory stays where the thread that freed it may use it again: in one of glibc's arenas, of which there
are eight for each core, or in Arrow's own pool, which keeps pages for every thread. Beam's threads come and go, so such
a job would grow by hundreds of megabytes before it is level.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

import pyarrow

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Of glibc's `mallopt`."""
_ARENAS: Final = 2
_LARGE_BYTES: Final = 256 * 1024
"""What is at least as large is asked of the system, and goes back to it; by default glibc raises that to 32 MB."""


def settle() -> None:
    """Has all threads allocate from few arenas, Arrow's buffers as well, where the C library is glibc; elsewhere it
    does nothing. It must come before there are many threads: each keeps the arena that it has, and once there are more
    than eight arenas glibc takes no limit any more."""
    with contextlib.suppress(AttributeError, TypeError):  # no mallopt; no symbols of the process itself
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
