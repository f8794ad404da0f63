"""What the steps of a job share that ask BigQuery something."""

from __future__ import annotations

import apache_beam as beam

from pipeline.warehouses.bigquery import catalog
from pipeline.warehouses.bigquery.dataset import Dataset


class QueryFn(beam.DoFn):
    """A DoFn with a `client` for the dataset's queries, which lives as long as the DoFn."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def setup(self) -> None:
        self.client = catalog.connect(self.dataset.project)

    def teardown(self) -> None:
        self.client.close()
