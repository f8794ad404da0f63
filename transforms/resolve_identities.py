"""ResolveIdentities: what is known of ids to the rows of contacts, identities and memberships."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.pvalue import PCollection

from schemas.tables import Contact
from transforms import metrics
from transforms.core.contacts import MAX_PREVIOUS_IDS
from transforms.core.facts import Known, learn
from transforms.core.identity import chains, contact, household, person
from transforms.core.rows import Upsert
from transforms.keyed_step import JoinFn, KeyedStep
from transforms.windows import Arrival


class ResolveIdentities(beam.PTransform):
    """`(id, Known)` → on `contacts`, `identities` and `memberships` an `Upsert` for each row that changes.

    The four stages of `transforms.core.identity`, fed forward; `window` and `page_bytes` as in `KeyedStep`.
    """

    def __init__(self, window: Arrival | None, page_bytes: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.page_bytes = page_bytes

    def expand(self, known: PCollection[tuple[str, Known]]) -> dict[str, PCollection]:
        window, page_bytes = self.window, self.page_bytes
        persons = known | "Person" >> KeyedStep(
            person.step,
            person.PersonState,
            person.PersonOutbox,
            window=window,
            page_bytes=page_bytes,
            gather=JoinFn(Known, learn),
            size=person.size,
            sizes=metrics.EDGES,
        )
        renamed = persons["edges"] | "Chains" >> KeyedStep(
            chains.step,
            chains.ChainsState,
            chains.ChainsOutbox,
            window=window,
            page_bytes=page_bytes,
            size=chains.size,
            sizes=metrics.CHAIN_EDGES,
        )
        messages = (persons["members"], renamed["labels"]) | "HouseholdMessages" >> beam.Flatten()
        households = messages | "Household" >> KeyedStep(
            household.step,
            household.HouseholdState,
            household.HouseholdOutbox,
            window=window,
            page_bytes=page_bytes,
            size=household.size,
            sizes=metrics.RESIDENTS,
        )
        rows = households["members"] | "Contact" >> KeyedStep(
            contact.step,
            contact.ContactState,
            contact.ContactOutbox,
            window=window,
            page_bytes=page_bytes,
            size=contact.size,
            sizes=metrics.MEMBERS,
        )
        writers = (persons, households, rows)
        contacts = tuple(writer["contacts"] for writer in writers) | "Contacts" >> beam.Flatten()
        memberships = tuple(writer["memberships"] for writer in writers) | "Memberships" >> beam.Flatten()
        return {
            "contacts": contacts | "Limits" >> beam.ParDo(_LimitsFn()).with_output_types(Upsert),
            "identities": households["identities"],
            "memberships": memberships,
        }


class _LimitsFn(metrics.CountingFn):
    """Counts the contacts that have reached a limit of their row."""

    def process(self, upsert: Upsert) -> tuple[Upsert]:
        if isinstance(upsert.row, Contact) and len(upsert.row.previous_ids) == MAX_PREVIOUS_IDS:
            self.tally[metrics.LONG_PREVIOUS_IDS.name] += 1
        return (upsert,)
