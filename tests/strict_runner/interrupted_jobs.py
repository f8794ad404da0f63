"""The whole job, interrupted at random moments, by jobs in a row on one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Any, Final
from unittest import mock

from pipeline import work_items
from pipeline.sources.history import History
from tests.strict_runner import Interrupted, Interruption, StrictRunner
from tests.strict_runner.whole_job import Publication, Published, WholeJobs

HISTORY: Final = f"Read{History.label}/Rows/Read"
"""The step that reads the history."""
_STEPS: Final = (
    "ReadPubSub/Read/Give",
    HISTORY,
    "Deduplicate/Unseen",
    "WriteEvents/Append",
    "ResolveIdentities/Person/Gather",
    "ResolveIdentities/Contact/Step",
    "WriteContacts/Rows/Stable/Gather",
    "Publish/SweepContacts/ObsoleteKeys",
)
"""Where a job is interrupted, half of the time."""
_GATHERING: Final = {
    "WriteEvents/Append": ("rows_0", "rows_1"),
    "WriteContacts/Rows/Stable/Gather": ("rows", "waiting"),
    "WriteAccounts/Rows/Stable/Gather": ("rows", "waiting"),
    "WriteIdentities/Rows/Stable/Gather": ("rows", "waiting"),
    "WriteMemberships/Rows/Stable/Gather": ("rows", "waiting"),
}
"""The states in which rows wait to be written."""
_UPDATES: Final = 3
_WORK_ITEMS: Final = 20
"""Into about so many a history is cut."""


def run_interrupted(
    jobs: WholeJobs, payloads: Sequence[bytes], interruptions: Sequence[Interruption], rng: Random
) -> list[str]:
    """Deals messages to jobs in a row, each interrupted at a random moment, and a last one that is not; an updated job
    is updated again. Returns what is wrong: a line for each."""
    wrong = []
    size = len(payloads) // (len(interruptions) + 1)
    with _work_items(payloads):
        for number, interruption in enumerate(interruptions):
            part = payloads[number * size : (number + 1) * size]
            runner = jobs.run_on_subscription(part, _publication(rng), rng, moment(rng, interruption, len(part)))
            if interruption is Interruption.UPDATE:
                _update(jobs, runner, rng, len(part))
            elif interruption is Interruption.DRAIN:
                wrong += [f"after a drain: {difference}" for difference in (*jobs.differences(), *_waiting(runner))]
                if not jobs.has_ended():
                    wrong.append("after a drain: the job has not entered its end")
        jobs.run_on_subscription(payloads[len(interruptions) * size :], _publication(rng), rng)
    return [*wrong, *jobs.differences(), *(f"never read: {payload!r}" for payload in Published.unread())]


def run_on_history(
    jobs: WholeJobs, payloads: Sequence[bytes], publication: Publication, stop: Interrupted | None = None
) -> list[str]:
    """Has a job read these messages as its history, and one before it, that is stopped there. Returns what is wrong."""
    before = jobs.log(payloads)
    rng = Random(0)
    with _work_items(payloads):
        if stop is not None and not jobs.run_on_subscription([], publication, rng, stop).is_interrupted:
            return ["the job has read its history before it was to be stopped"]
        jobs.run_on_subscription([], publication, rng)
    after = jobs.logged()
    return jobs.audit() + ([] if before == after else [f"the log had {before:,} rows, and has {after:,}"])


def _work_items(payloads: Sequence[bytes]) -> AbstractContextManager[Any]:
    """Cuts a history into several work items, however small it is."""
    size = min(work_items.BYTES, sum(map(len, payloads)) // _WORK_ITEMS)
    return mock.patch.object(work_items, "BYTES", size)


def _update(jobs: WholeJobs, runner: StrictRunner, rng: Random, messages: int) -> None:
    for _ in range(_UPDATES):
        if not runner.is_interrupted:
            return
        runner = jobs.update(runner, moment(rng, Interruption.UPDATE, messages))
    if runner.is_interrupted:
        jobs.update(runner)


def moment(rng: Random, interruption: Interruption, messages: int) -> Interrupted:
    """A moment in a job of so many messages: one of its first work items, or of a step's, sometimes one that it does
    not come to."""
    if rng.random() < 0.5:
        return Interrupted(by=interruption, at=rng.randint(1, 4), step=rng.choice(_STEPS))
    return Interrupted(by=interruption, at=int(2 ** rng.uniform(1, (8 * messages).bit_length())))


def _publication(rng: Random) -> Publication:
    """Messages of a backlog, or of now, whose windows close while the source goes on."""
    return Publication(batch=rng.choice((1, 4)), begin_s=rng.choice((3600.0, -3600.0)))


def _waiting(runner: StrictRunner) -> list[str]:
    """The rows that wait in state: none may after a drain."""
    return [
        f"{transform} has rows in the state {name!r}"
        for transform, names in _GATHERING.items()
        for name in names
        if any(runner.state(transform, name).values())
    ]
