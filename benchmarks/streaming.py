"""The job on a subscription against bare pipelines on the same source; `python -m benchmarks.streaming`.

On Prism and Pub/Sub's emulator, into DuckDB; each job and its floor are processes of their own, in turn. Publishing is
done before for the rates of events and of identity calls, and beside the job for the lag.

    python -m benchmarks.streaming               all figures (half an hour)
    python -m benchmarks.streaming identities    those of identify calls alone (five minutes)
    python -m benchmarks.streaming mix           the highest rate alone (up to half an hour)
    python -m benchmarks.streaming soak          ten minutes at a steady rate: whether memory and lag stay flat
        --rate=2500 --minutes=10 --new_people    ever new people, whose state the runner has to keep
        --directory                              on a directory that grows, without the emulator
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.data import calls
from examples import emulator, publish
from pipeline.sources.subscriber import EMULATOR

EVENTS_GOAL = 0.5
IDENTITY_GOAL = 0.7
LAG_GOAL_S = 5.0
_ROUNDS = 3
_EVENTS = 40_000
_IDS = 4_000
_RATES = (1000, 1500, 2000, 3000, 4000, 6000, 8000)
_WINDOW_S = 60
_PROJECT = "projects/benchmark-project"


class Place(NamedTuple):
    """A topic and its subscription."""

    topic: str
    subscription: str


def place(name: str) -> Place:
    """Makes a topic and a subscription for one measurement."""
    made = Place(f"{_PROJECT}/topics/{name}", f"{_PROJECT}/subscriptions/{name}")
    publish.create(*made)
    return made


def measured(step: str, name: str, payloads: Sequence[bytes]) -> float:
    """Publishes, runs a step of `benchmarks.streaming_steps` on it all, and returns the rate that it prints."""
    topic, subscription = place(name)
    count = publish.publish(topic, payloads)
    command = [sys.executable, "-m", "benchmarks.streaming_steps", step, subscription, str(count)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(ran.stdout.split()[-1])


class Run(NamedTuple):
    """A step of `benchmarks.streaming_steps`, what it is given, and how many units each message of it is."""

    step: str
    payloads: Sequence[bytes]
    units: int = 1


def compared(what: str, unit: str, bare: Run, job: Run, goal: float) -> None:
    """Prints a job's rate, that of its floor, and their ratio."""
    rates: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS):
        for run, run_rates in zip((bare, job), rates, strict=True):
            name = f"{run.step}-{run.units}-{number}-{os.getpid()}"
            run_rates.append(run.units * measured(run.step, name, run.payloads))
    fast, slow = map(statistics.median, rates)
    print(f"{what} (median of {_ROUNDS} in turn)")
    print(f"  bare pipeline        {fast:8,.0f} {unit} a second")
    print(f"  whole job            {slow:8,.0f} {unit} a second")
    print(f"  ratio                {slow / fast:8.2f}   goal: at least {goal}", flush=True)


def events() -> list[bytes]:
    """Pages, screens and tracks of the generated mix that are nothing but events."""
    payloads: list[bytes] = []
    with calls().open("rb") as lines:
        for line in lines:
            if b'"personas"' not in line and any(b'"type":"%b"' % kind in line for kind in (b"page", b"track")):
                payloads.append(line.rstrip(b"\n"))
            if len(payloads) == _EVENTS:
                return payloads
    raise SystemExit(f"{calls()} has only {len(payloads)} events")


def identities(*, paired: bool) -> list[bytes]:
    """Identify calls of so many people, who have nothing to do with one another, by their user id alone or with an
    anonymous id of their own."""
    return [
        json.dumps(
            {
                "type": "identify",
                "messageId": f"m{number}",
                "userId": f"u{number}",
                **({"anonymousId": f"a{number}"} if paired else {}),
                "timestamp": "2025-03-03T07:00:00Z",
                "traits": {"name": f"Person {number}", "email": f"u{number}@company{number % 50}.example"},
            }
        ).encode()
        for number in range(_IDS)
    ]


def identity_rates() -> None:
    """Prints how fast a window's keys are worked off. Of a user id alone that is one key; of a pair of ids it is three:
    either id, and whom both belong to."""
    alone, paired = identities(paired=False), identities(paired=True)
    bare = Run("state", alone)
    compared("Identify calls, each about another id", "keys", bare, Run("identify", alone), IDENTITY_GOAL)
    compared("Identify calls, each about two other ids", "keys", bare, Run("identify", paired, 3), IDENTITY_GOAL)


class Sample(NamedTuple):
    """Seconds since the start, messages read, seconds of lag, bytes of memory of the job and of its runner."""

    at: float
    messages: int
    lag: float
    memory: int
    runner: int


class Followed(NamedTuple):
    """What was seen of a job and its publisher; `drain` is how many seconds the job took to end after its stop."""

    samples: list[Sample]
    drain: float

    def lag(self, part: float) -> float:
        """The median lag of the last part of the time."""
        return statistics.median(sample.lag for sample in self.samples[-max(1, int(len(self.samples) * part)) :])


def follow(rate: float, seconds: float, name: str, *, new_people: bool = True) -> Followed:
    """Publishes the mix to a subscription at a rate, and runs the job on it with the default window."""
    topic, subscription = place(f"{name}-{os.getpid()}")
    return _follow(topic, subscription, rate, seconds, new_people)


def follow_directory(rate: float, seconds: float, *, new_people: bool) -> Followed:
    """The same with a directory."""
    with tempfile.TemporaryDirectory() as folder:
        return _follow(folder, folder, rate, seconds, new_people)


def _follow(published: str, followed: str, rate: float, seconds: float, new_people: bool) -> Followed:
    steps = [sys.executable, "-m", "benchmarks.streaming_steps"]
    people = [] if new_people else ["same"]
    with subprocess.Popen([*steps, "publish", published, str(rate), *people]) as publishing:
        ran = subprocess.run([*steps, "follow", followed, str(seconds)], stdout=subprocess.PIPE, text=True, check=True)
        publishing.terminate()
    *samples, drain = (json.loads(line) for line in ran.stdout.splitlines() if line.startswith(("[", "{")))
    return Followed([Sample(*sample) for sample in samples], drain["drain"])


def highest_rate() -> None:
    """Prints the highest of some rates that the job keeps up with, and the lag at half of it."""
    print("The generated mix")
    kept = 0.0
    for rate in _RATES:
        followed = follow(rate, 3 * _WINDOW_S, f"rate-{rate}")
        read = followed.samples[-1].messages / followed.samples[-1].at
        keeps_up = followed.lag(0.3) < LAG_GOAL_S and followed.drain < _WINDOW_S
        print(
            f"  {rate:6,} published, {read:8,.0f} read a second, lag {followed.lag(0.3):5.1f} s, "
            f"{followed.drain:5.1f} s to close the last window{'' if keeps_up else ': falls behind'}",
            flush=True,
        )
        if not keeps_up:
            break
        kept = rate
    half = follow(kept / 2, 2 * _WINDOW_S, "half").lag(0.5)
    print(f"  highest rate         {kept:8,.0f} messages a second, with windows of {_WINDOW_S} s")
    print(f"  lag at half of it    {half:8.1f} s   goal: under {LAG_GOAL_S:g}", flush=True)


def soak(followed: Followed) -> None:
    """Prints memory and lag through a long run, and whether they were flat."""
    for sample in followed.samples[:: max(1, len(followed.samples) // 20)]:
        seen = f"{sample.at:6.0f} s {sample.messages:10,} messages, lag {sample.lag:5.1f} s"
        print(f"  {seen}, {sample.memory / 1e6:6.0f} MB and the runner {sample.runner / 1e6:6.0f} MB")
    third = len(followed.samples) // 3
    middle, last = followed.samples[third : 2 * third], followed.samples[2 * third :]
    messages = _median(last, "messages") - _median(middle, "messages")
    if not messages or not _median(middle, "lag"):
        raise SystemExit("nothing was read in the middle of that time: give more --minutes")
    for what in ("lag", "memory", "runner"):
        before, after = _median(middle, what), _median(last, what)
        grown = "" if what == "lag" else f", {(after - before) / messages:+.0f} bytes a message"
        print(f"  {what}: in the last third {after / before:.2f} of what it was in the middle one{grown}")


def _median(samples: Sequence[Sample], what: str) -> float:
    return statistics.median(getattr(sample, what) for sample in samples)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("figures", "identities", "mix", "soak"), default="figures")
    parser.add_argument("--rate", type=float, default=2500.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--new_people", action="store_true")
    parser.add_argument("--directory", action="store_true")
    given = parser.parse_args(argv)
    if given.directory:
        soak(follow_directory(given.rate, given.minutes * 60, new_people=given.new_people))
        return
    with emulator.started() as host:
        os.environ[EMULATOR] = host
        if given.what == "soak":
            soak(follow(given.rate, given.minutes * 60, "soak", new_people=given.new_people))
            return
        if given.what == "figures":
            sent = events()
            compared("Pages and tracks", "messages", Run("drop", sent), Run("job", sent), EVENTS_GOAL)
        if given.what in ("figures", "identities"):
            identity_rates()
        if given.what in ("figures", "mix"):
            highest_rate()


if __name__ == "__main__":
    main()
