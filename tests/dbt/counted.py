"""What the models of the dbt package must hold, counted plainly from the rows of the pipeline's views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

Row = Mapping[str, Any]
GAP: Final = timedelta(minutes=30)
SERVERS: Final = ("server", "integrations")
VIEWS_OF_PAGES: Final = ("Page", "Screen")


@dataclass(frozen=True, kw_only=True)
class Session:
    """A person's visit, by its events in order."""

    external_id: str
    events: tuple[Row, ...]

    @property
    def entry(self) -> Row | None:
        return next((event for event in self.events if event["type"] in VIEWS_OF_PAGES), None)


def made_at_devices(events: Iterable[Row]) -> list[Row]:
    """The events of no server, by person, in order."""
    own = (event for event in events if event["channel"] not in SERVERS)
    return sorted(own, key=lambda event: (event["external_id"], event["timestamp"], event["message_id"]))


def sessions(events: Iterable[Row]) -> Iterator[Session]:
    """The sessions of each person, in order."""
    for external_id, of_person in groupby(made_at_devices(events), key=lambda event: str(event["external_id"])):
        gathered: list[Row] = []
        for event in of_person:
            if gathered and event["timestamp"] > gathered[-1]["timestamp"] + GAP:
                yield Session(external_id=external_id, events=tuple(gathered))
                gathered = []
            gathered.append(event)
        yield Session(external_id=external_id, events=tuple(gathered))


def first_pages(events: Iterable[Row]) -> dict[str, str | None]:
    """The message_id of the first page or screen of each person who did something."""
    first: dict[str, str | None] = {}
    for event in made_at_devices(events):
        first.setdefault(event["external_id"], None)
        if first[event["external_id"]] is None and event["type"] in VIEWS_OF_PAGES:
            first[event["external_id"]] = event["message_id"]
    return first


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def day_of(event: Row) -> date:
    time: datetime = event["timestamp"]
    return time.date()


def accounts_weekly(events: Iterable[Row]) -> dict[tuple[str, date], tuple[int, int, int, int]]:
    """People, active days, events and those of servers, for each company and week."""
    people, days, own, of_servers = (defaultdict[Any, Any](kind) for kind in (set, set, int, int))
    for event in events:
        if event["account_id"] is None:
            continue
        key = event["account_id"], monday(day_of(event))
        if event["channel"] in SERVERS:
            of_servers[key] += 1
            continue
        people[key].add(event["external_id"])
        days[key].add(day_of(event))
        own[key] += 1
    return {
        key: (len(people[key]), len(days[key]), own[key], of_servers[key]) for key in own.keys() | of_servers.keys()
    }


def retention(events: Iterable[Row], contacts: Iterable[str]) -> dict[tuple[date, date], tuple[int, int]]:
    """For each week in which contacts were first active, and each week from then on: how many were active in both."""
    weeks: dict[str, set[date]] = defaultdict(set)
    known = {*contacts}
    for event in made_at_devices(events):
        if event["external_id"] in known:
            weeks[event["external_id"]].add(monday(day_of(event)))
    cohorts: dict[date, list[set[date]]] = defaultdict(list)
    for active in weeks.values():
        cohorts[min(active)].append(active)
    every = [week for active in weeks.values() for week in active]
    first, last = min(every), max(every)
    all_weeks = [first + timedelta(weeks=number) for number in range((last - first).days // 7 + 1)]
    return {
        (cohort, week): (len(people), sum(week in active for active in people))
        for cohort, people in cohorts.items()
        for week in all_weeks
        if week >= cohort
    }


def funnel(events: Iterable[Row], steps: list[tuple[str, str]], days: int) -> list[int]:
    """How many people took each step after the ones before it, within so many days of a first step."""
    times: dict[str, list[list[datetime]]] = defaultdict(lambda: [[] for _ in steps])
    for event in events:
        if (event["type"], event["name"]) in steps:
            times[event["external_id"]][steps.index((event["type"], event["name"]))].append(event["timestamp"])
    farthest = [max((_steps(start, of, days) for start in of[0]), default=0) for of in times.values()]
    return [sum(steps_taken >= step for steps_taken in farthest) for step in range(1, len(steps) + 1)]


def _steps(start: datetime, times: list[list[datetime]], days: int) -> int:
    at, end = start, start + timedelta(days=days)
    for number, of_step in enumerate(times[1:], start=1):
        after = [time for time in of_step if at <= time < end]
        if not after:
            return number
        at = min(after)
    return len(times)


def adoption(events: Iterable[Row], plans: Mapping[str, str], as_of: date, days: int) -> dict[tuple[str, str], int]:
    """How many companies of each plan used each tracked event within so many days."""
    using: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in made_at_devices(events):
        recent = as_of - timedelta(days=days) < day_of(event) <= as_of
        if recent and event["type"] == "Action" and event["account_id"] in plans:
            using[plans[event["account_id"]], event["name"]].add(event["account_id"])
    return {key: len(accounts) for key, accounts in using.items()}


def at_risk(events: Iterable[Row], as_of: date, days: int, share: float, minimum: int) -> dict[str, tuple[int, int]]:
    """The companies at risk, with their events of the last days and of as many before."""
    counts: dict[str, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for event in made_at_devices(events):
        ago = (as_of - day_of(event)).days
        if event["account_id"] is not None and 0 <= ago < 2 * days:
            counts[event["account_id"]][ago >= days].append(event)
    return {
        account: (len(now), len(before))
        for account, (now, before) in counts.items()
        if len(before) >= minimum
        and (len(now) <= share * len(before) or len(_people(now)) <= share * len(_people(before)))
    }


def _people(events: Iterable[Row]) -> set[str]:
    return {event["external_id"] for event in events}


def leads(contacts: Iterable[Row], members: Iterable[str], accounts: Iterable[Row]) -> dict[str, str | None]:
    """The contacts of no company, with the one that has their address's domain."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for account in accounts:
        by_domain[account["domain"]].append(account["account_id"])
    belonging = {*members}
    found: dict[str, str | None] = {}
    for contact in contacts:
        address = contact["email"] or ""
        if "@" in address and contact["account_id"] is None and contact["external_id"] not in belonging:
            owners = by_domain[address.strip().rpartition("@")[2].lower()]
            found[contact["external_id"]] = owners[0] if len(owners) == 1 else None
    return found


Values = dict[str, dict[Hashable, float | None]]
"""Of each metric its value for each group; None where it has none."""


def _grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> dict[Hashable, list[Any]]:
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def session_metrics(events: Iterable[Row], key: Callable[[Session], Hashable]) -> Values:
    """The metrics of the semantic model `sessions`, for each group of sessions."""
    values: Values = defaultdict(dict)
    for group, members in _grouped(sessions(events), key).items():
        lengths = [member.events[-1]["timestamp"] - member.events[0]["timestamp"] for member in members]
        seconds, pages = (
            sum(length // timedelta(seconds=1) for length in lengths),
            sum(event["type"] == "Page" for member in members for event in member.events),
        )
        bounces = sum(len(member.events) == 1 for member in members)
        values["sessions"][group] = len(members)
        values["visitors"][group] = len({member.external_id for member in members})
        values["bounces"][group] = bounces
        values["bounce_rate"][group] = bounces / len(members)
        values["session_seconds"][group] = seconds
        values["seconds_per_session"][group] = seconds / len(members)
        values["pageviews"][group] = pages
        values["pages_per_session"][group] = pages / len(members)
    return values


def activity_metrics(events: Iterable[Row], key: Callable[[Row], Hashable]) -> Values:
    """Those of `activity`, for each group of events."""
    values: Values = defaultdict(dict)
    for group, members in _grouped(events, key).items():
        own = made_at_devices(members)
        of_accounts = [event for event in own if event["account_id"] is not None]
        accounts = len({event["account_id"] for event in of_accounts})
        values["events"][group] = len(members)
        values["active_people"][group] = len(_people(own))
        values["active_accounts"][group] = accounts
        values["account_events"][group] = len(of_accounts)
        values["events_per_active_account"][group] = _ratio(len(of_accounts), accounts)
    return values


def people_metrics(events: Iterable[Row], contacts: Iterable[str], key: Callable[[Row, bool], Hashable]) -> Values:
    """Those of `people`, for each group of people: by their first event, and whether they are contacts."""
    known, firsts = {*contacts}, dict[str, Row]()
    for event in made_at_devices(events):
        firsts.setdefault(event["external_id"], event)
    groups = _grouped(firsts.items(), lambda item: key(item[1], item[0] in known))
    values: Values = defaultdict(dict)
    for group, members in groups.items():
        identified = sum(person in known for person, _ in members)
        values["new_people"][group] = len(members)
        values["new_contacts"][group] = identified
        values["identified_share"][group] = identified / len(members)
    return values


def weekly_active_people(events: Iterable[Row]) -> dict[Hashable, float | None]:
    """For each day how many people did something in the seven days up to it."""
    by_day: dict[date, set[str]] = defaultdict(set)
    for event in made_at_devices(events):
        by_day[day_of(event)].add(event["external_id"])
    last = max(map(day_of, events))
    week = [timedelta(days=ago) for ago in range(7)]
    days = {day + ago for day in by_day for ago in week if day + ago <= last}
    return {day: len(set[str]().union(*(by_day.get(day - ago, set()) for ago in week))) for day in days}
