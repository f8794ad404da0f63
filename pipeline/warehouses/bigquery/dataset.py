"""A dataset by its name. Nothing here needs Google's clients: a URL is checked where they are not installed."""

from __future__ import annotations

import re
from typing import NamedTuple

from schemas.tables import Table

_URL = re.compile(r"bigquery://([a-z0-9][-a-z0-9:.]*)/(\w{1,1024})", re.ASCII)


class Dataset(NamedTuple):
    """A dataset of a project, which also pays for the queries."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}.{self.name}"

    def path(self, table: Table) -> str:
        """The resource name of a table."""
        return f"projects/{self.project}/datasets/{self.name}/tables/{table.name}"


class UnusableDatasetError(Exception):
    """Why a dataset cannot be used, in one line: the problem, and what would be right."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


def dataset(url: str) -> Dataset | None:
    """The dataset of `bigquery://PROJECT/DATASET`, or None for anything else."""
    match = _URL.fullmatch(url)
    return Dataset(*match.groups()) if match else None
