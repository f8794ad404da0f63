"""Jobs by REST, and what queries are: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs ."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bigquery_double import values
from tests.bigquery_double.load_jobs import LoadJob, Loads
from tests.bigquery_double.requests import Requests
from tests.bigquery_double.sql import Result, Script
from tests.bigquery_double.strictness import Strictness
from tests.bigquery_double.tables import Catalog, Refused, Table, unknown

Resource = dict[str, Any]

PAGE = 10_000
"""How many rows one answer holds, where the request does not ask for fewer."""


@dataclass(frozen=True)
class Job:
    """A job that has ended: in a result, or in an error."""

    project: str
    id: str
    location: str
    query: Mapping[str, Any]
    result: Result | None
    error: Refused | None
    created: int

    def resource(self) -> Resource:
        times = {"creationTime": str(self.created), "startTime": str(self.created), "endTime": str(self.created)}
        statistics: Resource = {"totalBytesProcessed": "0", "cacheHit": False}
        status: Resource = {"state": "DONE"}
        if self.result:
            statistics["statementType"] = self.result.statement
            if self.result.affected is not None:
                statistics["numDmlAffectedRows"] = str(self.result.affected)
        if self.error:
            problem = {"reason": self.error.reason, "message": self.error.message}
            status |= {"errorResult": problem, "errors": [problem]}
        return {
            "kind": "bigquery#job",
            "id": f"{self.project}:{self.location}.{self.id}",
            "jobReference": self.reference(),
            "configuration": {"jobType": "QUERY", "query": dict(self.query)},
            "status": status,
            "statistics": {**times, "query": statistics},
        }

    def reference(self) -> Resource:
        return {"projectId": self.project, "jobId": self.id, "location": self.location}

    def answer(self, options: Mapping[str, str], kind: str) -> Resource:
        """A page of the result. Raises Refused where the job ended in an error."""
        if self.error:
            raise self.error
        assert self.result is not None
        result = self.result
        start = int(options.get("pageToken") or options.get("startIndex") or 0)
        end = start + min(int(options.get("maxResults", PAGE)), PAGE)
        answer: Resource = {
            "kind": kind,
            "jobReference": self.reference(),
            "jobComplete": True,
            "totalBytesProcessed": "0",
            "cacheHit": False,
            "schema": {"fields": [each.rest() for each in result.fields]},
            "totalRows": str(len(result.rows)),
            "rows": _rows(result, start, end, options),
        }
        if result.affected is not None:
            answer["numDmlAffectedRows"] = str(result.affected)
        if end < len(result.rows):
            answer["pageToken"] = str(end)
        return answer


def _rows(result: Result, start: int, end: int, options: Mapping[str, str]) -> Sequence[Resource]:
    micros = options.get("formatOptions.useInt64Timestamp", "").lower() == "true"
    return [
        {"f": [{"v": values.rest(value, each, micros=micros)} for value, each in zip(row, result.fields, strict=True)]}
        for row in result.rows[start:end]
    ]


@dataclass
class Jobs:
    """The jobs that were run: each at once, within the request that asks for it."""

    catalog: Catalog
    requests: Requests
    strictness: Strictness = field(default_factory=Strictness)
    loads: Loads = field(init=False)
    _jobs: dict[tuple[str, str], Job | LoadJob] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.loads = Loads(self.catalog)

    def insert(self, project: str, resource: Mapping[str, Any]) -> Job:
        """Raises Refused for a job that is no query, or whose id is taken."""
        configuration = resource["configuration"]
        if "query" not in configuration:
            raise Refused("notImplemented", "this double runs query jobs, and load jobs of a file that is uploaded")
        reference = resource.get("jobReference") or {}
        return self._run(project, configuration["query"], reference.get("jobId"), reference.get("location"))

    def query(self, project: str, request: Mapping[str, Any]) -> Job:
        """jobs.query. Raises Refused."""
        return self._run(project, request, request.get("jobId"), request.get("location"))

    def load(self, project: str, resource: Mapping[str, Any], content: bytes) -> LoadJob:
        """jobs.insert with a file. Raises Refused."""
        reference = resource.get("jobReference") or {}
        id_ = self._new(project, reference.get("jobId"))
        location = reference.get("location") or "US"
        job = self.loads.run(project, id_, location, resource["configuration"]["load"], content)
        self._jobs[project, id_] = job
        return job

    def get(self, project: str, job: str) -> Job | LoadJob:
        """Raises Refused."""
        found = self._jobs.get((project, job))
        if found is None:
            raise Refused("notFound", f"Not found: Job {project}:{job}")
        return found

    def _new(self, project: str, id_: str | None) -> str:
        """The id of a new job. Raises Refused where it is taken."""
        id_ = id_ or f"job-{next(self._ids)}"
        if (project, id_) in self._jobs:
            raise Refused("duplicate", f"Already Exists: Job {project}:{id_}")
        return id_

    def _run(self, project: str, query: Mapping[str, Any], id_: str | None, location: str | None) -> Job:
        id_ = self._new(project, id_)
        self.requests.queries.append(query["query"])
        if query.get("useLegacySql", True):
            raise Refused("notImplemented", "this double runs GoogleSQL only: useLegacySql is true by default")
        default = query.get("defaultDataset") or {}
        result = error = None
        try:
            parameters = {
                each.get("name") or str(position): values.parameter(each)
                for position, each in enumerate(query.get("queryParameters") or ())
            }
            of = default.get("projectId") or project
            script = Script(self.catalog, of, default.get("datasetId"), parameters, self._look_up)
            result = script.run(query["query"])
        except Refused as refused:
            error = refused
        job = Job(project, id_, location or "US", query, result, error, self.catalog.time() // 1000)
        self._jobs[project, id_] = job
        return job

    def _look_up(self, table: Table) -> None:
        """Raises Refused for a table that queries do not know yet."""
        if asks := self.strictness.unknown("query", table.name):
            raise unknown(asks, f"Table {table.name}")
