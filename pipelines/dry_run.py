"""``--dry-run``: what would be sent, with placeholders for what only the server knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.connection import Connection
    from pipelines.packages import Package


def placeholder_reference(pipeline: str, version: str) -> dict[str, str]:
    """Reference to a registered version whose identifiers the server knows."""
    return {"pipeline_id": f"<id of pipeline {pipeline}>", "pipeline_version_id": f"<id of version {version}>"}


def placeholder_digest(package: Package, version: str | None) -> str:
    """Hash of the compiled file that a run is made of."""
    return f"<SHA-256 of version {version}>" if version else package.digest


def experiment_requests(name: str, connection: Connection) -> list[dict[str, Any]]:
    """What finds or makes an experiment."""
    body = {"display_name": name, "namespace": connection.namespace}
    given = {key: value for key, value in body.items() if value}
    path = "/apis/v2beta1/experiments"
    return [{"method": "POST", "path": path, "unless": f"experiment {name} is there", "body": given}]


def run_request(reference: str, method: str, suffix: str) -> dict[str, Any]:
    """A request about a run, given by identifier or name."""
    from pipelines.runs import IDENTIFIER

    place = reference if IDENTIFIER.fullmatch(reference) else f"<id of run {reference}>"
    return {"method": method, "path": f"/apis/v2beta1/runs/{place}{suffix}"}


def print_requests(requests: Sequence[Mapping[str, Any]]) -> None:
    """Print requests as JSON."""
    click.echo(json.dumps({"requests": requests}, indent=2))
