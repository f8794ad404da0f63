"""How many calls a second, and how much at once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.limits import CallRate, Full, Limits, Load, within


@given(
    st.integers(min_value=1, max_value=1000),
    st.lists(st.tuples(st.floats(min_value=0, max_value=3), st.integers(min_value=1, max_value=500)), max_size=60),
)
@settings(deadline=None)
def test_no_more_calls_are_taken_than_the_rate_allows(per_second: int, requests: list[tuple[float, int]]) -> None:
    rate, now, calls, largest = CallRate(per_second), 0.0, 0, 0
    for pause, size in requests:
        now += pause
        if rate.seconds_to_wait(size, now) == 0:
            calls += size
            largest = max(largest, size)
        assert calls <= per_second * (now + 1) + largest + 1e-6


@pytest.mark.parametrize(
    ("what", "requests"),
    [
        ("those of a second at once", [(0, 10, 0)]),
        ("more than those of a second at once, and then a pause", [(0, 25, 0), (0, 1, 1.6), (1.6, 1, 0)]),
        ("one a tenth of a second", [(0, 10, 0), (0.1, 1, 0), (0.15, 1, 0.05), (0.2, 1, 0)]),
        ("a pause saves up no more than a second", [(0, 10, 0), (100, 10, 0), (100, 1, 0.1)]),
        ("a clock that goes back", [(5, 10, 0), (4, 1, 0.1)]),
    ],
)
def test_the_wait_is(what: str, requests: list[tuple[float, int, float]]) -> None:
    rate = CallRate(10)
    assert [rate.seconds_to_wait(calls, now) for now, calls, _ in requests] == pytest.approx(
        [wait for _, _, wait in requests]
    )


def test_whoever_waits_as_told_is_taken() -> None:
    rate = CallRate(3)
    rate.seconds_to_wait(20, 0.0)
    wait = rate.seconds_to_wait(1, 0.5)
    assert wait > 0
    assert rate.seconds_to_wait(1, 0.5 + wait + 1e-9) == 0


def test_what_is_in_flight_is_bounded_and_let_go() -> None:
    in_flight = Load(Limits(max_requests=1, max_bytes=10))
    in_flight.enter()
    in_flight.take(10)
    for more in (in_flight.enter, lambda: in_flight.take(1)):
        with pytest.raises(Full):
            more()
    in_flight.leave(10)
    in_flight.enter()
    assert (in_flight.requests, in_flight.bytes) == (1, 0)
    in_flight.leave(0)
    with pytest.raises(Full):
        in_flight.enter(11)
    assert (in_flight.requests, in_flight.bytes) == (0, 0)
    in_flight.enter(10)
    assert (in_flight.requests, in_flight.bytes) == (1, 10)


def test_a_wait_ends() -> None:
    async def long() -> None:
        await asyncio.sleep(10)

    async def short() -> int:
        return 1

    assert asyncio.run(within(5, short())) == 1
    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, long()))


def test_a_coroutine_that_is_cancelled_while_it_waits_is_told() -> None:
    told = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async def cancelled() -> None:
        task = asyncio.create_task(within(50, waiting()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    with pytest.raises(TimeoutError):
        asyncio.run(within(0.01, waiting()))
    assert told == ["cancelled", "cancelled"]


def test_an_error_comes_out_whether_it_waited_or_not() -> None:
    async def failing(seconds: float | None) -> None:
        if seconds is not None:
            await asyncio.sleep(seconds)
        raise KeyError("why")

    for seconds in (None, 0, 0.001):
        with pytest.raises(KeyError):
            asyncio.run(within(5, failing(seconds)))
