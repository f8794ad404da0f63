"""`python -m tests.faults [--times=10] [--seed=0] [FAULT ...]`: each fault so many times; exit status 1 at any harm."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random

from tests.faults.faults import FAULTS
from tests.streaming import Stream


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(fault.__name__ for fault in FAULTS))
    given = parser.parse_args()
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    harm = 0
    for fault in FAULTS:
        if given.faults and fault.__name__ not in given.faults:
            continue
        for seed in range(given.seed, given.seed + given.times):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    stream = Stream(Path(folder))
                    fault(stream, Random(f"{fault.__name__} {seed}"))
                    stream.check()
                except Exception:  # a harm is told, and the others are tried
                    traceback.print_exc()
                    harm += 1
                    print(f"{fault.__name__}, seed {seed}: HARM", flush=True)
                else:
                    print(f"{fault.__name__}, seed {seed}: survived", flush=True)
    print(f"{harm} faults did harm")
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
