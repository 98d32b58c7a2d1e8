"""A Kubernetes API server that knows TrainJobs, and a Trainer that runs them: as much of both as the launcher meets.

State is kept: a job is there until it is deleted, and its status follows a script, one phase per read.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.strict_schemas import schema_errors

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs"
PODS = "/api/v1/namespaces/team/pods"


def condition(kind: str, message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "reason": "Jobs",
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def active(count: int) -> dict[str, Any]:
    counts = {"active": count, "ready": count, "failed": 0, "succeeded": 0, "suspended": 0}
    return {"jobsStatus": [{"name": "node", **counts}]}


COMPLETE = {"conditions": [condition("Complete", "jobset completed successfully")]}
FAILED = {"conditions": [condition("Failed", "jobset failed due to one or more job failures")]}


class FakeTrainer:
    """Jobs by name, what was asked of the server, and what it does when asked.

    Parameters
    ----------
    script : list of dict
        Status at each read of a job; the last one stays.
    work : callable
        Called with the manifest when a job reaches the last status.
    """

    def __init__(self, script: list[dict[str, Any]], work: Callable[[dict[str, Any]], None] = lambda job: None) -> None:
        self.script, self.work = script, work
        #: Script of the job that is created next, if not the same.
        self.next_script: list[dict[str, Any]] | None = None
        self.jobs: dict[str, dict[str, Any]] = {}
        self.reads: dict[str, int] = {}
        self.logs: dict[str, tuple[str, str]] = {}
        self.requests: list[str] = []
        #: Answers given before anything else, as (method, status, message).
        self.faults: list[tuple[str, int, str]] = []
        self.lock = threading.Lock()
        trainer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                with trainer.lock:
                    status, content = trainer.respond(self.command, self.path, self.headers, body)
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def respond(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        self.requests.append(f"{method} {path}")
        if headers.get("Authorization") != "Bearer letmein":
            return failure(401, "Unauthorized")
        for fault in self.faults:
            if fault[0] == method:
                self.faults.remove(fault)
                return failure(*fault[1:])
        if method == "POST" and path == JOBS:
            return self.create(body)
        if match := re.fullmatch(rf"{JOBS}/([a-z0-9-]+)", path):
            return self.read(match[1]) if method == "GET" else self.delete(match[1])
        if method == "GET" and path == PODS:
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": [self.pod(name) for name in self.logs]}
        if match := re.fullmatch(rf"{PODS}/([a-z0-9-]+)/log", path):
            assert "container=node" in query
            return 200, self.logs[match[1]][1]
        return failure(404, "the server could not find the requested resource")

    def create(self, job: dict[str, Any]) -> tuple[int, Any]:
        name = job["metadata"]["name"]
        if errors := schema_errors(job):
            return failure(422, f"TrainJob {name} is invalid: {errors[0]}")
        if name in self.jobs:
            return failure(409, f'trainjobs "{name}" already exists')
        self.script, self.next_script = self.next_script or self.script, None
        self.jobs[name], self.reads[name] = job, 0
        return 201, job

    def read(self, name: str) -> tuple[int, Any]:
        if name not in self.jobs:
            return failure(404, f'trainjobs "{name}" not found')
        self.reads[name] += 1
        phase = min(self.reads[name], len(self.script)) - 1
        if phase == len(self.script) - 1 and self.reads[name] == len(self.script):
            self.work(self.jobs[name])
        return 200, {**self.jobs[name], "status": self.script[phase]}

    def delete(self, name: str) -> tuple[int, Any]:
        if self.jobs.pop(name, None) is None:
            return failure(404, f'trainjobs "{name}" not found')
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def pod(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "status": {"phase": self.logs[name][0]}}


def failure(status: int, message: str) -> tuple[int, Any]:
    return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
