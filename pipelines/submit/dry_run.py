"""``--dry-run``: what would be sent, with placeholders for what only the server knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from epilstm.pipelines.submit.options import parameters_given

if TYPE_CHECKING:
    from epilstm.pipelines.compile.packages import Package
    from epilstm.pipelines.submit.connection import Connection

API = "/apis/v2beta1"
Requests = list[dict[str, Any]]


def request(method: str, path: str, **about: Any) -> dict[str, Any]:
    """A request; `about` may have its ``body`` and ``query``, and ``unless``, when it is not sent."""
    return {"method": method, "path": f"{API}/{path}", **{key: value for key, value in about.items() if value}}


def version_placeholder(pipeline: str, version: str) -> dict[str, str]:
    """Reference to a registered version."""
    return {"pipeline_id": f"<id of pipeline {pipeline}>", "pipeline_version_id": f"<id of version {version}>"}


def parameters_of_version(package: Package, version: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the package has them, with the hash of a version that only the server knows."""
    return parameters_given(package.spec, options, f"<SHA-256 of version {version}>" if version else package.digest)


def experiment_requests(name: str, connection: Connection) -> Requests:
    """What creates an experiment."""
    body = {"display_name": name, "namespace": connection.namespace}
    given = {key: value for key, value in body.items() if value}
    return [request("POST", "experiments", unless=f"experiment {name} is there", body=given)]


def run_requests(
    connection: Connection,
    package: Package,
    version: str | None,
    options: Mapping[str, Any],
    name: str,
    unless: str = "",
) -> Requests:
    """What creates a run, and its experiment."""
    from epilstm.pipelines.submit import runs

    source: dict[str, Any] = {"pipeline_spec": package.as_sent}
    if version:
        source = {"pipeline_version_reference": version_placeholder(package.name, version)}
    experiment, parameters = options["experiment"], parameters_of_version(package, version, options)
    arguments = {"service_account": options["service_account"], "pipeline_root": options["pipeline_root"]}
    body = runs.run_body(name, f"<id of experiment {experiment}>", parameters, source, **arguments)
    return [*experiment_requests(experiment, connection), request("POST", "runs", unless=unless, body=body)]


def request_about_run(reference: str, method: str, suffix: str = "") -> Requests:
    """A request about a run, given by identifier or name."""
    from epilstm.pipelines.submit.runs import IDENTIFIER

    place = reference if IDENTIFIER.fullmatch(reference) else f"<id of run {reference}>"
    return [request(method, f"runs/{place}{suffix}")]


def print_requests(requests: Sequence[Mapping[str, Any]]) -> None:
    """Print requests as JSON."""
    click.echo(json.dumps({"requests": requests}, indent=2))
