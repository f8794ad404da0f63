"""FoldAccounts: what is known of accounts to their rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms import windows
from transforms.coders import StructCoder
from transforms.core import account_rows
from transforms.core.facts import AccountKnown, learn_account
from transforms.core.keyed_stage import KeyedStage
from transforms.keyed_step import JoinFn, KeyedStep
from transforms.windows import Arrival

ACCOUNT: Final = KeyedStage(
    "Account",
    account_rows.step,
    account_rows.AccountState,
    account_rows.AccountOutbox,
    size=None,
    sends={},
    writes=("accounts",),
)
PARTS: Final = 16
"""A company's million calls wait under so many keys, some 60 bytes for each call."""


class FoldAccounts(beam.PTransform):
    """`(account_id, AccountKnown)` → an `Upsert` for each account that changes; `window` and `page_bytes` as in
    `KeyedStep`."""

    def __init__(self, window: Arrival | None, page_bytes: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes

    def expand(self, accounts: PCollection) -> dict[str, PCollection]:
        if self.window is not None:
            accounts = accounts | "Parts" >> JoinParts(self.window)
        return accounts | ACCOUNT.name >> KeyedStep(
            ACCOUNT.step,
            ACCOUNT.state,
            ACCOUNT.outbox,
            window=self.window,
            page_bytes=self.page_bytes,
            gather=JoinFn(AccountKnown, learn_account),
        )


class JoinParts(beam.PTransform):
    """`(account_id, AccountKnown)` → the same, joined to one for each account, window and part.

    Many calls name one account, and a streaming runner joins nothing before a shuffle: all of them would wait under its
    key. So they wait in parts, by a hash. A bounded runner does join them before the shuffle.
    """

    def __init__(self, window: Arrival) -> None:
        super().__init__()
        self.window = window

    def expand(self, accounts: PCollection[tuple[str, AccountKnown]]) -> PCollection[tuple[str, AccountKnown]]:
        return (
            accounts
            | "Divide" >> beam.Map(divider()).with_output_types(tuple[str, AccountKnown])
            | "Window" >> windows.arrival(self.window)
            | "Gather" >> beam.CombinePerKey(JoinFn(AccountKnown, learn_account))
            | "Late" >> windows.LateArrivesNow(self.window.clock)
            | "Whole" >> beam.MapTuple(_whole).with_output_types(tuple[str, AccountKnown])
        )


def divider() -> Callable[[tuple[str, AccountKnown]], tuple[str, AccountKnown]]:
    """What gives the facts of an account, which come by its id, to one of its parts."""
    coder = StructCoder(AccountKnown)

    def divided(account: tuple[str, AccountKnown]) -> tuple[str, AccountKnown]:
        """Puts a part's number before the account's id."""
        account_id, known = account
        return f"{zlib.crc32(coder.encode(known)) % PARTS:02}{account_id}", known

    return divided


def _whole(part: str, known: AccountKnown) -> tuple[str, AccountKnown]:
    return part[2:], known
