"""`python -m tests.faults [--times=10] [--seed=0] [FAULT ...]`: each fault so many times; exit status 1 at any harm."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import traceback
from pathlib import Path
from random import Random

from tests.faults import faults, receiver

CASES = (*faults.CASES, *receiver.CASES)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(case.name for case in CASES))
    given = parser.parse_args()
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    harm = 0
    for case in CASES:
        if given.faults and case.name not in given.faults:
            continue
        for seed in range(given.seed, given.seed + given.times):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    with case.into(Path(folder)) as stream:
                        case.fault(stream, Random(f"{case.name} {seed}"))
                        stream.check()
                except Exception:  # a harm is printed, and the others are tried
                    traceback.print_exc()
                    harm += 1
                    print(f"{case.name}, seed {seed}: HARM", flush=True)
                else:
                    print(f"{case.name}, seed {seed}: survived", flush=True)
    print(f"{harm} faults did harm")
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
