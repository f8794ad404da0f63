"""`python -m tests.strict_runner [--messages=20000] [--seed=0] [--latency=0] [--threads=12] [--batch=500] [--goals]`:
the whole job as on Dataflow, in two jobs of which the second reads the log of the first as its history.

Prints what each has shown, by step, and how the tables differ from the replay; exit status 1 if they do, or if a work
item never commits. With `--goals` also where a goal is missed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.fuzz.whole_job import side_by_side
from tests.histories import CONFIGS
from tests.streaming import shuffled
from tests.strict_runner import Report, Strictness, StrictRunnerError
from tests.strict_runner.goals import missed
from tests.strict_runner.whole_job import Publication, WholeJobs, into_double

_MESSAGES_A_HISTORY = 15
"""About as many, those that are published twice included."""
_SHOWN_DIFFERENCES = 20
_WINDOW_S = 60


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.strict_runner", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every bundle takes longer")
    parser.add_argument("--threads", type=int, default=12)
    parser.add_argument("--batch", type=int, default=500, help="messages that are published together")
    parser.add_argument("--repeats", type=float, default=0.1, help="the share of work items that is run twice")
    parser.add_argument("--output_bytes", type=int, default=Strictness.output_bytes)
    parser.add_argument("--config", choices=list(CONFIGS), default="mixed")
    parser.add_argument("--goals", action="store_true", help="fail where a goal is missed")
    parser.add_argument("--json", type=Path, help="a file for the last job's report")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    given = _arguments(argv)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    rng = Random(given.seed)
    payloads = shuffled(rng, side_by_side(rng, max(1, given.messages // _MESSAGES_A_HISTORY)))
    strictness = Strictness(
        seed=given.seed,
        repeats=given.repeats,
        latency_s=given.latency,
        threads=given.threads,
        output_bytes=given.output_bytes,
    )
    with into_double() as bigquery, tempfile.TemporaryDirectory() as folder:
        options = (f"--alias_window={_WINDOW_S}",)
        jobs = WholeJobs(bigquery, Path(folder), CONFIGS[given.config], strictness, options=options)
        try:
            for part in (payloads[: len(payloads) // 2], payloads[len(payloads) // 2 :]):
                print(f"{len(part):,} messages, seed {given.seed}", flush=True)
                jobs.run_on_subscription(part, Publication(batch=given.batch), rng)
                print(jobs.reports[-1].as_text(), flush=True)
        except StrictRunnerError as error:
            print(jobs.reports[-1].as_text())
            print(error)
            return 1
        differences = jobs.differences()
    print("\n".join(differences[:_SHOWN_DIFFERENCES]))
    print(f"{len(differences):,} differences")
    if given.json:
        given.json.write_text(jobs.reports[-1].as_json())
    return 1 if differences or (_misses(jobs.reports) and given.goals) else 0


def _misses(reports: list[Report]) -> bool:
    """Whether a goal is missed; prints which."""
    misses = [miss for report in reports for miss in missed(report, window_s=_WINDOW_S)]
    print("\n".join(["goals:", *(misses or ["all are met"])]))
    return bool(misses)


if __name__ == "__main__":
    sys.exit(main())
