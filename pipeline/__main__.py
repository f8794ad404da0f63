"""The command `segment-pipeline`, and `python -m pipeline`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from rich.console import Console

from pipeline.errors import UsageError
from pipeline.options import options_without_secrets, parse
from pipeline.run import run
from pipeline.summary import render


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job that the arguments ask for. Returns 0 when it is done, 2 for a mistake of the user's, which is said
    in one line, and 130 when it was interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        settings, options = parse(arguments)
        summary = run(settings, options, options_without_secrets(arguments))
    except UsageError as error:
        print(f"segment-pipeline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("segment-pipeline: interrupted; the same command goes on from what was written", file=sys.stderr)
        return 130
    render(summary, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
