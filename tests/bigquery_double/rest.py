"""BigQuery's REST API, version 2: datasets, tables, views, routines and query jobs. No credentials are looked at.

https://cloud.google.com/bigquery/docs/reference/rest
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from sqlglot.errors import SqlglotError

from tests.bigquery_double.faults import Faults
from tests.bigquery_double.jobs import Jobs
from tests.bigquery_double.load_jobs import multipart
from tests.bigquery_double.relations import view
from tests.bigquery_double.requests import Requests
from tests.bigquery_double.schema import Field
from tests.bigquery_double.sql import Script
from tests.bigquery_double.strictness import Strictness
from tests.bigquery_double.tables import Catalog, Refused, Table, TableName, unknown, without_nulls

STATUS = {
    "invalid": 400,
    "invalidQuery": 400,
    "accessDenied": 403,
    "notFound": 404,
    "duplicate": 409,
    "conditionNotMet": 412,
    "resourceInUse": 400,
    "notImplemented": 501,
    "backendError": 503,
    "quotaExceeded": 403,
}
"""The HTTP status of each reason: https://cloud.google.com/bigquery/docs/error-messages"""

Resource = dict[str, Any]
Answer = tuple[int, Resource | None, Mapping[str, str]]
"""The HTTP status, the body, and headers."""
_COLUMNS: dict[tuple[str, str, tuple[tuple[Field, ...], ...]], tuple[Field, ...]] = {}
"""Of views: by the query, its project, and the columns of each table that it names."""
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One request: `options` are those of the query string, the last value of each."""

    body: Mapping[str, Any]
    options: Mapping[str, str]
    if_match: str | None


def _locked(handle: Callable[Concatenate[RestApi, P], T]) -> Callable[Concatenate[RestApi, P], T]:
    """Keeps the tables as they are while a request is handled."""

    def locked(api: RestApi, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with api.catalog.lock:
            return handle(api, *args, **kwargs)

    return locked


@dataclass(eq=False)
class RestApi:
    """The service, which answers `(method, path)`."""

    catalog: Catalog
    faults: Faults
    requests: Requests
    strictness: Strictness = field(default_factory=Strictness)
    jobs: Jobs = field(init=False)
    routines: dict[tuple[str, str, str], Resource] = field(default_factory=dict)
    """Table functions as they were given; no query may call one."""

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.catalog, self.requests, self.strictness)

    def answer(self, method: str, path: str, request: Request) -> tuple[int, Resource | None]:
        """(HTTP status, the resource or the error)."""
        self.requests.rest.append((method, path))
        try:
            if self.faults.away:
                raise Refused("backendError", "The service is currently unavailable.")
            time.sleep(self.strictness.latency_s)
            for verb, pattern, handle in ROUTES:
                match = pattern.fullmatch(path)
                if match and verb == method:
                    resource = handle(self, request, *map(unquote, match.groups()))
                    return (204, None) if resource is None else (200, resource)
            raise Refused("notFound", f"Not found: {method} {path}")
        except Refused as refused:
            return _error(refused)
        except Exception:  # clients would ask again for minutes, were the connection to break instead
            return _error(Refused("notImplemented", f"this double failed: {traceback.format_exc()}"))

    def upload(self, method: str, url: str, headers: Message, body: bytes) -> Answer:
        """A request of an upload for a load job, in one piece or resumable."""
        _, host, path, query, _ = urlsplit(url)
        options = {key: values[-1] for key, values in parse_qs(query).items()}
        self.requests.rest.append((method, path))
        try:
            if self.faults.away:
                raise Refused("backendError", "The service is currently unavailable.")
            if options["uploadType"] == "multipart":
                resource, content = multipart(headers["Content-Type"], body)
            elif method == "POST":
                upload = self.jobs.loads.begin(json.loads(body))
                return 200, {}, {"Location": f"http://{host}{path}?uploadType=resumable&upload_id={upload}"}
            else:
                added = self.jobs.loads.add(options["upload_id"], body, headers["Content-Range"])
                if isinstance(added, int):
                    return 308, None, {"Range": f"bytes=0-{added - 1}"} if added else {}
                resource, content = added
            return 200, self.jobs.load(unquote(path.split("/")[5]), resource, content).resource(), {}
        except Refused as refused:
            return *_error(refused), {}
        except Exception:
            return *_error(Refused("notImplemented", f"this double failed: {traceback.format_exc()}")), {}

    @_locked
    def list_datasets(self, _: Request, project: str) -> Resource:
        found = [_dataset(*key, made) for key, made in self.catalog.datasets.items() if key[0] == project]
        return {"kind": "bigquery#datasetList", "datasets": found}

    @_locked
    def get_dataset(self, _: Request, project: str, dataset: str) -> Resource:
        return _dataset(project, dataset, self.catalog.dataset(project, dataset))

    @_locked
    def insert_dataset(self, request: Request, project: str) -> Resource:
        dataset = request.body["datasetReference"]["datasetId"]
        return _dataset(project, dataset, self.catalog.create_dataset(project, dataset, request.body))

    @_locked
    def patch_dataset(self, request: Request, project: str, dataset: str) -> Resource:
        made = self.catalog.dataset(project, dataset)
        made.update(request.body)
        return _dataset(project, dataset, made)

    @_locked
    def delete_dataset(self, request: Request, project: str, dataset: str) -> None:
        self.catalog.dataset(project, dataset)
        inside = [name for name in self.catalog.tables if name[:2] == (project, dataset)]
        if inside and request.options.get("deleteContents") != "true":
            raise Refused("resourceInUse", f"Dataset {project}:{dataset} is still in use")
        for name in inside:
            del self.catalog.tables[name]
        del self.catalog.datasets[project, dataset]

    @_locked
    def list_tables(self, _: Request, project: str, dataset: str) -> Resource:
        self.catalog.dataset(project, dataset)
        self._look_up("tables.list", project, dataset)
        found = [self._table(table) for name, table in self.catalog.tables.items() if name[:2] == (project, dataset)]
        kept = ("kind", "id", "tableReference", "type", "labels", "timePartitioning", "clustering", "creationTime")
        return {
            "kind": "bigquery#tableList",
            "tables": [{key: each[key] for key in kept if key in each} for each in found],
            "totalItems": len(found),
        }

    @_locked
    def get_table(self, _: Request, project: str, dataset: str, table: str) -> Resource:
        found = self.catalog.table(TableName(project, dataset, table))
        if asks := self.strictness.unknown("tables.get", found.name):
            raise unknown(asks, f"Table {found.name}")
        return self._table(found)

    @_locked
    def insert_table(self, request: Request, project: str, dataset: str) -> Resource:
        self._look_up("tables.insert", project, dataset)
        body = without_nulls(request.body)  # as if they were left out
        name = TableName(project, dataset, body["tableReference"]["tableId"])
        fields = [Field.from_rest(each) for each in body.pop("schema", {}).get("fields", ())]
        if "view" in body:
            fields = self._columns(name, body["view"]["query"])
        return self._table(self.catalog.create_table(name, fields, body))

    @_locked
    def patch_table(self, request: Request, project: str, dataset: str, table: str) -> Resource:
        """Fields that are null are taken away; the schema is given whole, and only grows."""
        changed = self.catalog.table(TableName(project, dataset, table))
        if request.if_match not in (None, "*", etag(changed)):
            raise Refused("conditionNotMet", "Precondition check failed.")
        body = dict(request.body)
        schema = body.pop("schema", None)
        if schema is not None and changed.view is None:
            changed.alter([Field.from_rest(each) for each in schema["fields"]])
        if "view" in body:
            changed.fields = tuple(self._columns(changed.name, body["view"]["query"]))
        changed.merge(body)
        return self._table(changed)

    @_locked
    def delete_table(self, _: Request, project: str, dataset: str, table: str) -> None:
        name = TableName(project, dataset, table)
        self.catalog.table(name)
        del self.catalog.tables[name]

    @_locked
    def get_routine(self, _: Request, project: str, dataset: str, routine: str) -> Resource:
        name = project, dataset, routine
        if name not in self.routines:
            raise Refused("notFound", f"Not found: Routine {'.'.join(name)}")
        return self.routines[name]

    @_locked
    def insert_routine(self, request: Request, project: str, dataset: str) -> Resource:
        self.catalog.dataset(project, dataset)
        name = project, dataset, request.body["routineReference"]["routineId"]
        if name in self.routines:
            raise Refused("duplicate", f"Already Exists: Routine {'.'.join(name)}")
        self.routines[name] = dict(request.body)
        return self.routines[name]

    @_locked
    def put_routine(self, request: Request, project: str, dataset: str, routine: str) -> Resource:
        self.get_routine(request, project, dataset, routine)
        self.routines[project, dataset, routine] = dict(request.body)
        return self.get_routine(request, project, dataset, routine)

    def insert_job(self, request: Request, project: str) -> Resource:
        return self.jobs.insert(project, request.body).resource()

    def get_job(self, _: Request, project: str, job: str) -> Resource:
        return self.jobs.get(project, job).resource()

    def query(self, request: Request, project: str) -> Resource:
        options = {name: str(request.body[name]) for name in ("maxResults",) if name in request.body}
        for name, value in request.body.get("formatOptions", {}).items():
            options[f"formatOptions.{name}"] = str(value)
        return self.jobs.query(project, request.body).answer(options, "bigquery#queryResponse")

    def get_query_results(self, request: Request, project: str, job: str) -> Resource:
        return self.jobs.get(project, job).answer(request.options, "bigquery#getQueryResultsResponse")

    def _look_up(self, api: str, project: str, dataset: str) -> None:
        """Raises Refused for a dataset that is not known yet."""
        if asks := self.strictness.unknown(api, (project, dataset)):
            raise unknown(asks, f"Dataset {project}:{dataset}")

    def _columns(self, name: TableName, query: str) -> list[Field]:
        """Those of a view. They follow from the columns of what it names: a query that names the same again is not run.
        Raises Refused for one that cannot be run."""
        try:
            named, _ = view(query, name.project)
        except SqlglotError:
            return list(Script(self.catalog, name.project).run(query).fields)
        key = query, name.project, tuple(self.catalog.table(each).fields for each in named)
        if key not in _COLUMNS:
            _COLUMNS[key] = Script(self.catalog, name.project).run(query).fields
        return list(_COLUMNS[key])

    def _table(self, table: Table) -> Resource:
        project, dataset, name = table.name
        resource = {
            **table.resource,
            "kind": "bigquery#table",
            "etag": etag(table),
            "id": str(table.name),
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": name},
            "schema": {"fields": [each.rest() for each in table.fields]},
            "type": "TABLE" if table.view is None else "VIEW",
            "creationTime": str(table.created // 1000),
            "location": self.catalog.dataset(project, dataset)["location"],
        }
        if table.view is None:
            resource["numRows"] = str(len(table.rows()))
        return resource


def _error(refused: Refused) -> tuple[int, Resource]:
    """https://cloud.google.com/bigquery/docs/error-messages"""
    status = STATUS[refused.reason]
    detail = {"message": refused.message, "domain": "global", "reason": refused.reason}
    return status, {"error": {"code": status, "message": refused.message, "errors": [detail]}}


def etag(table: Table) -> str:
    return f'"{table.name.table}-{table.revision}"'


def _dataset(project: str, dataset: str, made: Mapping[str, Any]) -> Resource:
    return {
        **made,
        "kind": "bigquery#dataset",
        "id": f"{project}:{dataset}",
        "datasetReference": {"projectId": project, "datasetId": dataset},
    }


_DATASETS, _DATASET = "/projects/([^/]+)/datasets", "/projects/([^/]+)/datasets/([^/]+)"
_TABLES, _TABLE = f"{_DATASET}/tables", f"{_DATASET}/tables/([^/]+)"
_ROUTINE = f"{_DATASET}/routines/([^/]+)"

ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Resource | None]]] = [
    (method, re.compile(f"/bigquery/v2{path}"), handle)
    for method, path, handle in (
        ("GET", _DATASETS, RestApi.list_datasets),
        ("POST", _DATASETS, RestApi.insert_dataset),
        ("GET", _DATASET, RestApi.get_dataset),
        ("PATCH", _DATASET, RestApi.patch_dataset),
        ("DELETE", _DATASET, RestApi.delete_dataset),
        ("GET", _TABLES, RestApi.list_tables),
        ("POST", _TABLES, RestApi.insert_table),
        ("GET", _TABLE, RestApi.get_table),
        ("PATCH", _TABLE, RestApi.patch_table),
        ("PUT", _TABLE, RestApi.patch_table),
        ("DELETE", _TABLE, RestApi.delete_table),
        ("POST", f"{_DATASET}/routines", RestApi.insert_routine),
        ("GET", _ROUTINE, RestApi.get_routine),
        ("PUT", _ROUTINE, RestApi.put_routine),
        ("POST", "/projects/([^/]+)/jobs", RestApi.insert_job),
        ("GET", "/projects/([^/]+)/jobs/([^/]+)", RestApi.get_job),
        ("POST", "/projects/([^/]+)/queries", RestApi.query),
        ("GET", "/projects/([^/]+)/queries/([^/]+)", RestApi.get_query_results),
    )
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: RestApi

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        url = urlsplit(self.path)
        options = {key: values[-1] for key, values in parse_qs(url.query).items()}
        headers: Mapping[str, str] = {}
        if url.path.startswith("/upload/"):
            status, resource, headers = self.api.upload(
                self.command, f"http://{self.headers['Host']}{self.path}", self.headers, body
            )
        else:
            request = Request(json.loads(body) if body else {}, options, self.headers.get("If-Match"))
            status, resource = self.api.answer(self.command, url.path, request)
        answer = b"" if resource is None else json.dumps(resource).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The tests' output is no access log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@dataclass
class RestServer:
    """Serves the API on a port of its own."""

    api: RestApi
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self.api}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
