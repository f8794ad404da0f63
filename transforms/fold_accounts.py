"""FoldAccounts: what is known of accounts to their rows."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.core import account_rows
from transforms.core.facts import AccountKnown, learn_account
from transforms.keyed_step import JoinFn, KeyedStep
from transforms.windows import Arrival


class FoldAccounts(beam.PTransform):
    """`(account_id, AccountKnown)` → an `Upsert` for each account that changes; `window` and
    `page_bytes` as in `KeyedStep`."""

    def __init__(self, window: Arrival | None, page_bytes: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes

    def expand(self, accounts: PCollection[tuple[str, AccountKnown]]) -> dict[str, PCollection]:
        return accounts | "Account" >> KeyedStep(
            account_rows.step,
            account_rows.AccountState,
            account_rows.AccountOutbox,
            window=self.window,
            page_bytes=self.page_bytes,
            gather=JoinFn(AccountKnown, learn_account),
        )
