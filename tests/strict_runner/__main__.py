"""`python -m tests.strict_runner [--messages=20000] [--history=0] [--interrupt=stop|drain|update] [--seed=0]
[--latency=0] [--threads=12] [--batch=500] [--goals]`: the whole job as on Dataflow.

Two jobs, of which the second reads the log of the first as its history. With `--interrupt` three, of which the first
two are stopped, drained or updated at random moments. With `--history` the log has so many calls, and one job reads
them and no messages; `--interrupt=stop` then stops a job before it while it reads them. With `--generated=1700` one job
reads the examples' traffic, and what `templates.cost` goes by is printed.

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

from examples.generate import GeneratorSettings, stream
from tests.fuzz.whole_job import side_by_side
from tests.histories import CONFIGS
from tests.streaming import shuffled
from tests.strict_runner import Interrupted, Interruption, Report, Strictness, StrictRunnerError
from tests.strict_runner.goals import missed
from tests.strict_runner.interrupted_jobs import HISTORY, run_interrupted, run_on_history
from tests.strict_runner.whole_job import Publication, WholeJobs, into_double
from tests.strict_runner.work import figures

_MESSAGES_A_HISTORY = 15
"""About as many, those that are published twice included."""
_SHOWN_DIFFERENCES = 20
_WINDOW_S = 60
_AHEAD_S = 3600.0
"""So long from now generated traffic begins, since windows of a backlog wait."""
_OF_HISTORY = 4
"""The work item in which a job is stopped that reads the history."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.strict_runner", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--history", type=int, default=0, help="calls that the log has before; about as many")
    parser.add_argument("--generated", type=int, default=0, metavar="BYTES", help="messages as the examples', so large")
    parser.add_argument("--interrupt", choices=[each.value for each in Interruption])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every bundle takes longer")
    parser.add_argument("--threads", type=int, default=12)
    parser.add_argument("--batch", type=int, default=500, help="messages that are published together")
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second of generated traffic")
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
    strictness = Strictness(
        seed=given.seed,
        repeats=given.repeats,
        latency_s=given.latency,
        threads=given.threads,
        output_bytes=given.output_bytes,
    )
    with into_double() as bigquery, tempfile.TemporaryDirectory() as folder:
        options = (f"--alias_window={_WINDOW_S}",)
        jobs = WholeJobs(bigquery, Path(folder), CONFIGS[given.config], strictness, options=options, shown=_show)
        try:
            wrong = _run(jobs, given, rng)
        except StrictRunnerError as error:
            print(error)
            return 1
    print("\n".join(wrong[:_SHOWN_DIFFERENCES]))
    print(f"{len(wrong):,} differences")
    if given.json:
        given.json.write_text(jobs.reports[-1].as_json())
    return 1 if wrong or (_misses(jobs.reports) and given.goals) else 0


def _run(jobs: WholeJobs, given: argparse.Namespace, rng: Random) -> list[str]:
    """Runs the jobs; returns what is wrong in the tables."""
    publication = Publication(batch=given.batch)
    if given.generated:
        return _run_generated(jobs, given, rng)
    payloads = _payloads(rng, given.messages)
    if given.history:
        stop = Interrupted(by=Interruption.STOP, at=_OF_HISTORY, step=HISTORY)
        return run_on_history(jobs, _payloads(rng, given.history), publication, stop if given.interrupt else None)
    if given.interrupt:
        return run_interrupted(jobs, payloads, [Interruption(given.interrupt)] * 2, rng)
    for part in (payloads[: len(payloads) // 2], payloads[len(payloads) // 2 :]):
        print(f"{len(part):,} messages, seed {given.seed}", flush=True)
        jobs.run_on_subscription(part, publication, rng)
    return jobs.differences()


def _run_generated(jobs: WholeJobs, given: argparse.Namespace, rng: Random) -> list[str]:
    """One job on the examples' traffic, whose windows close while it runs; prints what `templates.cost` goes by."""
    payloads = list(stream(GeneratorSettings(calls=given.messages, seed=given.seed, size=given.generated, rubbish=0)))
    every_s = given.batch / given.rate
    publication = Publication(batch=given.batch, every_s=every_s, begin_s=_AHEAD_S)
    jobs.run_on_subscription(payloads, publication, rng)
    for name, figure in figures(jobs.reports[-1], payloads).items():
        print(f"{name}: {figure:,.2f}")
    return jobs.differences()


def _show(report: Report) -> None:
    print(report.as_text(), flush=True)


def _payloads(rng: Random, messages: int) -> list[bytes]:
    return shuffled(rng, side_by_side(rng, max(1, messages // _MESSAGES_A_HISTORY)))


def _misses(reports: list[Report]) -> bool:
    """Whether a goal is missed; prints which."""
    misses = [miss for report in reports for miss in missed(report, window_s=_WINDOW_S)]
    print("\n".join(["goals:", *(misses or ["all are met"])]))
    return bool(misses)


if __name__ == "__main__":
    sys.exit(main())
