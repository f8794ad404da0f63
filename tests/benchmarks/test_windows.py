"""The calls that the windows of the benchmarks have."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import heavy_windows, many_ids
from benchmarks.identity import Call, Job


def ids(calls: list[Call]) -> set[str]:
    return {id for call in calls for id, _ in call}


def latest(calls: list[Call]) -> int:
    return max(known.seen[1][0] for call in calls for _, known in call if known.seen is not None)


def test_a_file_has_a_call_of_each_person(tmp_path: Path) -> None:
    lines = many_ids._write(tmp_path / "calls.jsonl", 10).read_text("utf-8").splitlines()
    calls = [json.loads(line) for line in lines]
    assert len(calls) == 5
    assert len({call["messageId"] for call in calls}) == 5
    assert {call["userId"] for call in calls} == {f"user-{number}" for number in range(5)}


def test_news_are_of_as_many_persons_that_the_job_has() -> None:
    known = many_ids._people(range(5_000))
    for window in (0, 1, 29):
        news = many_ids._news(10_000, window)
        assert len(ids(news)) == 2 * many_ids._NEWS
        assert ids(news) <= ids(known)
        assert latest(news) > latest(known)


def test_the_same_people_say_something_newer_in_each_window() -> None:
    first, second = ([*heavy_windows._same_people(window)] for window in (0, 1))
    assert ids(first) == ids(second)
    assert latest(second) > latest(first)


def test_the_state_of_the_same_people_does_not_grow() -> None:
    job = Job()
    sizes = []
    for window in range(20):
        job.window(heavy_windows._same_people(window))
        sizes.append(sum(map(len, job._states.values())))
    assert sizes[-1] < 1.05 * sizes[1]
