"""A Kubeflow Pipelines server in memory, speaking the v2beta1 API over real sockets.

Paths, fields and enumerations are those of kfp-server-api 2.17; unknown fields of a body are refused, by its models.
Answers have the form of those that a server of version 2.17.0 gave (`recordings`, compared in
`test_fake_kfp_server`). What runs do is scripted by the test; faults are injected by it.
"""

import base64
import email.policy
import itertools
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_plus, urlsplit

import kfp_server_api
import yaml

API = "/apis/v2beta1"
LOGS = "/apis/v1alpha1"
EQUALS = (1, "EQUALS")
#: gRPC's code of each HTTP status.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14, 504: 4}
#: Bytes of a name at most.
LONGEST = {"Pipeline": 128, "PipelineVersion": 127, "Experiment": 128}
NEVER = "1970-01-01T00:00:00Z"
#: States in which a run can be terminated.
GOING = {"PENDING", "RUNNING", "PAUSED"}


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path.removeprefix(API).removeprefix(LOGS)}"


@dataclass
class Fault:
    """What happens to the next requests that match instead of, or after, being carried out."""

    pattern: str
    times: int
    status: int = 0
    message: str = "scripted"
    carried_out: bool = False
    hang: float = 0.0
    hang_up: bool = False
    page: bool = False
    location: str = ""
    retry_after: str = ""


class Refused(Exception):
    def __init__(self, status: int, message: str, why: str = "") -> None:
        super().__init__(f"{message}: {why}" if why else message)
        self.status, self.why = status, why or message

    def answer(self, request: Request) -> Any:
        """What the server says: handlers outside gRPC (uploads, logs) have a form of their own."""
        if request.path.startswith((f"{API}/pipelines/upload", LOGS)):
            return {
                "error_message": str(self),
                "error_details": f"{self.why}\ngithub.com/kubeflow/pipelines/...\n\t/go",
            }
        about = {"@type": "type.googleapis.com/google.rpc.Status", "code": CODES[self.status], "message": self.why}
        return {"code": CODES[self.status], "message": str(self), "details": [about]}


class RefusedInPlainText(Refused):
    def answer(self, request: Request) -> Any:
        return f"{self}\n"


class UnknownField(Refused):
    def answer(self, request: Request) -> Any:
        return {"code": 3, "message": str(self)}


@dataclass
class FakeKfpServer:
    """State of the server, and the tests' hands on it."""

    token: str | None = None
    cookie: str | None = None
    namespaces: tuple[str, ...] | None = None  # None: one user
    page_limit: int = 200
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Behind the user interface, as in a full Kubeflow, which lets the v2beta1 API through and has logs of its own.
    behind_ui: bool = False
    #: Logs of pods that are there, by their names, of the latest run that was asked for.
    logs: dict[str, str] = field(default_factory=dict)
    #: Applied to the next run that is created: one change per look at it.
    script: list[Callable[[dict[str, Any]], None]] = field(default_factory=list)
    _scripts: dict[str, list[Callable[[dict[str, Any]], None]]] = field(default_factory=dict)

    def __enter__(self) -> "FakeKfpServer":
        self._clock = itertools.count()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        if self.tls is not None:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._http.server_port}"

    def fail(self, pattern: str, times: int = 1, **fault: Any) -> None:
        """Let the next requests whose ``METHOD path`` matches fail."""
        self.faults.append(Fault(pattern, times, **fault))

    def sent(self, pattern: str) -> list[Request]:
        """Requests whose ``METHOD path`` matches."""
        return [request for request in self.requests if re.search(pattern, str(request))]

    def answer(self, request: Request) -> tuple[int, Any, Fault | None]:
        with self._lock:
            self.requests.append(request)
            fault = next(
                (fault for fault in self.faults if fault.times and re.search(fault.pattern, str(request))), None
            )
            if fault is not None:
                fault.times -= 1
                if not fault.carried_out:
                    refused = Refused(fault.status, fault.message)
                    return fault.status, refused.answer(request) if fault.status in CODES else {}, fault
            try:
                return 200, self._carry_out(request), fault
            except Refused as refused:
                return refused.status, refused.answer(request), fault

    def _carry_out(self, request: Request) -> Any:
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, f"Unauthenticated: the token {request.headers.get('authorization')} is not valid")
        if self.cookie is not None and self.cookie not in request.headers.get("cookie", ""):
            raise Refused(401, "Unauthenticated")
        path = request.path.removeprefix(API)
        for method, pattern, operation in self._routes():
            found = re.fullmatch(pattern, path)
            if found and request.method == method:
                answer = operation(request, *(unquote(part) for part in found.groups()))
                return {} if answer is None else answer
        raise Refused(404, f"no such path: {request}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        one = r"([^/:]+)"
        return [
            ("GET", "/healthz", lambda _: {"multi_user": self.namespaces is not None, "pipeline_store": "database"}),
            ("GET", "/pipelines", lambda r: self._list(r, "pipelines", self._mine(r, self.pipelines))),
            ("POST", "/pipelines", self._create_pipeline),
            ("GET", f"/pipelines/{one}", lambda _, key: _get(self.pipelines, key, "Pipeline")),
            ("DELETE", f"/pipelines/{one}", self._delete_pipeline),
            ("POST", "/pipelines/upload", self._upload),
            ("POST", "/pipelines/upload_version", self._upload_version),
            ("GET", f"/pipelines/{one}/versions", self._list_versions),
            ("GET", f"/pipelines/{one}/versions/{one}", lambda _, __, key: _get(self.versions, key, "PipelineVersion")),
            (
                "DELETE",
                f"/pipelines/{one}/versions/{one}",
                lambda _, __, key: _drop(self.versions, key, "PipelineVersion"),
            ),
            ("GET", "/experiments", lambda r: self._list(r, "experiments", self._mine(r, self.experiments))),
            ("POST", "/experiments", self._create_experiment),
            ("GET", "/runs", lambda r: self._list(r, "runs", self._mine(r, self.runs))),
            ("POST", "/runs", self._create_run),
            ("GET", f"/runs/{one}", self._get_run),
            ("POST", f"/runs/{one}:terminate", self._terminate_run),
            ("GET", "/recurringruns", lambda r: self._list(r, "recurringRuns", self._mine(r, self.recurring_runs))),
            ("POST", "/recurringruns", self._create_recurring_run),
            ("DELETE", f"/recurringruns/{one}", lambda _, key: _drop(self.recurring_runs, key, "Job")),
            ("POST", f"/recurringruns/{one}:enable", lambda _, key: self._switch(key, "ENABLED")),
            ("POST", f"/recurringruns/{one}:disable", lambda _, key: self._switch(key, "DISABLED")),
            ("GET", f"{LOGS}/runs/{one}/nodes/{one}/log", self._read_log),
            ("GET", "/k8s/pod/logs", self._read_log_of_ui),
        ]

    # Listings

    def _mine(self, request: Request, items: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        experiment = request.query.get("experiment_id")
        if experiment:
            _get(self.experiments, experiment, "Experiment")
            return [item for item in items.values() if item.get("experiment_id") == experiment]
        namespace = self._namespace(request.query.get("namespace"), required=items is not self.pipelines)
        return [item for item in items.values() if self.namespaces is None or self._namespace_of(item) == namespace]

    def _namespace(self, given: str | None, required: bool = True) -> str | None:
        if self.namespaces is None:
            return None
        if not given:
            if required:
                raise Refused(400, "a resource cannot have an empty namespace in multi-user mode")
            return None
        if given not in self.namespaces:
            raise Refused(403, f"PermissionDenied: User is not authorized in namespace {given}")
        return given

    def _namespace_of(self, item: dict[str, Any]) -> str | None:
        holder = self.experiments.get(item.get("experiment_id", ""), item)
        namespace: str | None = holder.get("namespace")
        return namespace

    def _list(self, request: Request, key: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        for predicate in _filter(request.query.get("filter", "")).get("predicates", []):
            wanted = predicate.get("stringValue", predicate.get("string_value"))
            if predicate["operation"] not in EQUALS or predicate["key"] not in {"display_name", "name"}:
                raise Refused(400, f"this fake knows no such filter: {predicate}")
            # As MySQL compares: without regard to case.
            items = [item for item in items if item["display_name"].casefold() == wanted.casefold()]
        by, _, direction = (request.query.get("sort_by") or "created_at").partition(" ")
        if by not in {"created_at", "display_name"}:
            raise Refused(400, f"Failed to create list options: Invalid input error: Invalid sorting field: {by!r}")
        items = sorted(items, key=lambda item: item[by], reverse=direction == "desc")
        size = min(int(request.query.get("page_size") or 20) or 20, self.page_limit)
        criteria = {"filter": request.query.get("filter", ""), "sort_by": request.query.get("sort_by", "")}
        start = 0
        if request.query.get("page_token"):
            token = json.loads(base64.b64decode(request.query["page_token"], validate=True))
            start = token.pop("start")
            if any(criteria.values()) and criteria != token:
                raise Refused(400, "page token does not match the supplied sort by and/or filtering criteria")
        # As protobuf's JSON: an empty list is left out.
        answer: dict[str, Any] = {key: items[start : start + size], "total_size": len(items)} if items else {}
        if start + size < len(items):
            token = json.dumps({**criteria, "start": start + size}).encode()
            answer["next_page_token"] = base64.b64encode(token).decode()
        return answer

    # Pipelines

    def _create_pipeline(self, request: Request) -> dict[str, Any]:
        _check(request.body, kfp_server_api.V2beta1Pipeline)
        namespace = self._namespace(request.body.get("namespace"), required=False)
        name = request.body["display_name"]
        if any(item["display_name"] == name and item.get("namespace") == namespace for item in self.pipelines.values()):
            why = f"Failed to create a new pipeline. The name {name} already exist. Please specify a new name"
            raise Refused(409, "Failed to create a pipeline due to server error: Already exist error", why)
        _check_length("Pipeline", name)
        pipeline = {**request.body, "pipeline_id": _new_id(), "name": name, "created_at": self._now()}
        if namespace:
            pipeline["namespace"] = namespace
        self.pipelines[pipeline["pipeline_id"]] = pipeline
        return pipeline

    def _delete_pipeline(self, _: Request, key: str) -> dict[str, Any]:
        if any(version["pipeline_id"] == key for version in self.versions.values()):
            raise Refused(400, "the pipeline has versions")
        return _drop(self.pipelines, key, "Pipeline")

    def _list_versions(self, request: Request, key: str) -> dict[str, Any]:
        _get(self.pipelines, key, "Pipeline")
        return self._list(
            request, "pipeline_versions", [item for item in self.versions.values() if item["pipeline_id"] == key]
        )

    def _upload(self, request: Request) -> dict[str, Any]:
        _check_length("Pipeline", request.query["name"])
        _documents(request)
        raise Refused(400, "this fake makes pipelines without a version")

    def _upload_version(self, request: Request) -> dict[str, Any]:
        pipeline = _get(self.pipelines, request.query.get("pipelineid", ""), "Pipeline")
        name = request.query["name"]
        _check_length("PipelineVersion", name)
        mine = [item for item in self.versions.values() if item["pipeline_id"] == pipeline["pipeline_id"]]
        if any(item["display_name"] == name for item in mine):
            raise Refused(409, "Failed to create a pipeline version")
        documents = _documents(request)
        spec = documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        version = {
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": _new_id(),
            "display_name": name,
            "name": name,
            "description": request.query.get("description", ""),
            "created_at": self._now(),
            "pipeline_spec": spec,
        }
        self.versions[version["pipeline_version_id"]] = version
        return version

    # Experiments, runs, recurring runs

    def _create_experiment(self, request: Request) -> dict[str, Any]:
        _check(request.body, kfp_server_api.V2beta1Experiment)
        namespace = self._namespace(request.body.get("namespace"))
        name = request.body["display_name"]
        _check_length("Experiment", name)
        if any(
            item["display_name"] == name and item.get("namespace") == namespace for item in self.experiments.values()
        ):
            why = f"Failed to create experiment {name}. Duplicate experiment name"
            raise Refused(409, "Failed to create an experiment: Already exist error", why)
        experiment = {
            "experiment_id": _new_id(),
            "display_name": name,
            "created_at": self._now(),
            "namespace": namespace,
        }
        self.experiments[experiment["experiment_id"]] = {k: v for k, v in experiment.items() if v}
        return experiment

    def _version(self, reference: dict[str, str]) -> dict[str, Any]:
        if "pipeline_version_id" in reference:
            return _get(self.versions, reference["pipeline_version_id"], "PipelineVersion")
        mine = [item for item in self.versions.values() if item["pipeline_id"] == reference["pipeline_id"]]
        return max(mine, key=lambda version: version["created_at"])

    def _check_source(self, body: dict[str, Any]) -> None:
        _check(body.get("runtime_config", {}), kfp_server_api.V2beta1RuntimeConfig)
        if body.get("experiment_id"):
            _get(self.experiments, body["experiment_id"], "Experiment")
        reference = body.get("pipeline_version_reference")
        if bool(reference) == bool(body.get("pipeline_spec")):
            raise Refused(400, "expected either a pipeline_spec or a pipeline_version_reference")
        if reference:
            _check(reference, kfp_server_api.V2beta1PipelineVersionReference)
            spec = self._version(reference)["pipeline_spec"]
        else:
            spec = body["pipeline_spec"]
        spec = spec.get("pipeline_spec", spec)
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = body.get("runtime_config", {}).get("parameters", {})
        unknown = sorted(set(given) - set(declared))
        refused = "Failed to create a new run: Failed to generate the ExecutionSpec: Invalid input error"
        if unknown:
            raise Refused(400, refused, f"parameter(s) provided are not required by pipeline: {', '.join(unknown)}")
        for name, value in given.items():
            if declared[name]["parameterType"] == "STRING" and not isinstance(value, str):
                why = (
                    f"input parameter {name} requires type string, but the input parameter is not of string value type"
                )
                raise Refused(400, refused, why)

    def _create_run(self, request: Request) -> dict[str, Any]:
        _check(request.body, kfp_server_api.V2beta1Run)
        self._check_source(request.body)
        run = {"storage_state": "AVAILABLE", "service_account": "pipeline-runner", **request.body, "run_id": _new_id()}
        now = self._now()
        run |= {"created_at": now, "scheduled_at": now, "finished_at": NEVER, "state": "PENDING"}
        run["state_history"] = [{"update_time": now, "state": "PENDING"}]
        self.runs[run["run_id"]] = run
        self._scripts[run["run_id"]], self.script = list(self.script), []
        return run

    def _run(self, key: str) -> dict[str, Any]:
        run = _get(self.runs, key, "Run", f"Failed to get a run: Failed to fetch run {key}: ResourceNotFoundError")
        namespace = self._namespace_of(run)
        if self.namespaces is not None and namespace not in self.namespaces:
            raise Refused(403, f"PermissionDenied: User is not authorized in namespace {namespace}")
        return run

    def _get_run(self, _: Request, key: str) -> dict[str, Any]:
        run = self._run(key)
        script = self._scripts.get(key)
        if script:
            script.pop(0)(run)
        return run

    def _terminate_run(self, _: Request, key: str) -> None:
        run = self._run(key)
        if run["state"] not in GOING:
            why = f"Failed to terminate a run {key}. Row not found"
            raise Refused(400, f"Failed to terminate a run: Failed to terminate run {key}: Invalid input error", why)
        run["state"] = "CANCELING"
        self._scripts[key] = []

    def _read_log_of_ui(self, request: Request) -> str:
        if not self.behind_ui:
            raise Refused(404, f"no such path: {request}")
        if self.namespaces is not None and request.query.get("podnamespace") not in self.namespaces:
            raise RefusedInPlainText(403, "Access denied to namespace")
        if request.query["podname"] not in self.logs:
            raise RefusedInPlainText(404, "pod not found")
        return self.logs[request.query["podname"]]

    def _read_log(self, _: Request, key: str, pod: str) -> str:
        if self.behind_ui:
            raise RefusedInPlainText(404, f"Cannot GET {LOGS}/runs/{key}/nodes/{pod}/log")
        self._run(key)
        if pod not in self.logs:
            raise Refused(500, f"Failed to read logs for run {key}: InternalServerError", f'pods "{pod}" not found')
        return self.logs[pod]

    def _create_recurring_run(self, request: Request) -> dict[str, Any]:
        body = request.body
        _check(body, kfp_server_api.V2beta1RecurringRun)
        self._check_source(body)
        trigger = body["trigger"]
        if "cron_schedule" in trigger:
            _check(trigger["cron_schedule"], kfp_server_api.V2beta1CronSchedule)
            cron = trigger["cron_schedule"]["cron"]
            why = ""
            if len(cron.split()) not in {5, 6}:
                why = f"Expected 5 to 6 fields, found {len(cron.split())}: {cron}"
            for each, largest in zip(cron.split(), (59, 59, 23, 31, 12, 6), strict=False):
                if each.isdecimal() and int(each) > largest:
                    why = why or f"End of range ({each}) above maximum ({largest}): {each}"
            if why:
                documented = "https://godoc.org/github.com/robfig/cron"
                why = f"Schedule cron is not a supported format({documented}). Error: {why}"
                raise Refused(400, "Failed to create a recurring run due to conversion error", why)
        else:
            _check(trigger["periodic_schedule"], kfp_server_api.V2beta1PeriodicSchedule)
        if not 1 <= int(body["max_concurrency"]) <= 10:
            why = "Max concurrency of a recurring run must be at least 1 and at most 10. Received "
            why += body["max_concurrency"]
            raise Refused(400, "Failed to create a recurring run due to conversion error", why)
        status = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
        recurring = {"namespace": "kubeflow", "service_account": "pipeline-runner", **body, "status": status}
        recurring |= {"recurring_run_id": _new_id(), "created_at": self._now()}
        self.recurring_runs[recurring["recurring_run_id"]] = recurring
        return recurring

    def _switch(self, key: str, status: str) -> None:
        item = _get(self.recurring_runs, key, "Job")
        item["status"] = status
        item["mode"] = status.removesuffix("D")

    def _now(self) -> str:
        return _moment(next(self._clock))


WORKFLOW = "small-x7k2p"
#: Attempts that a step makes until it has a state.
ATTEMPTS = {"FAILED": 3, "SUCCEEDED": 1, "RUNNING": 1, "PENDING": 1}


def tasks(state: str, **states: str | list[str]) -> Callable[[dict[str, Any]], None]:
    """One step of a script: the run's state and those of its steps, one after another.

    A step whose state is a list is in a loop, with a state for each part. ``CACHED`` is a step that was not run since
    its outputs are known, ``NOT_REACHED`` one that never will be.
    """

    def change(run: dict[str, Any]) -> None:
        run["state"] = state
        run["finished_at"] = _moment(1000) if state in {"SUCCEEDED", "FAILED", "CANCELED"} else NEVER
        rows = _Rows(run["run_id"])
        rows.add("", state, 0, ["root-driver"])
        rows.add("root-driver", "SUCCEEDED", 0, ["root"])
        rows.add("root", state, 0)
        before = "root"
        for second, (key, result) in enumerate(states.items()):
            step = key.replace("_", "-")
            if isinstance(result, str):
                before = rows.add_step(f"root.{step}", result, 10 * second, before)
                continue
            loop = f"root.for-loop-{second + 1}"
            whole = next((part for part in result if part not in {"SUCCEEDED", "CACHED"}), "SUCCEEDED")
            rows.follow(before, loop)
            rows.add(loop, whole, 10 * second, [f"{loop}.iteration-driver"])
            rows.add(f"{loop}.iteration-driver", "SUCCEEDED", 10 * second, [f"{loop}.iteration-iterations"])
            items = [f"{loop}.iteration-iterations({number}:{number})" for number in range(len(result))]
            rows.add(f"{loop}.iteration-iterations", whole, 10 * second, items)
            for item, part in zip(items, result, strict=True):
                inner, state_of_item = f"{item}.iteration-item", part.replace("CACHED", "SUCCEEDED")
                rows.add(item, state_of_item, 10 * second, [f"{item}.iteration-item-driver"])
                rows.add(f"{item}.iteration-item-driver", "SUCCEEDED", 10 * second, [inner])
                rows.add(inner, state_of_item, 10 * second)
                before = rows.add_step(f"{inner}.{step}", part, 10 * second, inner)
        # In no order of time.
        run["run_details"] = {"task_details": sorted(rows.rows, key=lambda row: str(row["task_id"]))}

    return change


def pod_of(step: str, attempt: int, part: int | None = None, loop: int = 1) -> str:
    """Pod of an attempt of a step, of a part of a loop if it is in one; all are counted from 0 but loops."""
    item = "" if part is None else f"for-loop-{loop}.iteration-iterations({part}:{part}).iteration-item."
    return _identifier(f"root.{item}{step}.executor({attempt})", f"{WORKFLOW}-retry-system-container-impl")


class _Rows:
    """Rows of nodes as the server makes them: no errors, no pods, children by the identifiers of their nodes."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.rows: list[dict[str, Any]] = []
        self.by_path: dict[str, dict[str, Any]] = {}

    def add(self, path: str, state: str, second: int, after: Sequence[str] = (), took: int = 5) -> None:
        reached = state != "NOT_REACHED"
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "task_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.run_id} {path}")),
            "display_name": path.rpartition(".")[2] or WORKFLOW,
            "create_time": _moment(0),
            "start_time": _moment(second),
            "end_time": "0001-01-01T00:00:00Z" if state in {"RUNNING", "PENDING"} else _moment(second + took),
        }
        if reached:
            row["state"] = state
        if after:
            row["child_tasks"] = [{"pod_name": _identifier(name)} for name in after]
        self.rows.append(row)
        self.by_path[path] = row

    def follow(self, before: str, path: str) -> None:
        """Let a node come after one that is there."""
        self.by_path[before].setdefault("child_tasks", []).append({"pod_name": _identifier(path)})

    def add_step(self, path: str, state: str, second: int, before: str) -> str:
        """Add the nodes of a step; the last of them."""
        self.follow(before, f"{path}-driver")
        if state == "NOT_REACHED":
            self.add(f"{path}-driver", state, 900, [path])
            self.add(path, state, 900)
            return path
        self.add(f"{path}-driver", "SUCCEEDED", second, [path], took=0)
        if state == "CACHED":
            self.add(path, "SUCCEEDED", second, [f"{path}.executor"], took=0)
            self.add(f"{path}.executor", "SKIPPED", second, took=0)
            return f"{path}.executor"
        attempts = [f"{path}.executor({number})" for number in range(ATTEMPTS.get(state, 1))]
        self.add(path, state, second, [f"{path}.executor"])
        self.add(f"{path}.executor", state, second, attempts)
        for attempt in attempts:
            self.add(attempt, state, second)
        if state == "SUCCEEDED":
            # The cache's own record.
            about = {"run_id": self.run_id, "task_id": _new_id(), "create_time": _moment(second + 1)}
            self.rows.append({**about, "start_time": NEVER, "end_time": _moment(second + 5)})
        return attempts[-1]


def _identifier(path: str, stem: str = WORKFLOW) -> str:
    value = 2166136261
    for byte in f"{WORKFLOW}.{path}".encode():
        value = ((value ^ byte) * 16777619) % (1 << 32)
    return f"{stem}-{value}"


def _moment(second: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def _get(items: dict[str, dict[str, Any]], key: str, kind: str, whole: str = "ResourceNotFoundError") -> dict[str, Any]:
    if key not in items:
        raise Refused(404, whole, f"{kind} {key} not found")
    return items[key]


def _drop(items: dict[str, dict[str, Any]], key: str, kind: str) -> dict[str, Any]:
    _get(items, key, kind)
    del items[key]
    return {}


def _documents(request: Request) -> list[dict[str, Any]]:
    """The YAML of an upload."""
    documents = [document for document in yaml.safe_load_all(request.body["uploadfile"]) if document]
    if not documents or "pipelineInfo" not in documents[0]:
        raise Refused(400, "unknown template format")
    return documents


def _filter(decoded_once: str) -> Any:
    """A filter; the server decodes it though the query was decoded before (``url.QueryUnescape``)."""
    if not decoded_once:
        return {}
    broken = re.search("%(?![0-9a-fA-F]{2}).{0,2}", decoded_once)
    if broken:
        why = f'failed to parse valid filter from {json.dumps(decoded_once)}: invalid URL escape "{broken.group()}"'
        raise Refused(400, "Failed to create list options: Invalid input error", why)
    return json.loads(unquote_plus(decoded_once, errors="strict"))


def _check_length(kind: str, name: str) -> None:
    if len(name.encode()) > LONGEST[kind]:
        raise RefusedInPlainText(400, f"Invalid input error: {kind}.Name length cannot exceed {LONGEST[kind]}")


def _new_id() -> str:
    return str(uuid.uuid4())


def _check(body: Any, model: type) -> None:
    """Refuse what the published model does not know."""
    if not isinstance(body, dict):
        raise Refused(400, f"expected an object for {model.__name__}")
    unknown = set(body) - set(model.attribute_map.values())  # type: ignore[attr-defined]
    if unknown:
        raise UnknownField(400, f'proto: unknown field "{min(unknown)}"')
    for attribute, kind in model.openapi_types.items():  # type: ignore[attr-defined]
        value = body.get(model.attribute_map[attribute])  # type: ignore[attr-defined]
        if kind == "str" and value is not None and not isinstance(value, str):
            raise Refused(400, f"{model.__name__}.{attribute} is not a string")


def _handler(server: FakeKfpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            parts = urlsplit(self.path)
            kind = self.headers.get("Content-Type", "")
            body: Any = None
            if kind.startswith("multipart/form-data"):
                message = BytesParser(policy=email.policy.HTTP).parsebytes(
                    b"Content-Type: " + kind.encode() + b"\r\n\r\n" + raw
                )
                body = {
                    part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                    for part in message.iter_parts()
                }
            elif raw:
                body = json.loads(raw)
            query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, answer, fault = server.answer(Request(self.command, parts.path, query, headers, body))
            if fault is not None:
                time.sleep(fault.hang)
                if fault.hang_up:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status = fault.status or status
            content, kind = json.dumps(answer).encode(), "application/json"
            if fault and fault.page:
                content, kind = b"<html>Sign in</html>", "text/html"
            elif isinstance(answer, str):
                content, kind = answer.encode(), "text/plain"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            if fault and fault.location:
                self.send_header("Location", fault.location)
            if fault and fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.end_headers()
            self.wfile.write(content)

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ssl.SSLError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_POST = do_DELETE = _serve

    return Handler
