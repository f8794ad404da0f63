"""FoldAccounts: what is known of accounts to their rows."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.coders import StructCoder
from transforms.core import account_rows
from transforms.core.facts import AccountKnown, learn_account
from transforms.keyed_step import KeyedStep


class FoldAccounts(beam.PTransform):
    """`(account_id, AccountKnown)` → an `Upsert` for each account that changes; `window` as in `KeyedStep`."""

    def __init__(self, window: float | None) -> None:
        super().__init__()
        self.window = window

    def expand(self, accounts: PCollection[tuple[str, AccountKnown]]) -> dict[str, PCollection]:
        return accounts | "Account" >> KeyedStep(
            account_rows.step, account_rows.Account, account_rows.Outbox, window=self.window, gather=LearnAccountFn()
        )


class LearnAccountFn(beam.CombineFn):
    """Joins what is known, before the shuffle and after it, so that a key costs memory once."""

    def create_accumulator(self) -> AccountKnown:
        return AccountKnown()

    def add_input(self, known: AccountKnown, more: AccountKnown) -> AccountKnown:
        return learn_account(known, more)

    def merge_accumulators(self, accumulators: Iterable[AccountKnown]) -> AccountKnown:
        known = AccountKnown()
        for more in accumulators:
            learn_account(known, more)
        return known

    def extract_output(self, known: AccountKnown) -> AccountKnown:
        return known

    def get_accumulator_coder(self) -> StructCoder[AccountKnown]:
        return StructCoder(AccountKnown)
