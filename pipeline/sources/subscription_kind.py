"""The option that names a Pub/Sub subscription. Nothing here needs Google's clients."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from pipeline.errors import UsageError
from pipeline.job_kind import JobKind
from transforms.core import google_clients

if TYPE_CHECKING:
    from pipeline.sources.pubsub import Subscription

_PROJECT_ID: Final = r"[a-z][-a-z0-9:.]{4,61}[a-z0-9]"
_SUBSCRIPTION_ID: Final = r"(?!goog)[A-Za-z][-A-Za-z0-9_.~+%]{2,254}"
_SUBSCRIPTION: Final = re.compile(f"projects/{_PROJECT_ID}/subscriptions/{_SUBSCRIPTION_ID}")


class SubscriptionKind:
    """`--input_subscription`: a Pub/Sub subscription, which takes Google's clients to read."""

    option: Final = "input_subscription"
    usage: Final = "--input_subscription=projects/P/subscriptions/S"
    bounded: Final = False
    is_local: Final = False

    def add_option(self, group: argparse._ArgumentGroup) -> None:
        group.add_argument(
            "--input_subscription",
            metavar="projects/P/subscriptions/S",
            help="A Pub/Sub subscription, which the job follows without end. With files as well, they are the history "
            "that comes before it. Default: none. "
            "Example: --input_subscription=projects/acme-data/subscriptions/segment",
        )

    def check(self, value: str) -> None:
        if not _SUBSCRIPTION.fullmatch(value):
            problem = "is a topic" if "/topics/" in value else "is not the full name of a subscription"
            raise refused(value, problem, "give projects/PROJECT_ID/subscriptions/SUBSCRIPTION_ID")

    def source(self, value: str, kind: JobKind, connections: Collection[str]) -> Subscription:
        try:
            from pipeline.sources.pubsub import Subscription
        except ImportError as error:
            raise google_clients.missing(error, option=f"--{self.option}", value=value) from None
        return Subscription(value, native=kind.on_dataflow)


def refused(name: str, problem: str, remedy: str) -> UsageError:
    """The usage error of a subscription of that name."""
    return UsageError(problem, remedy, option="--input_subscription", value=name)
