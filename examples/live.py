"""Shows the whole way on this machine: `make live`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Ctrl-C ends it whenever it comes; it takes seconds to load what it needs."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from examples.live_run import run

        return run(argv)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
