"""Jobs that are stopped, drained and updated while they run, on tiny pipelines."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import StrUtf8Coder, VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, SetStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from tests.strict_runner import (
    Interrupted,
    Interruption,
    Saved,
    Strictness,
    StrictRunner,
    StrictRunnerError,
    UpdateRefused,
)
from tests.strict_runner.test_runner import CountUp, Seen, note, stream, windowed

SEEDS = range(6)
BATCHES: list[list[float]] = [[float(number), number + 0.5] for number in range(20)]
TIMES = [time_s for batch in BATCHES for time_s in batch]


@pytest.fixture(autouse=True)
def _seen_is_empty() -> None:
    Seen.values = []


def run(
    build: Callable[[beam.Pipeline], Any],
    strictness: Strictness,
    interrupted: Interrupted | None = None,
    saved: Saved | None = None,
    names: dict[str, str] | None = None,
) -> StrictRunner:
    """Runs what `build` adds to a pipeline."""
    runner = StrictRunner(strictness, interrupted=interrupted, saved=saved, transform_names=names)
    with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
        build(pipeline)
    return runner


def strict(seed: int) -> Strictness:
    return Strictness(seed=seed, waits=False)


def seen(kind: str) -> list[float]:
    """What steps have noted of this kind, each once: a step may run again, but none of what it gets is there twice."""
    notes = [value[1:] for value in Seen.values if value[0] == kind]
    assert all(len(set(times)) == len(times) for times in notes)
    return sorted({time_s for times in notes for time_s in times})


BAG = BagStateSpec("bag", VarIntCoder())
WAITING = TimerSpec("waiting", TimeDomain.REAL_TIME)


class KeepAndGive(beam.DoFn):
    """Keeps tenths of seconds in state, and gives them when a timer of the clock fires, an hour later."""

    def process(
        self,
        keyed: tuple[str, float],
        bag: Any = beam.DoFn.StateParam(BAG),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(WAITING),  # noqa: B008
    ) -> None:
        bag.add(int(keyed[1] * 10))
        timer.set(Timestamp.now() + 3600)

    @on_timer(WAITING)
    def give(self, bag: Any = beam.DoFn.StateParam(BAG)) -> None:  # noqa: B008
        note(("kept", *(tenths / 10 for tenths in bag.read())))
        bag.clear()


def kept(pipeline: beam.Pipeline, label: str = "Keep") -> Any:
    """Everything twice: in windows, and through a shuffle, state and a timer."""
    times = stream(pipeline, *BATCHES, delay_s=0)
    spread = times | "Shuffle" >> beam.Reshuffle() | "Keyed" >> beam.Map(by_third).with_output_types(tuple[str, float])
    _ = spread | label >> beam.ParDo(KeepAndGive())
    return windowed(times, lateness_s=5)


def by_third(keyed: tuple[str, float]) -> tuple[str, float]:
    return f"{int(keyed[1]) % 3}", keyed[1]


class TestStop:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_job_ends_at_once_and_what_waits_is_lost(self, seed: int) -> None:
        runner = run(kept, strict(seed), Interrupted(by=Interruption.STOP, at=12))
        assert runner.is_interrupted
        assert sum(step.bundles for step in runner.report.steps) <= 12
        assert set(seen("kept")) < set(TIMES)

    def test_the_outcome_of_the_last_work_item_does_not_count_and_what_it_wrote_outside_stays(self) -> None:
        runner = run(kept, Strictness(repeats=0, waits=False), Interrupted(by=Interruption.STOP, at=2, step="Give"))
        assert runner.report.step("Give").bundles == 1
        assert [value for value in Seen.values if value[0] == "read"] == [("read", 0), ("read", 1)]

    def test_a_job_that_ends_before_is_not_interrupted(self) -> None:
        runner = run(kept, strict(1), Interrupted(by=Interruption.STOP, at=1_000_000))
        assert not runner.is_interrupted
        assert seen("kept") == seen("pane") == TIMES


class TestDrain:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_nothing_more_is_read_and_all_that_was_read_is_through(self, seed: int) -> None:
        runner = run(kept, strict(seed), Interrupted(by=Interruption.DRAIN, at=Random(seed).randint(2, 40)))
        assert runner.is_interrupted
        positions = sorted({value[1] for value in Seen.values if value[0] == "read"})
        read = [time_s for position in positions for time_s in BATCHES[position]]
        assert seen("pane") == seen("kept") == read
        assert read != TIMES
        assert not any(runner.state("Keep", "bag").values())

    def test_timers_of_the_clock_are_not_waited_for(self) -> None:
        runner = run(kept, Strictness(seed=1), Interrupted(by=Interruption.DRAIN, at=30))
        assert runner.report.elapsed_s < 60
        assert seen("kept") == seen("pane") != []

    def test_what_ends_by_itself_is_read_to_its_end(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            numbers = pipeline | beam.Create([50] * 5) | "Count" >> beam.ParDo(CountUp()).with_output_types(int)
            _ = numbers | beam.Map(lambda number: note(("counted", number)))

        strictness = Strictness(seed=1, checkpoints=0.8, repeats=0, waits=False)
        run(build, strictness, Interrupted(by=Interruption.DRAIN, at=2, step="Count"))
        assert sorted(number for _, number in Seen.values) == sorted(list(range(50)) * 5)


class TestUpdate:
    @pytest.mark.parametrize("seed", range(20))
    def test_the_next_job_goes_on_with_state_timers_and_what_waits(self, seed: int) -> None:
        rng = Random(seed)
        saved = None
        for _ in range(3):
            at = Interrupted(by=Interruption.UPDATE, at=rng.randint(1, 30))
            runner = run(kept, strict(seed), at, saved)
            if not runner.is_interrupted:
                break
            saved = runner.saved
        else:
            run(kept, strict(seed), saved=saved)
        assert seen("pane") == seen("kept") == TIMES

    def test_a_timer_fires_that_only_the_job_before_has_set(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            keyed = pipeline | beam.Create([("", 0.5)], reshuffle=False).with_output_types(tuple[str, float])
            _ = keyed | "Keep" >> beam.ParDo(KeepAndGive())

        runner = run(build, strict(1), Interrupted(by=Interruption.UPDATE, at=2, step="Keep"))
        Seen.values = []
        run(build, strict(1), saved=runner.saved)
        assert seen("kept") == [0.5]

    def test_a_run_that_was_not_updated_has_saved_nothing(self) -> None:
        runner = run(kept, strict(1))
        with pytest.raises(StrictRunnerError, match="nothing is saved"):
            _ = runner.saved


def counted(
    pipeline: beam.Pipeline,
    label: str = "Keep",
    bag: Any = BAG,
    domain: str = TimeDomain.REAL_TIME,
    key: type = str,
) -> Any:
    """A step with state and a timer behind a source."""
    timer = TimerSpec("waiting", domain)

    class KeepFn(beam.DoFn):
        def process(
            self,
            keyed: tuple[Any, float],
            cell: Any = beam.DoFn.StateParam(bag),  # noqa: B008
            due: Any = beam.DoFn.TimerParam(timer),  # noqa: B008
        ) -> None:
            due.set(Timestamp(1))
            cell.read()

        @on_timer(timer)
        def give(self) -> None:
            pass

    times = stream(pipeline, *BATCHES, delay_s=0)
    keyed = times | "Keyed" >> beam.MapTuple(lambda _, time_s: (key(), time_s)).with_output_types(tuple[key, float])  # type: ignore[valid-type]
    return keyed | label >> beam.ParDo(KeepFn())


class TestUpdateRefused:
    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"label": "Hold"}, r"the new job has no 'Keep', and the running one has: keep its label, or name the new"),
            (
                {"bag": BagStateSpec("sack", VarIntCoder())},
                r"Keep: the new job keeps no state 'bag'.*: replace the job",
            ),
            (
                {"bag": BagStateSpec("bag", StrUtf8Coder())},
                r"Keep: state 'bag' is bag of StrUtf8Coder, and was bag of VarIntCoder: replace the job",
            ),
            (
                {"bag": SetStateSpec("bag", VarIntCoder())},
                r"Keep: state 'bag' is set of VarIntCoder, and was bag of VarIntCoder: replace the job",
            ),
            (
                {"domain": TimeDomain.WATERMARK},
                r"Keep: timer 'waiting' is EVENT_TIME, and was PROCESSING_TIME: replace the job",
            ),
            (
                {"key": bytes},
                r"Keep: the coder of elements is .*BytesCoder.*, and was .*StrUtf8Coder.*: replace the job",
            ),
        ],
    )
    def test_in_a_line_that_names_what_has_changed(self, changed: dict[str, Any], expected: str) -> None:
        runner = run(counted, strict(1), Interrupted(by=Interruption.UPDATE, at=10))
        with pytest.raises(UpdateRefused, match=expected) as caught:
            run(lambda pipeline: counted(pipeline, **changed), strict(1), saved=runner.saved)
        assert "\n" not in str(caught.value)

    def test_a_step_that_was_renamed_goes_on_where_the_new_name_is_given(self) -> None:
        runner = run(kept, strict(1), Interrupted(by=Interruption.UPDATE, at=20))
        renamed = run(lambda pipeline: kept(pipeline, "Hold"), strict(2), saved=runner.saved, names={"Keep": "Hold"})
        assert renamed.report.step("Hold").bundles
        assert seen("pane") == seen("kept") == TIMES

    def test_a_new_step_begins_and_what_was_read_before_is_not_read_again(self) -> None:
        def more(pipeline: beam.Pipeline) -> None:
            kept(pipeline)
            _ = (
                pipeline
                | "More" >> beam.Create([1.0], reshuffle=False)
                | "New" >> beam.Map(lambda time: note(("new", time)))
            )

        runner = run(kept, strict(1), Interrupted(by=Interruption.UPDATE, at=20))
        updated = run(more, strict(2), saved=runner.saved)
        assert seen("new") == [1.0]
        assert updated.report.step("Create").bundles == 0
        assert seen("pane") == seen("kept") == TIMES
