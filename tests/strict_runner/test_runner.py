"""What the strict runner does to tiny pipelines; each of these holds on no kinder runner."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder, VarIntCoder
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsIter
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.combiners import CountCombineFn
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.userstate import BagStateSpec, CombiningValueStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from tests.strict_runner import CellTooLarge, Report, Strictness, StrictRunner, StrictRunnerError, WorkItemTooLarge

PLAIN = Strictness(repeats=0, checkpoints=0, partial=0, late_bundles=0, waits=False)
SEEDS = range(5)


class Seen:
    """What steps have noted outside of the pipeline, in this process."""

    values: ClassVar[list[Any]] = []


@pytest.fixture(autouse=True)
def _seen_is_empty() -> None:
    Seen.values = []


def run(build: Any, strictness: Strictness = PLAIN) -> Report:
    """Runs what `build` adds to a pipeline."""
    runner = StrictRunner(strictness)
    with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
        build(pipeline)
    return runner.report


def note(value: Any) -> Any:
    Seen.values.append(value)
    return value


def numbered(count: int, keys: int) -> beam.PTransform:
    pairs = [(f"key {number % keys}", number) for number in range(count)]
    return beam.Create(pairs, reshuffle=False).with_output_types(tuple[str, int])


class NoteBundles(beam.DoFn):
    """Notes the keys of each bundle."""

    def start_bundle(self) -> None:
        self.keys: list[str] = []

    def process(self, keyed: tuple[str, Any]) -> Iterator[tuple[str, Any]]:
        self.keys.append(keyed[0])
        yield keyed

    def finish_bundle(self) -> None:
        note(tuple(self.keys))


_COUNT = CombiningValueStateSpec("count", VarIntCoder(), CountCombineFn())


class CountByKey(beam.DoFn):
    """(key, how many of its elements there were)."""

    def process(
        self,
        keyed: tuple[str, int],
        count: Any = beam.DoFn.StateParam(_COUNT),  # noqa: B008
    ) -> Iterator[tuple[str, int]]:
        count.add(1)
        note(keyed)
        yield keyed[0], count.read()


class TestOneKeyABundle:
    @pytest.mark.parametrize(
        "shuffle",
        [
            beam.GroupByKey(),
            beam.ParDo(CountByKey()),
            beam.Reshuffle(),
        ],
        ids=["GroupByKey", "state", "Reshuffle"],
    )
    def test_behind_a_shuffle(self, shuffle: beam.PTransform) -> None:
        run(lambda pipeline: pipeline | numbered(20, keys=4) | shuffle | beam.ParDo(NoteBundles()))
        bundles = [keys for keys in Seen.values if keys and isinstance(keys[0], str) and keys[0].startswith("key")]
        bundles = [keys for keys in bundles if not isinstance(keys[-1], int)]
        assert {len(set(keys)) for keys in bundles} == {1}
        assert {key for keys in bundles for key in keys} == {f"key {number}" for number in range(4)}

    def test_a_kinder_runner_has_them_all_in_one(self) -> None:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            _ = pipeline | numbered(20, keys=4) | beam.GroupByKey() | beam.ParDo(NoteBundles())
        assert [len(keys) for keys in Seen.values] == [4]

    def test_a_reshuffle_has_a_bundle_for_each_element_and_one_with_buckets_has_few(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            numbers = pipeline | beam.Create(range(20), reshuffle=False)
            _ = numbers | "Bare" >> beam.Reshuffle() | "One" >> beam.Map(note)
            _ = numbers | "Buckets" >> beam.Reshuffle(num_buckets=2) | "Many" >> beam.Map(note)

        report = run(build)
        assert report.rows("One").mean == 1
        assert report.rows("Many").bundles <= 2

    def test_what_is_fused_with_a_shuffle_is_in_its_bundle_behind_a_flatten_too(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            grouped = pipeline | numbered(8, keys=4) | beam.GroupByKey()
            parts = (grouped | "A" >> beam.Map(note), grouped | "B" >> beam.Map(note))
            _ = parts | beam.Flatten() | beam.ParDo(NoteBundles())

        report = run(build)
        assert sum(isinstance(keys[-1], str) for keys in Seen.values) == 4
        assert report.step("A") is report.step("ParDo(NoteBundles)")


class Finalized(beam.DoFn):
    """Notes each element when its bundle is finalized."""

    def process(self, number: int, finalizer: Any = beam.DoFn.BundleFinalizerParam) -> Iterator[int]:
        finalizer.register(lambda: note(number))
        yield number


class TestRunTwice:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_state_and_output_of_one_run_count_and_what_is_written_outside_stays(self, seed: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            counted = pipeline | numbered(60, keys=20) | beam.ParDo(CountByKey()) | beam.CombinePerKey(max)
            assert_that(counted, equal_to([(f"key {number}", 3) for number in range(20)]))

        report = run(build, Strictness(seed=seed, repeats=0.5))
        assert len(Seen.values) > 60
        assert set(Counter(Seen.values).values()) >= {1, 2}
        assert report.step("ParDo(CountByKey)").repeats > 0

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_bundle_is_finalized_once(self, seed: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            _ = pipeline | beam.Create(range(30)) | beam.Reshuffle() | beam.ParDo(Finalized())

        run(build, Strictness(seed=seed, repeats=0.5))
        assert sorted(Seen.values) == list(range(30))

    @pytest.mark.parametrize("seed", SEEDS)
    def test_timers_are_set_once(self, seed: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            _ = pipeline | numbered(20, keys=20) | beam.ParDo(Remind()).with_output_types(str) | beam.Map(note)

        run(build, Strictness(seed=seed, repeats=0.5))
        assert set(Seen.values) == {f"key {number}" for number in range(20)}


_REMIND = TimerSpec("remind", TimeDomain.WATERMARK)


class Remind(beam.DoFn):
    """Gives each key when the watermark has passed its last element by a minute."""

    def process(
        self,
        keyed: tuple[str, int],
        timestamp: Any = beam.DoFn.TimestampParam,
        timer: Any = beam.DoFn.TimerParam(_REMIND),  # noqa: B008
    ) -> None:
        timer.set(max(timestamp, Timestamp(0)) + 60)

    @on_timer(_REMIND)
    def remind(self, key: Any = beam.DoFn.KeyParam) -> Iterator[str]:
        yield key


_BAG = BagStateSpec("bag", BytesCoder())


class Keep(beam.DoFn):
    def process(self, keyed: tuple[str, int], bag: Any = beam.DoFn.StateParam(_BAG)) -> None:  # noqa: B008
        bag.add(bytes(1000))


class TestBounds:
    def test_a_work_item_that_puts_out_too_much_never_commits(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            blown_up = pipeline | beam.Create([1]) | "Blow up" >> beam.FlatMap(lambda _: (bytes(1000),) * 100)
            _ = blown_up | beam.Reshuffle() | beam.Map(note)

        with pytest.raises(WorkItemTooLarge, match=r"Blow up.*: a work item puts out 1\d\d,\d\d\d bytes.*100,000 are"):
            run(build, Strictness(output_bytes=100_000))
        assert not Seen.values

    def test_what_one_may_put_out_is_not_what_all_may(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            spread = pipeline | beam.Create(range(20)) | "Spread" >> beam.Reshuffle()
            _ = spread | beam.Map(lambda _: bytes(1000)) | "Again" >> beam.Reshuffle() | beam.Map(note)

        report = run(build, Strictness(output_bytes=5_000))
        assert len(Seen.values) >= 20
        assert 1000 < report.largest_output < 5_000

    def test_a_cell_of_state_is_bounded(self) -> None:
        with pytest.raises(
            CellTooLarge, match=r"ParDo\(Keep\).*'bag' of a key has 1\d,\d\d\d bytes, and may have 10,000"
        ):
            run(lambda pipeline: pipeline | numbered(20, keys=1) | beam.ParDo(Keep()), Strictness(cell_bytes=10_000))

    def test_the_bound_of_a_cell_is_not_that_of_all(self) -> None:
        report = run(
            lambda pipeline: pipeline | numbered(20, keys=10) | beam.ParDo(Keep()), Strictness(cell_bytes=9_000)
        )
        assert 2000 <= report.step("ParDo(Keep)").largest_cell == report.largest_state < 2100


class TestOrder:
    def order(self, seed: int) -> list[int]:
        Seen.values = []
        one_key = numbered(20, keys=1)
        run(lambda pipeline: pipeline | one_key | beam.ParDo(CountByKey()), Strictness(seed=seed, repeats=0, partial=1))
        return [number for _, number in Seen.values]

    def test_elements_come_in_any_order_and_the_same_for_a_seed(self) -> None:
        orders = [self.order(seed) for seed in (1, 1, 2)]
        assert orders[0] == orders[1] != orders[2]
        assert sorted(orders[0]) == list(range(20)) != orders[0]


class Ended(OffsetRestrictionTracker):
    """A restriction of a source that may go on."""

    def is_bounded(self) -> bool:
        return False


class Batches(RestrictionProvider):
    """The numbers of a source's batches."""

    def initial_restriction(self, batches: list[list[float]]) -> OffsetRange:
        return OffsetRange(0, len(batches))

    def create_tracker(self, restriction: OffsetRange) -> Ended:
        return Ended(restriction)

    def restriction_size(self, batches: list[list[float]], restriction: OffsetRange) -> int:
        return restriction.size()

    def truncate(self, batches: list[list[float]], restriction: OffsetRange) -> None:
        return None


class GiveBatches(beam.DoFn):
    """A batch of times a bundle, each element with its time; the watermark is then the greatest of them. The next one
    comes so much later."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        batches: list[list[float]],
        tracker: Any = beam.DoFn.RestrictionParam(Batches()),  # noqa: B008
        estimator: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),  # noqa: B008
    ) -> Iterator[TimestampedValue]:
        position = tracker.current_restriction().start
        if tracker.try_claim(position):
            note(("read", position))
            for time_s in batches[position]:
                yield TimestampedValue(("", time_s), time_s)
            if (watermark := Timestamp(max(batches[position]))) > (estimator.current_watermark() or Timestamp(0)):
                estimator.set_watermark(watermark)
            tracker.defer_remainder(Duration(self.delay_s))


def stream(pipeline: beam.Pipeline, *batches: list[float], delay_s: float = 60) -> Any:
    """An unbounded PCollection of ("", time)."""
    begin = pipeline | beam.Create([list(batches)], reshuffle=False)
    return begin | "Give" >> beam.ParDo(GiveBatches(delay_s)).with_output_types(tuple[str, float])


class TestSources:
    def test_one_that_defers_is_resumed_until_it_ends(self) -> None:
        report = run(lambda pipeline: stream(pipeline, [1.0], [2.0, 3.0], [4.0]) | beam.Map(note))
        read = [value for value in Seen.values if value[0] == "read"]
        assert read == [("read", 0), ("read", 1), ("read", 2)]
        assert [time_s for key, time_s in Seen.values if not key] == [1.0, 2.0, 3.0, 4.0]
        assert report.step("Give").checkpoints == 2

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_restriction_is_split_at_a_claim_and_nothing_is_lost_or_doubled(self, seed: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            counted = pipeline | beam.Create([50] * 10) | "Count" >> beam.ParDo(CountUp()).with_output_types(int)
            assert_that(counted, equal_to(list(range(50)) * 10))

        report = run(build, Strictness(seed=seed, checkpoints=0.7))
        assert report.step("Count").checkpoints > 3
        assert report.step("Count").bundles == 10 + report.step("Count").checkpoints

    def test_a_restriction_is_left_whole_where_the_share_is_none(self) -> None:
        report = run(lambda pipeline: pipeline | beam.Create([50] * 10) | "Count" >> beam.ParDo(CountUp()))
        assert (report.step("Count").bundles, report.step("Count").checkpoints) == (10, 0)


class Offsets(RestrictionProvider):
    def initial_restriction(self, count: int) -> OffsetRange:
        return OffsetRange(0, count)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, count: int, restriction: OffsetRange) -> int:
        return restriction.size()


class CountUp(beam.DoFn):
    """Claims one number after the other."""

    def process(self, count: int, tracker: Any = beam.DoFn.RestrictionParam(Offsets())) -> Iterator[int]:  # noqa: B008
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield position
            position += 1


def windowed(times: Any, lateness_s: float = 0) -> Any:
    return (
        times
        | "Window"
        >> beam.WindowInto(
            FixedWindows(10),
            trigger=AfterWatermark(late=AfterCount(1)),
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=Duration(seconds=lateness_s),
        )
        | beam.GroupByKey()
        | beam.MapTuple(lambda _, times: note(("pane", *sorted(times))))
    )


class TestWindows:
    def test_one_fires_when_the_watermark_has_passed_while_its_source_goes_on(self) -> None:
        run(lambda pipeline: windowed(stream(pipeline, [1.0, 2.0], [3.0, 11.0], [12.0, 31.0], [32.0])))
        assert Seen.values.index(("pane", 1.0, 2.0, 3.0)) < Seen.values.index(("read", 2))
        assert Seen.values.index(("pane", 11.0, 12.0)) < Seen.values.index(("read", 3))
        assert Seen.values[-1] == ("pane", 31.0, 32.0)

    def test_a_kinder_runner_fires_it_when_its_source_has_ended(self) -> None:
        with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
            windowed(stream(pipeline, [1.0, 2.0], [3.0, 11.0], [12.0, 31.0], [32.0], delay_s=0))
        assert Seen.values.index(("pane", 1.0, 2.0, 3.0)) > Seen.values.index(("read", 3))

    def test_what_is_late_fires_afterwards(self) -> None:
        run(lambda pipeline: windowed(stream(pipeline, [1.0], [21.0], [2.0], [22.0]), lateness_s=60))
        panes = [value for value in Seen.values if value[0] == "pane"]
        assert panes == [("pane", 1.0), ("pane", 2.0), ("pane", 21.0, 22.0)]

    def test_what_is_later_than_allowed_is_dropped_and_counted(self) -> None:
        report = run(lambda pipeline: windowed(stream(pipeline, [1.0], [21.0], [2.0], [22.0]), lateness_s=5))
        assert ("pane", 2.0) not in Seen.values
        assert report.step("GroupByKey").late == 1

    @pytest.mark.parametrize("lateness_s", [0, 60, 3600])
    def test_a_window_has_a_timer_for_as_long_as_something_may_come(self, lateness_s: int) -> None:
        report = run(lambda pipeline: windowed(stream(pipeline, [1.0], [21.0], [41.0], [61.0]), lateness_s))
        step = report.step("GroupByKey")
        assert step.timers >= (4 if lateness_s == 3600 else 2)
        assert lateness_s <= step.furthest_timer_s <= lateness_s + 10


class TestTimers:
    def test_one_of_event_time_fires_when_the_watermark_has_passed(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            _ = stream(pipeline, [1.0], [50.0], [62.0], [63.0]) | beam.ParDo(RemindOnce()) | beam.Map(note)

        run(build)
        assert Seen.values.index("reminded") > Seen.values.index(("read", 2))
        assert Seen.values.index("reminded") < Seen.values.index(("read", 3))

    @pytest.mark.parametrize("late_bundles", [0, 30])
    def test_one_that_is_due_may_fire_after_other_bundles(self, late_bundles: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            times = stream(pipeline, *([float(time_s)] for time_s in range(1, 100)), delay_s=0)
            _ = times | beam.ParDo(RemindOnce()) | beam.Map(note)

        waited = []
        for seed in SEEDS:
            Seen.values = []
            run(build, Strictness(seed=seed, repeats=0, checkpoints=0, partial=0, late_bundles=late_bundles))
            waited.append(Seen.values.index("reminded") - Seen.values.index(("read", 60)))
        assert (max(waited) > 12) == bool(late_bundles)

    @pytest.mark.parametrize("waits", [True, False])
    def test_one_of_the_clock_fires_when_it_is_due(self, waits: bool) -> None:
        run(lambda pipeline: pipeline | numbered(3, keys=3) | beam.ParDo(Later()), Strictness(repeats=0, waits=waits))
        early = [now < due for due, now in Seen.values]
        assert len(early) == 3
        assert any(early) != waits

    def test_those_that_are_alive_are_counted(self) -> None:
        report = run(lambda pipeline: pipeline | numbered(20, keys=7) | beam.ParDo(Remind()).with_output_types(str))
        assert report.step("ParDo(Remind)").timers == 7


_REMIND_ONCE = TimerSpec("remind_once", TimeDomain.WATERMARK)


class RemindOnce(beam.DoFn):
    """Says so when the watermark has passed the first element by a minute."""

    def process(
        self,
        keyed: tuple[str, float],
        count: Any = beam.DoFn.StateParam(_COUNT),  # noqa: B008
        timer: Any = beam.DoFn.TimerParam(_REMIND_ONCE),  # noqa: B008
    ) -> None:
        if not count.read():
            timer.set(keyed[1] + 60)
        count.add(1)

    @on_timer(_REMIND_ONCE)
    def remind(self) -> Iterator[str]:
        yield "reminded"


_LATER = TimerSpec("later", TimeDomain.REAL_TIME)


class Later(beam.DoFn):
    """Notes when its timer was to come, and when it came."""

    def process(self, keyed: tuple[str, int], timer: Any = beam.DoFn.TimerParam(_LATER)) -> None:  # noqa: B008
        timer.set(time.time() + 0.3)

    @on_timer(_LATER)
    def later(self, timestamp: Any = beam.DoFn.TimestampParam) -> None:
        note((timestamp.micros / 1e6, time.time()))


class TestLatencyAndThreads:
    def elapsed_s(self, threads: int) -> float:
        strictness = Strictness(repeats=0, latency_s=0.05, threads=threads)
        pairs = numbered(30, keys=30)
        report = run(lambda pipeline: pipeline | pairs | beam.ParDo(NoteThread()), strictness)
        return report.elapsed_s

    def test_every_bundle_pays_and_keys_share_the_time(self) -> None:
        one = self.elapsed_s(1)
        assert len(set(Seen.values)) == 1
        many = self.elapsed_s(10)
        assert len(set(Seen.values)) > 5
        assert one > 31 * 0.05 > many

    def test_a_key_is_never_worked_on_twice_at_a_time(self) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            counted = pipeline | numbered(200, keys=3) | beam.ParDo(CountByKey()) | beam.CombinePerKey(max)
            assert_that(counted, equal_to([("key 0", 67), ("key 1", 67), ("key 2", 66)]))

        run(build, Strictness(partial=1, threads=8))


class NoteThread(beam.DoFn):
    def process(self, keyed: tuple[str, int], count: Any = beam.DoFn.StateParam(_COUNT)) -> None:  # noqa: B008
        note(threading.get_ident())


def _with_all(number: int, others: Iterable[int]) -> int:
    return number + sum(others)


class TestWholePipelines:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_side_inputs_and_combiners(self, seed: int) -> None:
        def build(pipeline: beam.Pipeline) -> None:
            ones = pipeline | "Ones" >> beam.Create([1] * 5)
            tens = pipeline | "Tens" >> beam.Create([10, 20]) | beam.Map(_with_all, AsIter(ones))
            assert_that(tens | beam.CombineGlobally(sum).without_defaults(), equal_to([40]))

        run(build, Strictness(seed=seed, repeats=0.5))

    def test_an_error_of_the_pipeline_ends_the_run_and_leaves_a_report(self) -> None:
        runner = StrictRunner(PLAIN)
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([]))
        _ = pipeline | beam.Create([1, 0]) | "Divide" >> beam.Map(lambda number: 1 // number)
        with pytest.raises(ZeroDivisionError, match="Divide"):
            pipeline.run()
        assert runner.report.steps

    def test_metrics_count_each_element_once(self) -> None:
        runner = StrictRunner(Strictness(repeats=0.5))
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([]))
        _ = pipeline | beam.Create(range(40)) | beam.ParDo(Counting())
        (counter,) = pipeline.run().metrics().query()["counters"]
        assert counter.committed == 40

    def test_steps_of_another_language_are_refused(self) -> None:
        pipeline = beam.Pipeline(options=PipelineOptions(["--environment_type=DOCKER"]))
        _ = pipeline | beam.Create([1])
        with pytest.raises(StrictRunnerError, match="only Python steps"):
            StrictRunner().run_via_runner_api(pipeline.to_runner_api(), pipeline.options)


class Counting(beam.DoFn):
    counter = beam.metrics.Metrics.counter("test", "counted")

    def process(self, number: int) -> None:
        self.counter.inc()


class TestReport:
    def test_it_is_a_table_and_json(self) -> None:
        report = run(lambda pipeline: pipeline | numbered(20, keys=7) | beam.ParDo(CountByKey()) | beam.Map(str))
        report = report.with_counts({"requests": 1234})
        lines = report.as_text().splitlines()
        assert lines[0].split()[:3] == ["step", "bundles", "rows"]
        assert any(line.startswith("ParDo(CountByKey)") and " 7 " in line for line in lines)
        assert lines[-1] == "requests: 1,234"
        read = json.loads(report.as_json())
        assert read["counts"] == {"requests": 1234}
        (step,) = [step for step in read["steps"] if step["name"].startswith("ParDo(CountByKey)")]
        assert step["rows"] == {"bundles": 7, "total": 20, "p50": 3}
        assert report.rows("Map(str)").total == 20
