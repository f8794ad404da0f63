"""The engine: it hands work items to workers, one key each, and commits what counts."""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.runners.portability.fn_api_runner.execution import ListBuffer

from tests.strict_runner.graph import Shuffle, Step, named
from tests.strict_runner.inbox import Inbox, Item, TimerId
from tests.strict_runner.interruption import Interrupted, Interruption
from tests.strict_runner.report import Monitored, Report
from tests.strict_runner.saved import Saved, SavedStep, transforms
from tests.strict_runner.state import Cells
from tests.strict_runner.strictness import Strictness, StrictRunnerError
from tests.strict_runner.watermarks import MAX, MIN
from tests.strict_runner.worker import Outcome, Worker, claims_watched

_SHOWN_STUCK: Final = 5
_LOST: Final = 0.5
"""The share that never counts of the work items that run when a job is interrupted."""


class Clock:
    """The system's clock, but for what is not waited for."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self._ahead_s

    def wait_until(self, then: float, *, jump: bool) -> None:
        remaining = then - self.time()
        if remaining <= 0:
            return
        if jump:
            self._ahead_s += remaining
        else:
            time.sleep(remaining)


@dataclass
class _Done:
    """A work item that a worker is through with: its outcome, or why there is none."""

    item: Item
    worker: Worker | None
    outcome: Outcome | None
    error: BaseException | None = None


class Engine:
    """Runs steps until nothing is left to do."""

    def __init__(
        self,
        context: Any,
        steps: list[Step],
        cells: Cells,
        strictness: Strictness,
        interrupted: Interrupted | None = None,
    ) -> None:
        self._context, self._cells, self._strictness = context, cells, strictness
        self._interrupted = interrupted
        self._begun = 0
        """Work items that count for the interruption."""
        self._last: Item | None = None
        """The work item that ends without an outcome, since the job was interrupted while it ran."""
        self.is_draining = False
        self._rng = Random(strictness.seed)
        self._clock = Clock()
        self._steps = steps
        self._inboxes = [Inbox(step, context, self._clock) for step in steps]
        self._ready: list[tuple[Inbox, Hashable]] = []
        self._held_back: list[tuple[Inbox, Hashable]] = []
        """Keys of steps whose side inputs are not complete."""
        self._late: list[tuple[int, int, Inbox, Hashable, TimerId]] = []
        """Timers that are due, by how many work items must be done before they are given."""
        self._deferred: list[tuple[float, int, Inbox, Hashable]] = []
        """Keys of restrictions, by when they may go on."""
        self._numbers = itertools.count()
        self._items_done = 0
        self._given: set[int] = set()
        """The steps whose output has become a side input."""
        self._monitored = Monitored()
        self._began = time.monotonic()
        self._descriptors: dict[str, Any] = {}
        for step in steps:
            for stage in step.stages.values():
                self._descriptors[stage.descriptor.id] = stage.descriptor

    def run(self, saved: Saved | None = None) -> list[Any]:
        """Runs all, from the beginning or from what another job has saved; returns the pipeline's metrics. Raises
        UpdateRefused, every other StrictRunnerError, and whatever the pipeline raises."""
        steps: Mapping[str, SavedStep] = {}
        if saved is not None:
            saved.check(self._context, self._steps)
            self._cells.restore(saved.cells)
            steps = saved.steps
        for inbox in self._inboxes:
            if (step := steps.get(inbox.step.label)) is not None:
                self._restore(inbox, step)
            elif inbox.step.root.shuffle is Shuffle.START:
                self._list(inbox, inbox.start())
        self._advance(of_all=True)
        workers = [Worker(self._descriptors, self._cells, self._strictness) for _ in range(self._strictness.threads)]
        try:
            with claims_watched():
                self._run_on(workers)
        finally:
            for worker in workers:
                worker.close()
        return self._monitored.metrics

    @property
    def is_interrupted(self) -> bool:
        """Whether the interruption has come: a short run may end before."""
        return self._last is not None or self.is_draining

    def saved(self) -> Saved:
        """What a job takes over that goes on with this one's, which has ended by an update."""
        if any(step.side_inputs for step in self._steps):
            raise StrictRunnerError("an update of a graph with side inputs is not imitated: they are not saved")
        due_s: dict[Inbox, dict[Hashable, float]] = {inbox: {} for inbox in self._inboxes}
        for at, _, inbox, key in self._deferred:
            due_s[inbox][key] = at
        return Saved(
            transforms=transforms(self._steps),
            steps={inbox.step.label: inbox.saved(self._context, due_s[inbox]) for inbox in self._inboxes},
            cells=self._cells.saved(),
        )

    def _restore(self, inbox: Inbox, saved: SavedStep) -> None:
        for key, due_s in inbox.restore(saved):
            if due_s is None:
                self._list(inbox, key)
            else:
                heapq.heappush(self._deferred, (due_s, next(self._numbers), inbox, key))

    def report(self) -> Report:
        """What has been shown up to now."""
        return Report(
            seed=self._strictness.seed,
            elapsed_s=time.monotonic() - self._began,
            steps=tuple(inbox.tally.report(inbox.step) for inbox in self._inboxes),
            transforms=self._monitored.rows,
        )

    def _run_on(self, workers: list[Worker]) -> None:
        free, done = list(workers), queue.SimpleQueue[_Done]()
        busy = 0
        with ThreadPoolExecutor(len(workers)) as pool:
            while True:
                while free and self._last is None and (item := self._next_item(idle=not busy)) is not None:
                    self._interrupt_at(item)
                    worker = free.pop()
                    busy += 1
                    if len(workers) == 1:
                        done.put(self._work(worker, item))
                    else:
                        pool.submit(lambda worker=worker, item=item: done.put(self._work(worker, item)))  # type: ignore[misc]
                    if len(workers) == 1:
                        break
                if not busy:
                    if self._last is not None:
                        return
                    if not self._wait():
                        break
                    continue
                finished = done.get()
                if finished.error is not None:
                    raise finished.error
                assert finished.worker is not None
                busy -= 1
                if self._is_lost(finished.item):
                    finished.item.inbox.put_back(finished.item)
                else:
                    self._commit(finished.item, finished.outcome, finished.worker)
                free.append(finished.worker)
        self._check_all_done()

    def _interrupt_at(self, item: Item) -> None:
        """Interrupts the job, where it is to be while this work item runs."""
        when = self._interrupted
        if when is None or self.is_interrupted:
            return
        if when.step is not None and named(self._steps, when.step) is not item.inbox.step:
            return
        self._begun += 1
        if self._begun < when.at:
            return
        if when.by is not Interruption.DRAIN:
            self._last = item
            return
        self.is_draining = True
        deferred, self._deferred = self._deferred, []
        for _, _, inbox, key in deferred:
            self._list(inbox, key)

    def _is_lost(self, item: Item) -> bool:
        """Whether a work item has ended after the job: the last one, and of those that ran beside it some. What a pane
        has been made of is not there any more, so that one counts."""
        if self._last is None or item.inbox.grouping is not None:
            return False
        return item is self._last or self._rng.random() < _LOST

    def _work(self, worker: Worker, item: Item) -> _Done:
        """Runs a work item once, or twice with one outcome that counts."""
        try:
            step = item.inbox.step
            outcome = worker.run(step, item.given, item.rng, item.is_split)
            if item.is_repeated:
                first_counts = item.rng.random() < 0.5
                if not first_counts:
                    worker.throw_away(outcome)
                again = worker.run(step, item.given, item.rng, item.is_split)
                if first_counts:
                    worker.throw_away(again)
                else:
                    outcome = again
        except BaseException as error:  # for the engine's thread to raise
            return _Done(item, worker, None, error)
        return _Done(item, worker, outcome)

    # What is next

    def _list(self, inbox: Inbox, key: Hashable) -> None:
        """Notes that a key may have work."""
        mailbox = inbox.keys.get(key)
        if mailbox is not None and mailbox.has_work and not mailbox.is_listed:
            mailbox.is_listed = True
            self._ready.append((inbox, key))

    def _next_item(self, *, idle: bool) -> Item | None:
        """A work item of any key that has something to do; panes that only gather are made on the way."""
        while True:
            self._wake()
            if not self._ready and idle and self._late:
                self._wake_late(all_of_them=True)
            if not self._ready:
                return None
            index = self._rng.randrange(len(self._ready))
            self._ready[index], self._ready[-1] = self._ready[-1], self._ready[index]
            inbox, key = self._ready.pop()
            inbox.keys[key].is_listed = False
            if not self._is_complete(inbox.step):
                self._held_back.append((inbox, key))
                continue
            item = self._item(inbox, key)
            if item.given.elements or item.given.timers:
                return item
            self._commit(item, None, None)

    def _item(self, inbox: Inbox, key: Hashable) -> Item:
        rng = Random(self._rng.getrandbits(64))
        elements, timers = inbox.take(key, rng, self._strictness.partial)
        is_restriction = inbox.step.root.shuffle is Shuffle.RESTRICTION
        if self.is_draining and is_restriction:
            given, rows = inbox.given(key, inbox.truncate(elements), timers, rng)
        else:
            given, rows = inbox.given(key, elements, timers, rng)
        return Item(
            inbox=inbox,
            key=key,
            elements=elements,
            timers=timers,
            given=given,
            rows=rows,
            rng=rng,
            is_repeated=rng.random() < self._strictness.repeats,
            is_split=is_restriction and rng.random() < self._strictness.checkpoints,
        )

    def _wake(self) -> None:
        """Lists what has become due."""
        now = self._clock.time()
        while self._deferred and self._deferred[0][0] <= now:
            _, _, inbox, key = heapq.heappop(self._deferred)
            self._list(inbox, key)
        for inbox in self._inboxes:
            if inbox.clock_timers:
                self._delay(inbox, inbox.due_by_clock())
        self._wake_late()

    def _delay(self, inbox: Inbox, due: Iterator[tuple[Hashable, TimerId]]) -> None:
        for key, id in due:
            at = self._items_done + self._rng.randint(0, self._strictness.late_bundles)
            heapq.heappush(self._late, (at, next(self._numbers), inbox, key, id))

    def _wake_late(self, *, all_of_them: bool = False) -> None:
        while self._late and (all_of_them or self._late[0][0] <= self._items_done):
            _, _, inbox, key, id = heapq.heappop(self._late)
            if inbox.is_set(key, id):
                inbox.keys[key].due.add(id)
                self._list(inbox, key)

    def _wait(self) -> bool:
        """Waits for what is due next by the clock; whether there is anything."""
        times = [inbox.clock_timers[0][0] / 1e6 for inbox in self._inboxes if inbox.clock_timers]
        if self._deferred:
            times.append(self._deferred[0][0])
        if times:
            self._clock.wait_until(min(times), jump=self.is_draining or not self._strictness.waits)
        return bool(times)

    def _is_complete(self, step: Step) -> bool:
        return all(other.index in self._given for other in step.side_inputs)

    def _check_all_done(self) -> None:
        stuck = [inbox.step.name for inbox in self._inboxes if any(box.elements for box in inbox.keys.values())]
        if stuck or self._held_back:
            raise StrictRunnerError(f"the run is stuck, with elements in front of: {', '.join(stuck[:_SHOWN_STUCK])}")

    # What counts

    def _commit(self, item: Item, outcome: Outcome | None, worker: Worker | None) -> None:
        """Makes an outcome count; one that is None is of a work item that only gathered for a pane."""
        inbox = item.inbox
        if outcome is not None and worker is not None:
            self._deliver(inbox.step, outcome)
            self._defer(inbox, outcome)
            self._write_state(inbox, outcome)
            self._count(item, outcome)
            worker.finalize(outcome)
            self._items_done += 1
        inbox.committed(item, outcome)
        self._list(inbox, item.key)
        self._advance()

    def _deliver(self, step: Step, outcome: Outcome) -> None:
        for buffer, data in outcome.outputs:
            fed = step.feeds[buffer]
            for other in fed:
                inbox = self._inboxes[other.index]
                for key in inbox.deliver(data):
                    self._list(inbox, key)
            if self._is_side_input(buffer):
                self._context.pcoll_buffers.setdefault(buffer, ListBuffer(None)).append(data)

    def _is_side_input(self, buffer: bytes) -> bool:
        return any(
            buffer == translations.create_buffer_id(pcollection)
            for inbox in self._inboxes
            for pcollection in inbox.step.root.side_inputs
        )

    def _defer(self, inbox: Inbox, outcome: Outcome) -> None:
        for residual in outcome.residuals:
            application = residual.application
            watermarks = [each.ToMicroseconds() for each in application.output_watermarks.values()]
            key = inbox.defer(application.element, min(watermarks, default=MIN))
            after_s = residual.requested_time_delay.ToMicroseconds() / 1e6
            heapq.heappush(self._deferred, (self._clock.time() + max(0.0, after_s), next(self._numbers), inbox, key))
        inbox.tally.checkpoints += len(outcome.residuals)

    def _write_state(self, inbox: Inbox, outcome: Outcome) -> None:
        tally = inbox.tally
        for _, size, of_key in self._cells.commit(outcome.written):
            tally.largest_cell = max(tally.largest_cell, size)
            tally.largest_key = max(tally.largest_key, of_key)

    def _count(self, item: Item, outcome: Outcome) -> None:
        tally = item.inbox.tally
        tally.bundles += 1
        tally.repeats += item.is_repeated
        tally.state_bytes += outcome.state_bytes
        if item.rows:
            tally.rows[item.rows] += 1
        tally.largest_output = max(tally.largest_output, outcome.size)
        for stage, rows, metrics in outcome.counted:
            self._monitored.add(stage, rows, metrics)

    def _advance(self, *, of_all: bool = False) -> None:
        """Moves the watermarks that what holds them lets go, or all, and lists what has become due. The steps are in
        the graph's order: those that feed one come before it."""
        moved: set[int] = set()
        for inbox in self._inboxes:
            step, watermark = inbox.step, inbox.watermark
            if not (of_all or watermark.may_advance or any(each.index in moved for each in step.feeders)):
                continue
            of_feeders = min((self._inboxes[each.index].watermark.outgoing for each in step.feeders), default=MAX)
            has_come, has_left = watermark.advance(of_feeders)
            if has_come:
                self._delay(inbox, inbox.due_by_watermark())
            if has_left:
                moved.add(step.index)
            if watermark.outgoing == MAX and step.index not in self._given:
                self._give_side_inputs(step)
        for inbox in self._inboxes:
            if self._has_due(inbox):
                self._delay(inbox, inbox.due_by_watermark())

    @staticmethod
    def _has_due(inbox: Inbox) -> bool:
        return bool(inbox.event_timers) and inbox.event_timers[0][0] <= inbox.watermark.incoming

    def _give_side_inputs(self, step: Step) -> None:
        self._given.add(step.index)
        for stage in step.stages.values():
            described = self._context.side_input_descriptors_by_stage.get(stage.name, {})
            self._context.commit_side_inputs_to_state(described)
        held_back, self._held_back = self._held_back, []
        for inbox, key in held_back:
            self._list(inbox, key)
