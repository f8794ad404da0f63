"""`python -m tests.fuzz [--histories=10000] [--seed=0] [--per_job=250] [--prism]`: random histories by the thousand.

Half of them go through the identity stages in memory, under a scheduler that reorders, repeats and splits everything;
half through the whole job, under every configuration in turn. With `--values=NUMBER` so many addresses, names, ids and
times are drawn instead. Prints what differs from the replay; exit status 1 if anything does.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
from pathlib import Path
from random import Random

from judge import replay
from tests import prism
from tests.fuzz.whole_job import check
from tests.histories import CONFIGS, deal, history, line
from tests.transforms.core.identity.test_network import judged, run
from tests.transforms.core.test_addresses_and_names import DRAWN_AT_ONCE, KINDS, agree


def in_memory(first: int, count: int) -> list[str]:
    """The seeds whose histories the stages do not resolve as the replay does."""
    wrong = []
    for seed in range(first, first + count):
        rng = Random(seed)
        name, config = rng.choice(list(CONFIGS.items()))
        messages = history(rng, rng.randint(1, 30))
        expected = judged(replay(map(line, messages), config))
        if run(rng, deal(rng, messages, rng.randint(1, 5)), config) != expected:
            wrong.append(f"seed {seed}, {name}: the stages differ from the replay")
    return wrong


def whole_jobs(first: int, count: int, per_job: int, options: list[str]) -> list[str]:
    """How the tables of whole jobs differ from the replay."""
    wrong = []
    configurations = itertools.cycle(CONFIGS.items())
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count, per_job):
            name, config = next(configurations)
            found = check(seed, min(per_job, first + count - seed), name, config, Path(folder), options)
            print(f"  {seed - first + per_job:6,} histories, {name}: {len(found)} differences", flush=True)
            wrong += found
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per_job", type=int, default=250)
    parser.add_argument("--prism", action="store_true", help="run the whole jobs on Prism")
    parser.add_argument(
        "--values", type=int, metavar="NUMBER", help="draw so many addresses, names, ids and times instead"
    )
    given = parser.parse_args()
    if given.values:
        for kind in KINDS:
            agree(kind, given.values // DRAWN_AT_ONCE)
            print(f"{given.values:,} {kind} are read as the judge reads them", flush=True)
        return 0
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    half = given.histories // 2
    print(f"{half:,} histories through the identity stages in memory", flush=True)
    wrong = in_memory(given.seed, half)
    print(f"{given.histories - half:,} histories through the whole job", flush=True)
    options = prism.options() if given.prism else []
    wrong += whole_jobs(given.seed, given.histories - half, given.per_job, options)
    print("\n".join(wrong[:20]))
    print(f"{given.histories:,} histories, {len(wrong):,} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
