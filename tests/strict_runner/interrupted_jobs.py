"""The whole job, interrupted at random moments, by jobs in a row on one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final
from unittest import mock

from tests.strict_runner import Interrupted, Interruption, StrictRunner
from tests.strict_runner.whole_job import Publication, Published, WholeJobs

_STEPS: Final = (
    "ReadPubSub/Read/Give",
    "ReadHistoryForRules2/Rows/Read",
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
_WORK_ITEM_BYTES: Final = 2_000


def run_interrupted(
    jobs: WholeJobs, payloads: Sequence[bytes], interruptions: Sequence[Interruption], rng: Random
) -> list[str]:
    """Deals messages to jobs in a row, each interrupted at a random moment, and a last one that is not; an updated job
    is updated again. Returns what is wrong: a line for each."""
    wrong = []
    size = len(payloads) // (len(interruptions) + 1)
    with mock.patch("pipeline.work_items.BYTES", _WORK_ITEM_BYTES):  # the history has several work items
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
