"""Makes Segment calls as Segment's Pub/Sub destination delivers them, one JSON document per line.

The calls tell the story of an imaginary product, Larkspur, with a marketing site, a web app and mobile apps: visitors
come anonymously, sign up, use several devices, belong to companies, enter audiences, change their ids, ask to be
forgotten. A few percent of the lines are the rubbish that real sources send. The output depends on the arguments alone:
there is no clock and no randomness but `random.Random(seed)`.

    python -m examples.generate --output=examples/events.jsonl               # the sample in this folder
    python -m examples.generate --calls=200000 --size=1700 --output=big.jsonl
"""

import argparse
import heapq
import itertools
import json
import os
import sys
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Generic, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

# Times are milliseconds since the epoch.
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * 60 * MINUTE
START = 1_740_985_200_000  # 2025-03-03T07:00:00Z
EPOCH = datetime(1970, 1, 1)

IDENTITY_SHARE = 6  # one call in six says who somebody is; the others are pages, screens and tracks
LATEST = 300  # a late or repeated call arrives at most so many calls later
VISITORS = 200  # anonymous visitors remembered; older ones never come back


@dataclass(frozen=True)
class GeneratorSettings:
    """What to generate: the options of the same names, whose defaults make the sample."""

    calls: int = 3000  # lines
    seed: int = 7
    size: int = 0  # bytes to aim at in the mean; 0: as the calls come
    days: int = 30
    rubbish: float = 0.03  # shares of calls, from 0 to 1
    late: float = 0.03
    duplicates: float = 0.02


# ---------------------------------------------------------------------------------------------------- vocabulary


@dataclass(frozen=True)
class Source:
    """A Segment source: its calls carry `project_id` as their `projectId`."""

    name: str
    project_id: str


WEB_APP = Source("Web app", "qXbT3nGc9LwYdE5rJk2HsU")
MARKETING_SITE = Source("Marketing site", "vZgEq4Q3mDkBy4HWm8CqiR")
MOBILE_APPS = Source("Mobile apps", "8fKp2WvN6tRzAhM4xCyDjQ")
SOURCES = (WEB_APP, MARKETING_SITE, MOBILE_APPS)


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = words(
    "Amara Anna Björn Carlos Chen Daniela Elif Emma Farid Fiona François Grace Hana Hugo Ibrahim Ines Jonas José Kavya "
    "Lars Leila Liam Lucía Maja Mateo Mei Nadia Ngozi Noah Oksana Olivia Paolo Priya Ravi Renée Samir Sofia Tomás Yuki "
    "Zoë"
)
LAST_NAMES = words(
    "Abebe Almeida Andersson Berg Castro Chowdhury Costa Diallo Eriksen Fischer Garcia Haddad Horvat Ivanova Janssen "
    "Kaya Kim Kowalska Lindqvist Martin Mbeki Moreau Müller Nakamura Novak Okafor Olsen Patel Petrov Quinn Rossi Sato "
    "Schmidt Silva Suzuki Tanaka Varga Weber Wójcik Zhang"
)
TITLES = ("Account Manager", "Analyst", "CEO", "Designer", "Engineer", "Head of Operations", "Product Manager")
PERSONAL_DOMAINS = ("gmail.com", "outlook.com", "yahoo.co.uk", "icloud.com", "gmx.de")

COMPANY_STEMS = words(
    "Northwind Contoso Zürcher Fabrikam Tailspin Wingtip Litware Brightwater Calloway Driftwood Emberly Foxglove "
    "Granite Harborline Ironbark Kestrel Lindenhof Marlowe Nordlicht Oakridge Pinecrest Quillon Ravenna Straßburger"
)
COMPANY_KINDS = (
    ("Traders", "Wholesale"),
    ("Foods", "Food"),
    ("Labs", "Research"),
    ("Logistics", "Transport"),
    ("Health", "Healthcare"),
    ("Studios", "Media"),
    ("Energy", "Utilities"),
    ("Robotics", "Manufacturing"),
    ("Travel", "Tourism"),
    ("Finance", "Financial services"),
)
PLANS = ("free", "starter", "team", "business", "enterprise")

SITE = "https://larkspur.example"
APP = "https://app.larkspur.example"
SITE_PAGES = (
    ("/", "Larkspur"),
    ("/pricing", "Pricing"),
    ("/features/reports", "Reports"),
    ("/features/timelines", "Timelines"),
    ("/customers/northwind", "Northwind"),
    ("/blog/estimates", "Estimating without tears"),
    ("/docs/getting-started", "Getting started"),
    ("/signup", "Sign up"),
)
APP_PAGES = (
    ("/dashboard", "Dashboard"),
    ("/projects", "Projects"),
    ("/projects/launch", "Project"),
    ("/reports/weekly", "Weekly report"),
    ("/settings/members", "Members"),
    ("/settings/billing", "Billing"),
)
SCREENS = ("Home", "Projects", "Project", "Inbox", "Settings")
REFERRERS = ("", "", "https://www.google.com/", "https://duckduckgo.com/", "https://news.example/tools")
CAMPAIGNS = (
    {"name": "spring-launch", "source": "google", "medium": "cpc", "term": "project planning"},
    {"name": "newsletter-12", "source": "newsletter", "medium": "email", "content": "header"},
    {"name": "partner-week", "source": "linkedin", "medium": "social"},
)
PROJECTS = ("Website relaunch", "Q3 planning", "Mobile beta", "Warehouse move", "Hiring", "Küchenumbau")

Properties = Callable[[Random], Json]
Events = tuple[tuple[str, Properties], ...]
SITE_EVENTS: Events = (
    ("CTA Clicked", lambda r: {"label": r.choice(("Start free", "Book a demo")), "location": "hero"}),
    ("Demo Requested", lambda r: {"team_size": r.randint(2, 400), "form": "demo-2"}),
    ("Video Played", lambda r: {"video_id": f"v{r.randint(1, 9)}", "position": r.randint(0, 90), "total_length": 94}),
)
APP_EVENTS: Events = (
    ("Project Created", lambda r: {"project_id": r.randint(1000, 9999), "project_name": r.choice(PROJECTS)}),
    ("Task Completed", lambda r: {"task_id": r.getrandbits(32), "days_open": r.randint(0, 40), "overdue": False}),
    ("Task Completed", lambda r: {"task_id": r.getrandbits(32), "days_open": r.randint(5, 90), "overdue": True}),
    ("Report Exported", lambda r: {"format": r.choice(("csv", "pdf")), "rows": r.randint(1, 5000)}),
    ("Member Invited", lambda r: {"role": r.choice(("viewer", "editor", "admin")), "seats_left": r.randint(0, 20)}),
    ("Plan Upgraded", lambda r: {"plan": r.choice(PLANS[2:]), "previous_plan": r.choice(PLANS[:2]), "currency": "EUR"}),
    ("Search Performed", lambda r: {"query": r.choice(PROJECTS).lower(), "results": r.randint(0, 60)}),
)
MOBILE_EVENTS: Events = (
    ("Application Opened", lambda r: {"from_background": r.random() < 0.6, "version": "5.2.1", "build": "812"}),
    ("Push Notification Opened", lambda r: {"campaign": {"name": "due-today", "medium": "Push"}}),
    ("Task Completed", lambda r: {"task_id": r.getrandbits(32), "days_open": r.randint(0, 40), "overdue": False}),
)
BACKEND_EVENTS: Events = (
    ("Email Delivered", lambda r: {"email_id": f"em_{r.getrandbits(40):x}", "email_subject": "Your week in Larkspur"}),
    ("Email Opened", lambda r: {"email_id": f"em_{r.getrandbits(40):x}", "email_subject": "Your week in Larkspur"}),
    ("Reminder Sent", lambda r: {"project_name": r.choice(PROJECTS), "tasks_due": r.randint(1, 12)}),
    ("Report Generated", lambda r: {"report": "weekly", "rows": r.randint(1, 5000), "seconds": r.randint(1, 900) / 10}),
    ("Invoice Paid", lambda r: {"invoice_id": f"in_{r.getrandbits(40):x}", "revenue": r.randint(9, 900) + 0.5}),
)

LOCALES = (
    ("en-US", "America/New_York"),
    ("en-GB", "Europe/London"),
    ("de-DE", "Europe/Berlin"),
    ("pt-BR", "America/Sao_Paulo"),
    ("ja-JP", "Asia/Tokyo"),
)
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:135.0) Gecko/20100101 Firefox/135.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
)
IOS = ("analytics-ios", "4.1.8", {"manufacturer": "Apple", "type": "ios"}, {"name": "iOS", "version": "18.3"})
ANDROID = (
    "analytics-kotlin",
    "1.19.1",
    {"manufacturer": "Google", "type": "android"},
    {"name": "Android", "version": "15"},
)
PHONES = (("iPhone15,4", *IOS), ("iPad14,3", *IOS), ("Pixel 8", *ANDROID), ("Pixel Tablet", *ANDROID))

AUDIENCES = ("active_last_7_days", "trial_users", "high_value_customers", "churn_risk")
COMPUTED_TRAITS: tuple[tuple[str, Callable[[Random], object]], ...] = (
    ("projects_created_30_days", lambda r: r.randint(0, 25)),
    ("Task Completed Last30Days", lambda r: r.randint(0, 140)),
    ("lifetime_value", lambda r: r.randint(0, 99999) / 100),
    ("most_viewed_page", lambda r: r.choice(SITE_PAGES)[0]),
    ("favourite_projects", lambda r: [r.choice(PROJECTS), r.choice(PROJECTS)]),
)
JOURNEY_STEPS = ("journeys_step_onboarding_invited_team", "journeys_step_onboarding_first_report")


# --------------------------------------------------------------------------------------------- people and things


@dataclass(eq=False)
class Company:
    """A customer: the account that calls name by group, by company traits or by the domain of an e-mail address."""

    number: int
    name: str
    domain: str
    industry: str
    plan: str
    employees: int

    @property
    def group_id(self) -> str:
        return str(self.number)

    def traits(self) -> Json:
        return {
            "name": self.name,
            "industry": self.industry,
            "employees": self.employees,
            "plan": self.plan,
            "website": f"https://www.{self.domain}",
        }


@dataclass(eq=False)
class Device:
    """What calls come from: its calls carry a `userId` once somebody has signed in on it, a server's always."""

    source: Source
    kind: str  # a key of CHANNELS
    context: Json
    anonymous_id: str | None = None
    clock_error: int = 0
    signed_in: bool = False


CHANNELS = {"browser": "client", "phone": "client", "server": "server", "engage": "integrations"}


@dataclass(eq=False)
class User:
    """A person, anonymous until the first sign-in; then `user_id` is the id that the product knows them by."""

    first_name: str
    last_name: str
    email: str
    company: Company | None
    created_at: int
    locale: tuple[str, str]
    user_id: str | None = None
    devices: list[Device] = field(default_factory=list)


@dataclass(frozen=True)
class GeneratedCall:
    """One call as Segment would deliver it, and when it received it."""

    received_at: int
    body: Json


def iso(at: int) -> str:
    return (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds") + "Z"


def go_time(at: int) -> str:
    """The time as Go prints it, monotonic clock included: Segment's own services let that slip out."""
    return f"{EPOCH + timedelta(milliseconds=at):%Y-%m-%d %H:%M:%S.%f}489 +0000 UTC m=+{at % DAY}.298768264"


def ascii_slug(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()


class Deck(Generic[T]):
    """Deals every item once, shuffled, before any item comes again: so rare things are all there in a small sample."""

    def __init__(self, rng: Random, items: Iterable[T]) -> None:
        self._rng = rng
        self._items = list(items)
        self._left: list[T] = []

    def deal(self) -> T:
        if not self._left:
            self._left = self._items.copy()
            self._rng.shuffle(self._left)
        return self._left.pop()


class Weighted(Generic[T]):
    """Picks items by their weights."""

    def __init__(self, rng: Random, table: Sequence[tuple[T, int]]) -> None:
        self._rng = rng
        self._items = [item for item, _ in table]
        self._weights = list(itertools.accumulate(weight for _, weight in table))

    def pick(self) -> T:
        return self._rng.choices(self._items, cum_weights=self._weights)[0]


# ------------------------------------------------------------------------------------------------------ the story


class World:
    """Larkspur's visitors, users and companies, and what they do, scene by scene: a few calls, mostly of one person."""

    def __init__(self, settings: GeneratorSettings) -> None:
        self.rng = Random(settings.seed)
        self.now = START
        self._step = max(1, settings.days * DAY // max(1, settings.calls))  # mean time between two calls
        self._late = settings.late
        self._visitors: list[User] = []
        self._users: list[User] = []
        self._companies: list[Company] = []
        self._backend = Device(WEB_APP, "server", {"library": {"name": "analytics-python", "version": "2.3.4"}})
        self._alias_stories = Deck(self.rng, ALIAS_STORIES)
        self._activities = Weighted(self.rng, ACTIVITIES)
        self._identity_scenes = Weighted(self.rng, IDENTITY_SCENES)
        self._calls = 0
        self._identity_calls = 0

    def scene(self) -> list[GeneratedCall]:
        """The calls of the next scene; moves the clock on by as much time as so many calls take on average."""
        if not self._users:
            scene: Scene = World.sign_up
        elif self._identity_calls * IDENTITY_SHARE > self._calls:
            scene = self._activities.pick()
        else:
            scene = self._identity_scenes.pick()
        calls = list(scene(self))
        self._calls += len(calls)
        self._identity_calls += sum(is_identity(call.body) for call in calls)
        self.now += self.rng.randrange(2 * self._step * len(calls) + 1)
        return calls

    def wait(self) -> int:
        """How long a late or repeated call is under way."""
        return self._step * self.rng.randrange(1, LATEST)

    # Scenes of pages, screens and tracks.

    def visit_site(self) -> Iterator[GeneratedCall]:
        user = self._visitor(returning=0.4) if self.rng.random() < 0.6 else self._user()
        device = self._device(user, MARKETING_SITE)
        campaign = self.rng.choice(CAMPAIGNS) if self.rng.random() < 0.3 else None
        yield from self._pages(user, device, SITE, SITE_PAGES, SITE_EVENTS, {}, campaign)

    def use_web_app(self) -> Iterator[GeneratedCall]:
        user = self._user()
        extra: Json = {"groupId": user.company.group_id} if user.company else {}
        yield from self._pages(user, self._device(user, WEB_APP), APP, APP_PAGES, APP_EVENTS, extra)

    def use_mobile_app(self) -> Iterator[GeneratedCall]:
        user = self._user()
        device = self._device(user, MOBILE_APPS)
        at = self.now
        for _ in range(self.rng.randint(1, 5)):
            at += self._pause()
            if self.rng.random() < 0.55:
                screen = self.rng.choice(SCREENS)
                yield self._call("screen", user, device, at, name=screen, properties={"orientation": "portrait"})
            else:
                yield self._track(user, device, at, MOBILE_EVENTS, {})

    def run_backend(self) -> Iterator[GeneratedCall]:
        """The backend tells of several users, whom it knows by their user ids alone."""
        for _ in range(self.rng.randint(1, 4)):
            yield self._track(self._user(), self._backend, self.now, BACKEND_EVENTS, {})

    # Scenes that say who somebody is.

    def sign_up(self) -> Iterator[GeneratedCall]:
        """An anonymous visitor becomes a user; in the web app the company is named as well."""
        user, device = self._known(self._visitor(returning=0.8))
        yield self._identify(user, device, self.now)
        yield self._call("track", user, device, self.now + SECOND, event="Signed Up", properties={"plan": "free"})
        if device.source is WEB_APP and user.company:
            yield self._group(user, user.company, device, self.now + 2 * SECOND)

    def sign_in(self) -> Iterator[GeneratedCall]:
        """A known user signs in, often on one more device, which has an anonymous id of its own."""
        user, source = self._user(), self.rng.choice(SOURCES)
        device = self._new_device(user, source) if self.rng.random() < 0.4 else self._device(user, source)
        device.signed_in = True
        yield self._identify(user, device, self.now)

    def share_device(self) -> Iterator[GeneratedCall]:
        """Somebody signs in where somebody else usually does."""
        yield self._identify(self._user(), self._user().devices[0], self.now)

    def change_profile(self) -> Iterator[GeneratedCall]:
        """A few traits change, or are cleared with null."""
        user = self._user()
        traits: Json = self.rng.choice(
            (
                {"title": self.rng.choice(TITLES)},
                {"phone": f"+49 30 {self.rng.randint(100000, 999999)}", "email": user.email},
                {"phone": None},
                {"newsletter": self.rng.random() < 0.5, "theme": {"name": "dark", "contrast": self.rng.randint(1, 3)}},
                {"username": ascii_slug(user.first_name), "website": None},
            )
        )
        device = self._backend if self.rng.random() < 0.4 else user.devices[0]
        yield self._call("identify", user, device, self.now, traits=traits)

    def change_company(self) -> Iterator[GeneratedCall]:
        """A company's plan and size change, or a user moves to another company."""
        user = self._user()
        if user.company is None or self.rng.random() < 0.1:
            user.company = self._company()
        user.company.plan = self.rng.choice(PLANS)
        user.company.employees += self.rng.randint(0, 30)
        device = self._backend if self.rng.random() < 0.5 else user.devices[0]
        yield self._group(user, user.company, device, self.now)

    def audience(self) -> Iterator[GeneratedCall]:
        """Engage puts a user into an audience or takes them out, by an identify or a track; null withdraws it."""
        key = self.rng.choice(AUDIENCES)
        member = self.rng.choice((True, True, True, False, False, None))
        event = "Audience Entered" if member else "Audience Exited"
        yield self._engage("audience", key, member, event, {"audience_key": key})

    def computed_trait(self) -> Iterator[GeneratedCall]:
        key, value = self.rng.choice(COMPUTED_TRAITS)
        kind = self.rng.choice(("trait", "computed_trait"))
        yield self._engage(kind, key, value(self.rng), "Trait Computed", {"trait_key": key})

    def journey_step(self) -> Iterator[GeneratedCall]:
        """Journeys send their booleans as strings."""
        key, value = self.rng.choice(JOURNEY_STEPS), self.rng.choice(("true", "true", "false"))
        yield self._engage("journey_step", key, value, "Journey Step Entered", {"journey_name": "Onboarding"})

    def change_ids(self) -> Iterator[GeneratedCall]:
        yield from self._alias_stories.deal()(self)

    def forget(self) -> Iterator[GeneratedCall]:
        """A user asks to be deleted; every third one comes back later."""
        user = self._user()
        received = self.now + 11
        yield GeneratedCall(
            received,
            {
                "_metadata": {"bundled": [], "bundledIds": [], "unbundled": []},
                "channel": "server",
                "context": None,
                "integrations": None,
                "messageId": f"del-{self._uuid()}",
                "originalTimestamp": go_time(self.now),
                "projectId": user.devices[0].source.project_id,
                "receivedAt": iso(received),
                "timestamp": iso(self.now),
                "type": "delete",
                "userId": user.user_id,
                "version": 2,
            },
        )
        if self.rng.random() < 1 / 3:
            yield self._identify(user, user.devices[0], self.now + self.wait())
        else:
            self._users.remove(user)

    # Stories of aliases; the letters are those of docs/semantics.md, section 3.

    def alias_anonymous(self) -> Iterator[GeneratedCall]:
        """anonymous → user, as the first thing that is heard of the user."""
        user, device = self._known(self._visitor(returning=0.8))
        yield self._alias(user, device, device.anonymous_id, user.user_id, 0)
        yield self._identify(user, device, self.now + SECOND)

    def alias_by_default(self) -> Iterator[GeneratedCall]:
        """The same without a previous id: the anonymous id stands for it."""
        user, device = self._known(self._visitor(returning=0.8))
        yield self._alias(user, device, None, user.user_id, 0)
        yield self._identify(user, device, self.now + SECOND)

    def alias_rename(self) -> Iterator[GeneratedCall]:
        """a → b: the user goes by a new id from now on."""
        yield from self._rename(self._user(), 0)

    def alias_chain(self) -> Iterator[GeneratedCall]:
        """a → b, b → c."""
        user = self._user()
        yield from self._rename(user, 0)
        yield from self._rename(user, 1)

    def alias_swap_back(self) -> Iterator[GeneratedCall]:
        """a → b, b → a."""
        user = self._user()
        first = user.user_id
        yield from self._rename(user, 0)
        yield self._alias(user, user.devices[0], user.user_id, first, 1)
        user.user_id = first

    def alias_again(self) -> Iterator[GeneratedCall]:
        """a → b, a → d: the second finds a absorbed."""
        user = self._user()
        first = user.user_id
        yield from self._rename(user, 0)
        yield self._alias(user, user.devices[0], first, self._new_user_id(), 1)

    def alias_self(self) -> Iterator[GeneratedCall]:
        """a → a."""
        user = self._user()
        yield self._alias(user, user.devices[0], user.user_id, user.user_id, 0)

    def alias_two_users(self) -> Iterator[GeneratedCall]:
        """a → b, where both have been users for a while: one person had signed up twice."""
        user, other = self._user(), self._user()
        yield self._alias(user, self._backend, user.user_id, other.user_id, 0)
        if user is not other:
            self._users.remove(user)
            other.devices += user.devices

    # Calls.

    def _pages(
        self,
        user: User,
        device: Device,
        host: str,
        pages: Sequence[tuple[str, str]],
        events: Events,
        extra: Json,
        campaign: Json | None = None,
    ) -> Iterator[GeneratedCall]:
        """A visit of a few pages, a campaign having led to the first."""
        at, referrer = self.now, self.rng.choice(REFERRERS)
        for _ in range(self.rng.randint(1, 5)):
            at += self._pause()
            path, title = self.rng.choice(pages)
            search = f"?utm_source={campaign['source']}" if campaign else ""
            page = {"path": path, "referrer": referrer, "search": search, "title": title, "url": host + path + search}
            context = {"page": page, **({"campaign": campaign} if campaign else {}), **extra}
            name = title if self.rng.random() < 0.7 else None
            yield self._call("page", user, device, at, context, category=None, name=name, properties=page)
            if self.rng.random() < 0.45:
                yield self._track(user, device, at + 5 * SECOND, events, context)
            referrer, campaign = page["url"], None

    def _track(self, user: User, device: Device, at: int, events: Events, extra: Json) -> GeneratedCall:
        event, properties = self.rng.choice(events)
        return self._call("track", user, device, at, extra, event=event, properties=properties(self.rng))

    def _identify(self, user: User, device: Device, at: int) -> GeneratedCall:
        """Each source describes people, and their companies, in its own way."""
        company = user.company
        if device.source is MOBILE_APPS:
            named: Json = {"email": user.email, "first_name": user.first_name, "last_name": user.last_name}
            return self._call("identify", user, device, at, traits=named)
        traits: Json = {"email": user.email, "name": f"{user.first_name} {user.last_name}"}
        if device.source is WEB_APP:
            extra = {"groupId": company.group_id} if company and self.rng.random() < 0.6 else {}
            traits |= {"firstName": user.first_name, "lastName": user.last_name, "createdAt": iso(user.created_at)}
            return self._call("identify", user, device, at, extra, traits=traits)
        if company:
            traits |= self._company_traits(company)
        return self._call("identify", user, device, at, traits={**traits, "title": self.rng.choice(TITLES)})

    def _company_traits(self, company: Company) -> Json:
        """A company in the traits of an identify: mostly an object, now and then flat keys or just a name."""
        shape = self.rng.random()
        if shape < 0.8:
            return {"company": {"id": company.number, **company.traits()}}
        if shape < 0.9:
            return {"company.id": company.group_id, "company.name": company.name}
        return {"company": company.name}

    def _group(self, user: User, company: Company, device: Device, at: int) -> GeneratedCall:
        trial_ends = iso(at + 14 * DAY) if company.plan == "free" else None
        traits = {**company.traits(), "trialEndsAt": trial_ends}
        return self._call("group", user, device, at, groupId=company.group_id, traits=traits)

    def _engage(self, kind: str, key: str, value: object, event: str, properties: Json) -> GeneratedCall:
        user = self._user()
        # Engage's documentation shows an id here, its payloads the key itself.
        documented = self.rng.random() < 0.25
        personas = {
            "computation_class": kind,
            "computation_id": "aud_2uVb7KQyTjWmXo",
            "computation_key": "aud_2uVb7KQyTjWmXo" if documented else key,
            "namespace": "spa_9rJdWnMfLqZ",
            "space_id": "spa_9rJdWnMfLqZ",
        }
        own: Json
        if self.rng.random() < 0.4:
            call_type, own = "track", {"event": event, "properties": {**properties, key: value}}
        else:
            call_type, own = "identify", {"traits": {key: value, "email": user.email} if documented else {key: value}}
        context = {"library": {"name": "unknown", "version": "unknown"}, "personas": personas}
        call = self._call(call_type, user, Device(user.devices[0].source, "engage", context), self.now, **own)
        return GeneratedCall(
            call.received_at, {**call.body, "integrations": {"All": False, "Google Cloud PubSub": True}}
        )

    def _rename(self, user: User, minutes: int) -> Iterator[GeneratedCall]:
        previous, user.user_id = user.user_id, self._new_user_id()
        yield self._alias(user, user.devices[0], previous, user.user_id, minutes)

    def _alias(
        self, user: User, device: Device, previous: str | None, user_id: str | None, minutes: int
    ) -> GeneratedCall:
        own: Json = {} if previous is None else {"previousId": previous}
        call = self._call("alias", user, device, self.now + minutes * MINUTE, **own)
        return GeneratedCall(call.received_at, {**call.body, "userId": user_id})

    def _call(
        self, kind: str, user: User, device: Device, at: int, extra: Json | None = None, **own: Any
    ) -> GeneratedCall:
        """The envelope around a call's `own` fields; `extra` is what this call adds to its device's context."""
        rng = self.rng
        delay = self.wait() if rng.random() < self._late else rng.randrange(2 * SECOND)
        received = at + delay + rng.randrange(40, 900)
        known = device.signed_in or device.anonymous_id is None or kind in ("identify", "group", "alias")
        body = {
            "anonymousId": device.anonymous_id,
            "channel": CHANNELS[device.kind],
            "context": {**device.context, **extra} if extra else device.context,
            **own,
            "integrations": {},
            "messageId": self._message_id(device),
            "originalTimestamp": iso(at + device.clock_error),
            "projectId": device.source.project_id,
            "receivedAt": iso(received),
            "sentAt": iso(at + delay + device.clock_error),
            "timestamp": iso(received - delay),
            "type": kind,
            "userId": user.user_id if known else None,
            "version": 2,
        }
        if device.anonymous_id is None:
            del body["anonymousId"]
        if device.source is MARKETING_SITE and device.kind == "browser":
            body["_metadata"] = {"bundled": ["Segment.io"], "unbundled": []}
        return GeneratedCall(received, body)

    def _message_id(self, device: Device) -> str:
        """Every library makes its own kind of ids."""
        if device.kind == "browser":
            return f"ajs-next-{self.rng.getrandbits(128):032x}"
        return f"personas_{self.rng.getrandbits(128):032x}" if device.kind == "engage" else self._uuid()

    # Who and where.

    def _visitor(self, returning: float) -> User:
        """An anonymous visitor, `returning` being the share of those who were here before."""
        if self._visitors and self.rng.random() < returning:
            return self.rng.choice(self._visitors)
        first, last = self.rng.choice(FIRST_NAMES), self.rng.choice(LAST_NAMES)
        company = self._company() if self.rng.random() < 0.7 else None
        mailbox = f"{ascii_slug(first)}.{ascii_slug(last)}"
        personal = f"{mailbox}{self.rng.randint(10, 999)}@{self.rng.choice(PERSONAL_DOMAINS)}"
        email = f"{mailbox}@{company.domain}" if company else personal
        user = User(first, last, email, company, self.now, self.rng.choice(LOCALES))
        self._device(user, self.rng.choice((MARKETING_SITE, MARKETING_SITE, WEB_APP, MOBILE_APPS)))
        self._visitors = [*self._visitors[1 - VISITORS :], user]
        return user

    def _known(self, visitor: User) -> tuple[User, Device]:
        """A visitor made a user, by an id or by the address, and the device that this happens on."""
        self._visitors.remove(visitor)
        self._users.append(visitor)
        visitor.user_id = visitor.email if self.rng.random() < 0.25 else self._new_user_id()
        device = visitor.devices[0]
        device.signed_in = True
        return visitor, device

    def _user(self) -> User:
        """A known user, the older ones more often."""
        share = self.rng.random()
        return self._users[int(share * share * len(self._users))]

    def _company(self) -> Company:
        """A company: mostly one that is a customer already."""
        if self._companies and self.rng.random() < 0.75:
            return self.rng.choice(self._companies)
        series, stem = divmod(len(self._companies), len(COMPANY_STEMS))
        kind, industry = COMPANY_KINDS[(series + stem) % len(COMPANY_KINDS)]
        copy = f" {series // len(COMPANY_KINDS) + 1}" if series >= len(COMPANY_KINDS) else ""
        name = f"{COMPANY_STEMS[stem]} {kind}{copy}"
        domain = f"{name.lower().replace(' ', '-')}.example".encode("idna").decode()
        company = Company(1001 + len(self._companies), name, domain, industry, PLANS[0], self.rng.randint(3, 900))
        self._companies.append(company)
        return company

    def _device(self, user: User, source: Source) -> Device:
        """A device that the user uses with the source."""
        devices = [device for device in user.devices if device.source is source]
        return self.rng.choice(devices) if devices else self._new_device(user, source)

    def _new_device(self, user: User, source: Source) -> Device:
        rng = self.rng
        locale, timezone = user.locale
        context: Json = {"ip": f"203.0.113.{rng.randint(1, 254)}", "locale": locale}
        if source is MOBILE_APPS:
            kind = "phone"
            model, library, version, maker, system = rng.choice(PHONES)
            context |= {
                "app": {"build": "812", "name": "Larkspur", "namespace": "example.larkspur", "version": "5.2.1"},
                "device": {"id": self._uuid(), "model": model, **maker},
                "library": {"name": library, "version": version},
                "network": {"cellular": rng.random() < 0.4, "wifi": rng.random() < 0.7},
                "os": system,
                "screen": {"height": 844, "width": 390},
                "timezone": timezone,
            }
        else:
            kind = "browser"
            context["library"] = {"name": "analytics.js", "version": "next-1.77.0"}
            context["userAgent"] = rng.choice(USER_AGENTS)
        wrong = rng.randint(-20 * MINUTE, 20 * MINUTE) if rng.random() < 0.1 else 0
        device = Device(source, kind, context, self._uuid(), wrong)
        user.devices.append(device)
        return device

    def _new_user_id(self) -> str:
        return f"usr_{self.rng.getrandbits(40):010x}"

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def _pause(self) -> int:
        return self.rng.randrange(5 * SECOND, 90 * SECOND)


Scene = Callable[[World], Iterator[GeneratedCall]]

ACTIVITIES: tuple[tuple[Scene, int], ...] = (
    (World.visit_site, 40),
    (World.use_web_app, 36),
    (World.use_mobile_app, 24),
    (World.run_backend, 60),
)
IDENTITY_SCENES: tuple[tuple[Scene, int], ...] = (
    (World.sign_up, 24),
    (World.sign_in, 14),
    (World.share_device, 2),
    (World.change_profile, 16),
    (World.change_company, 12),
    (World.audience, 14),
    (World.computed_trait, 8),
    (World.journey_step, 4),
    (World.change_ids, 5),
    (World.forget, 2),
)
ALIAS_STORIES: tuple[Scene, ...] = (
    World.alias_anonymous,
    World.alias_by_default,
    World.alias_rename,
    World.alias_chain,
    World.alias_swap_back,
    World.alias_again,
    World.alias_self,
    World.alias_two_users,
)


def is_identity(body: Json) -> bool:
    """Whether a call says something of contacts, accounts or identities; Engage's tracks do."""
    return body["type"] not in ("page", "screen", "track") or "personas" in body["context"]


# ---------------------------------------------------------------------------------------------------- the rubbish

OWN_FIELDS = ("event", "groupId", "name", "previousId", "properties", "traits")
TIMES = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
PLACEHOLDERS = (
    *("null", "undefined", "N/A", "guest", "[object Object]", "-1", " ", '"anonymous"', "0000-00-0000"),
    *("anonymousId", "(null)", "not_authenticated", "0x0000000000000000", "{{userId}}", "{}"),
)
ODD_NAMES = {
    "anonymousId": ("anonymous_id", "AnonymousID", "Anonymous ID"),
    "groupId": ("group_id", "GroupID", "Group ID"),
    "messageId": ("message_id", "MessageID", "Message ID"),
    "originalTimestamp": ("original_timestamp", "OriginalTimestamp", "Original Timestamp"),
    "previousId": ("previous_id", "PreviousID", "Previous ID"),
    "receivedAt": ("received_at", "ReceivedAt", "Received At"),
    "sentAt": ("sent_at", "SentAt", "Sent At"),
    "userId": ("user_id", "UserID", "User ID"),
}


def without(call: Json, *names: str) -> Json:
    return {name: value for name, value in call.items() if name not in names}


def respelled(call: Json, style: int) -> Json:
    return {ODD_NAMES[name][style] if name in ODD_NAMES else name: value for name, value in call.items()}


def turned(call: Json, kind: str, **own: Any) -> Json:
    """The same envelope around a call of another type, in the name of an `usr_…` where the sender was anonymous."""
    user_id = call.get("userId") or f"usr_{call['messageId'][-10:]}"
    return {**without(call, *OWN_FIELDS), "type": kind, "userId": user_id, **own}


def at(rng: Random) -> datetime:
    """A time on the first day."""
    return EPOCH + timedelta(milliseconds=START + rng.randrange(DAY))


def encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


# What a sender did wrong → the call as it then arrives: a document to encode, or bytes as they are.
RUBBISH: dict[str, Callable[[Random, Json], object]] = {
    "placeholder for a user id": lambda r, c: {**c, "userId": r.choice(PLACEHOLDERS)},
    "placeholders for both ids": lambda r, c: {**c, "userId": r.choice(PLACEHOLDERS), "anonymousId": "undefined"},
    "placeholder for a group": lambda r, c: {**c, "context": {"groupId": r.choice(PLACEHOLDERS)}},
    "no ids": lambda r, c: without(c, "userId", "anonymousId"),
    "integer for an id": lambda r, c: {**c, "userId": r.randint(1, 99999)},
    "float for an id": lambda r, c: {**c, "userId": float(r.randint(1, 99999))},
    "object for an id": lambda r, c: {**c, "userId": {"id": r.randint(1, 99999)}},
    "object beside an id": lambda r, c: turned(
        c, "identify", anonymousId=r.choice(({}, [], False)), traits={"plan": "pro"}
    ),
    "an id longer than any": lambda r, c: {**c, "userId": "x" * r.randint(1025, 2000)},
    "address for an id": lambda r, c: turned(
        c, "identify", userId=f"u{r.randint(1, 99)}@brightwater.example", traits={"email": "", "name": " "}
    ),
    "white space around an id": lambda r, c: turned(
        c, "identify", userId=f" usr_{r.getrandbits(40):010x}\n", traits={}
    ),
    "snake case": lambda r, c: respelled(c, 0),
    "Pascal case": lambda r, c: respelled(c, 1),
    "names with spaces": lambda r, c: respelled(c, 2),
    "alias with spaces": lambda r, c: respelled(turned(c, "alias", previousId=f"old-{r.getrandbits(32):08x}"), 2),
    "alias by from and to": lambda r, c: without(
        turned(c, "alias", **{"from": f"old-{r.getrandbits(32):08x}", "to": r.randint(1, 99999)}), "userId"
    ),
    "alias of nobody": lambda r, c: without(turned(c, "alias"), "anonymousId"),
    "group without its id": lambda r, c: turned(c, "group", traits={"name": "Northwind"}),
    "track without a name": lambda r, c: turned(c, "track", event=r.choice(("", None, 42)), properties={}),
    "group without a person": lambda r, c: without(
        turned(c, "group", groupId=str(r.randint(1000, 1020)), traits={"employees": str(r.randint(2, 900))}),
        *("userId", "anonymousId"),
    ),
    "an audience of accounts": lambda r, c: turned(
        c,
        "group",
        groupId=str(r.randint(1000, 1020)),
        traits={"At Risk": r.random() < 0.5},
        context={"personas": {"computation_class": "audience", "computation_key": "At Risk"}},
    ),
    "a journey step without a value": lambda r, c: turned(
        c,
        "identify",
        traits={},
        context={"personas": {"computation_class": "journey_step", "computation_key": r.choice(JOURNEY_STEPS)}},
    ),
    "the context's group in snake case": lambda r, c: {**c, "context": {"group_id": str(r.randint(1000, 1020))}},
    "a group beside the context": lambda r, c: {**c, "groupId": str(r.randint(1000, 1020))},
    "traits in the context": lambda r, c: without(
        turned(c, "identify", context={"traits": {"email": "anna@kestrel.example", "First Name": "Anna"}}), "traits"
    ),
    "traits in other spellings": lambda r, c: turned(
        c, "identify", traits={"FIRST_NAME": "Anna", "Last Name": "Berg", "Phone": 493012345, "created_at": 1740985200}
    ),
    "category beside properties": lambda r, c: turned(c, "page", category="Docs", name="Node", properties={}),
    "fields of its own": lambda r, c: {**c, "context_ip": "203.0.113.9", "event_text": "Task Completed"},
    "a write key": lambda r, c: {**c, "writeKey": f"{r.getrandbits(64):016x}"},
    "list for traits": lambda r, c: turned(c, "identify", traits=["email", "name"]),
    "string for traits": lambda r, c: turned(c, "identify", traits="plan=free"),
    "list for properties": lambda r, c: turned(c, "track", event="Task Completed", properties=[]),
    "null for context": lambda r, c: {**c, "context": None},
    "string for context": lambda r, c: {**c, "context": "[object Object]"},
    "traits of wrong types": lambda r, c: turned(
        c, "identify", traits={"email": r.randint(1, 9), "name": ["Anna"], "createdAt": "soon", "phone": 4930}
    ),
    "malformed e-mail address": lambda r, c: turned(c, "identify", traits={"email": "anna@@northwind"}),
    "unknown type": lambda r, c: {**c, "type": r.choice(("pageview", "heartbeat", "_doc", 7))},
    "no type": lambda r, c: without(c, "type"),
    "type in capitals": lambda r, c: {**c, "type": c["type"].upper()},
    "no message id": lambda r, c: without(c, "messageId"),
    "integer for a message id": lambda r, c: {**c, "messageId": r.getrandbits(48)},
    "no project": lambda r, c: without(c, "projectId"),
    "clock in the future": lambda r, c: {**c, "timestamp": "2038-01-19T03:14:07Z", "originalTimestamp": None},
    "epoch milliseconds": lambda r, c: {**c, "timestamp": START + r.randrange(DAY)},
    "Go's time": lambda r, c: {**c, "timestamp": go_time(START + r.randrange(DAY))},
    "epoch seconds": lambda r, c: {**c, "timestamp": (START + r.randrange(DAY)) / 1000},
    "BigQuery's time": lambda r, c: {**c, "timestamp": f"{at(r):%Y-%m-%d %H:%M:%S.%f} UTC"},
    "a mail's time": lambda r, c: {**c, "timestamp": f"{at(r):%a, %d %b %Y %H:%M:%S} GMT"},
    "JavaScript's text of a time": lambda r, c: {
        **c,
        "timestamp": f"{at(r):%a %b %d %Y %H:%M:%S} GMT+0100 (Central European Standard Time)",
    },
    "a clock that was never set": lambda r, c: {
        **c,
        **dict.fromkeys(("timestamp", "originalTimestamp"), r.choice(("1970-01-01T00:00:00.000Z", "0001-01-01"))),
    },
    "not corrected for a wrong clock": lambda r, c: {
        **without(c, "timestamp"),
        "originalTimestamp": iso(START + r.randrange(DAY)),
        "sentAt": iso(START + DAY),
        "receivedAt": iso(START + DAY + HOUR),
    },
    "raw, without a time of receipt": lambda r, c: without(c, "originalTimestamp", "receivedAt"),
    "no such day": lambda r, c: {**c, "timestamp": "2025-02-30T10:00:00Z"},
    "no times": lambda r, c: without(c, *TIMES),
    "NaN": lambda r, c: {**c, "properties": {"score": float("nan")}},
    "cut off": lambda r, c: encoded(c)[: r.randrange(1, 400)].decode(errors="ignore").encode(),
    "a proxy's answer": lambda r, c: b"<html><head><title>502 Bad Gateway</title></head></html>",
}


def batch(calls: Sequence[GeneratedCall]) -> Json:
    """Calls as a library sends them to Segment: what they have in common is said once."""
    received_at = max(call.received_at for call in calls)
    return {
        "batch": [without(call.body, "sentAt", "receivedAt", "integrations") for call in calls],
        "context": {"library": {"name": "http-batch", "version": "1.0"}, "batched": True},
        "integrations": {"All": True},
        "sentAt": iso(received_at - SECOND),
        "receivedAt": iso(received_at),
    }


def array(calls: Sequence[GeneratedCall]) -> list[Json]:
    return [call.body for call in calls]


def array_with_null(calls: Sequence[GeneratedCall]) -> list[Json | None]:
    return [*array(calls), None]


# Several calls in one message.
BUNDLES: tuple[Callable[[Sequence[GeneratedCall]], object], ...] = (batch, array, array_with_null)


# --------------------------------------------------------------------------------------------------- the delivery


def product(number: int) -> Json:
    return {
        "product_id": f"prd_{number:04}",
        "sku": f"LS-{number:03}-EU",
        "name": f"{PROJECTS[number % len(PROJECTS)]} template",
        "price": 900 + number,
        "quantity": 1 + number % 3,
    }


def component(number: int) -> Json:
    return {
        "id": f"block-{number:03}",
        "kind": ("banner", "table", "chart")[number % 3],
        "variant": "ab"[number % 2],
        "position": number,
        "visible_ms": 1200 + number,
        "clicked": number % 5 == 0,
    }


# What makes a call larger, where a size is aimed at.
ITEMS = {
    "products": [product(number) for number in range(40)],
    "components": [component(number) for number in range(40)],
}
ITEM_BYTES = sum(len(encoded(items)) for items in ITEMS.values()) // sum(map(len, ITEMS.values()))


class GeneratedDelivery:
    """Turns scenes into lines: damages some, sends several calls as one, fills calls up to the size aimed at."""

    def __init__(self, settings: GeneratorSettings, world: World) -> None:
        self._settings = settings
        self._world = world
        self._rng = world.rng
        self._rubbish = Deck(world.rng, RUBBISH.values())
        self._bundles = Deck(world.rng, BUNDLES)
        self._owed = 0  # bytes that the lines so far are short of the aim

    def lines(self, calls: Sequence[GeneratedCall]) -> Iterator[tuple[int, bytes]]:
        """Yields when each line arrives, and the line; a repeated one twice."""
        documents: Iterable[tuple[int, object]]
        if len(calls) > 1 and self._rng.random() < self._settings.rubbish / 2:
            documents = [(max(call.received_at for call in calls), self._bundles.deal()(calls))]
        else:
            documents = ((call.received_at, self._document(call.body)) for call in calls)
        for received_at, document in documents:
            line = document if isinstance(document, bytes) else encoded(document)
            self._owed += self._settings.size - len(line)
            yield received_at, line
            if self._rng.random() < self._settings.duplicates:
                yield received_at + self._world.wait(), line

    def _document(self, body: Json) -> object:
        if self._rng.random() < self._settings.rubbish:
            return self._rubbish.deal()(self._rng, body)
        if self._owed > 0 and not is_identity(body):
            return self._filled(body)
        return body

    def _filled(self, body: Json) -> Json:
        """A track with the products, or a page with the components, that make up for what is owed on average."""
        name = "products" if body["type"] == "track" else "components"
        items = self._rng.choices(ITEMS[name], k=self._rng.randrange(2 * self._owed // ITEM_BYTES + 1))
        return {**body, "properties": {**body["properties"], name: items}}


def stream(settings: GeneratorSettings) -> Iterator[bytes]:
    """Yields `settings.calls` lines in the order in which they arrive. Holds only users and what is under way."""
    return itertools.islice(_arrivals(settings), settings.calls)


def _arrivals(settings: GeneratorSettings) -> Iterator[bytes]:
    world = World(settings)
    delivery = GeneratedDelivery(settings, world)
    number = itertools.count()
    under_way: list[tuple[int, int, bytes]] = []
    while True:
        for received_at, line in delivery.lines(world.scene()):
            heapq.heappush(under_way, (received_at, next(number), line))
        while under_way and under_way[0][0] <= world.now:
            yield heapq.heappop(under_way)[2]


# ------------------------------------------------------------------------------------------------ the command line


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def main(arguments: Sequence[str] | None = None) -> None:
    defaults = GeneratorSettings()
    parser = argparse.ArgumentParser(
        prog="python -m examples.generate",
        description="Makes Segment calls, one JSON document per line; the same options always give the same bytes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--calls", type=_count, default=defaults.calls, help="lines to write, a call each (or a batch)")
    parser.add_argument("--seed", type=_count, default=defaults.seed, help="another seed, another story")
    parser.add_argument(
        "--size", type=_count, default=defaults.size, help="mean bytes of a line to aim at; 0: as they come, about 830"
    )
    parser.add_argument("--days", type=_count, default=defaults.days, help="time that the calls are spread over")
    parser.add_argument("--rubbish", type=_share, default=defaults.rubbish, help="share of damaged calls")
    parser.add_argument("--late", type=_share, default=defaults.late, help="share of calls that are sent late")
    parser.add_argument("--duplicates", type=_share, default=defaults.duplicates, help="share delivered twice")
    parser.add_argument("--output", default="-", help="the file to write; - is standard output")
    options = vars(parser.parse_args(arguments))
    output = options.pop("output")
    lines = (line + b"\n" for line in stream(GeneratorSettings(**options)))
    if output == "-":
        _print(lines)
        return
    try:
        with open(output, "wb") as file:
            file.writelines(lines)
    except OSError as error:
        parser.error(f"argument --output: cannot write {output}: {error.strerror}")


def _print(lines: Iterable[bytes]) -> None:
    try:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
