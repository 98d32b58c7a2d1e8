"""Compiled pipelines on a server, as named versions that never change."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm import __version__
from epilstm.console import log
from epilstm.pipelines.compile.packages import Package, same_content
from epilstm.pipelines.submit.server import NotFoundError, Server, ServerError, quiet


@dataclass(frozen=True)
class Uploaded:
    """A version on a server, and whether it is new there."""

    pipeline_id: str
    version_id: str
    version_name: str
    created: bool


def find_pipeline(server: Server, name: str) -> Any:
    """The pipeline of a name; None if there is none.

    Raises
    ------
    ServerError
        There are several.
    """
    found = server.named(server.client.list_pipelines, "pipelines", name, namespace=server.namespace)
    if len(found) > 1:
        ids = ", ".join(pipeline.pipeline_id for pipeline in found)
        raise ServerError(f"the server has {len(found)} pipelines called {name} ({ids}); delete all but one")
    return found[0] if found else None


def find_version(server: Server, pipeline_id: str, name: str) -> Any:
    """The version of a name of a pipeline; None if there is none."""
    listing = server.client.list_pipeline_versions
    found = server.named(listing, "pipeline_versions", name, pipeline_id=pipeline_id)
    return found[0] if found else None


def pinned_version(server: Server, package: Package, name: str | None) -> Any:
    """The version that runs are bound to: of this name, else with the content of the package.

    Raises
    ------
    ServerError
        It is not on the server.
    """
    pipeline = find_pipeline(server, package.name)
    wanted = name or package.version_name
    if pipeline is not None:
        version = find_version(server, pipeline.pipeline_id, wanted)
        if version is not None:
            return version
        order = {"pipeline_id": pipeline.pipeline_id, "sort_by": "created_at desc"}
        every = list(server.listed(server.client.list_pipeline_versions, "pipeline_versions", **order))
        if name is not None:
            names = ", ".join(str(version.display_name) for version in every[:5]) or "none"
            raise ServerError(f"pipeline {package.name} has no version {name!r} on the server; the latest are {names}")
        # The same content from another commit is the same pipeline.
        same = [version for version in every if str(version.display_name).endswith(f"-{package.digest[:12]}")]
        if same:
            return same[0]
    raise ServerError(f"version {wanted} of pipeline {package.name} is not on the server: run epilstm pipeline upload")


def spec_of(server: Server, version: Any) -> Any:
    """A version's representation; requested where what was listed or created came without."""
    if version.pipeline_spec is not None:
        return version.pipeline_spec
    full = server.client.get_pipeline_version(str(version.pipeline_id), str(version.pipeline_version_id))
    return full.pipeline_spec


def digest_of(version: Any, content: Any, package: Package) -> str:
    """SHA-256 of the compiled file that a version of some `content` was uploaded from; empty if it is unknown.

    It is in the version's description, or it is that of the package, if that has the same content.
    """
    noted = re.search(r"\bsha256 ([0-9a-f]{64})$", str(version.description or ""))
    if noted:
        return noted[1]
    return package.digest if isinstance(content, dict) and same_content(content, package.as_sent) else ""


def upload_requests(package: Package, version_name: str, namespace: str | None) -> list[dict[str, Any]]:
    """What an upload sends when the server knows neither the pipeline nor the version."""
    return [
        {
            "method": "POST",
            "path": "/apis/v2beta1/pipelines",
            "unless": f"pipeline {package.name} is there",
            "body": _pipeline_body(package, namespace),
        },
        {
            "method": "POST",
            "path": "/apis/v2beta1/pipelines/upload_version",
            "unless": f"version {version_name} is there",
            "query": {
                "name": version_name,
                "pipelineid": f"<id of pipeline {package.name}>",
                "description": _description(package),
            },
            "file": {"name": package.file_name, "bytes": len(package.content), "sha256": package.digest},
        },
    ]


def upload(server: Server, package: Package, version_name: str) -> Uploaded:
    """Register a compiled pipeline as a version, and the pipeline if it is new.

    A rerun after any failure completes what is missing.

    Raises
    ------
    ServerError
        The version exists with other content, or the server refuses. A pipeline that was created for the version is
        deleted again.
    """
    pipeline = find_pipeline(server, package.name)
    pipeline_is_new = False
    if pipeline is None:
        body, create = _pipeline_body(package, server.namespace), server.client.pipelines
        pipeline, pipeline_is_new = server.once(
            lambda: create.pipeline_service_create_pipeline(pipeline=body), lambda: find_pipeline(server, package.name)
        )
    pipeline_id = str(pipeline.pipeline_id)
    version: Any = None
    created = False
    try:
        if not pipeline_is_new:
            version = find_version(server, pipeline_id, version_name)
        if version is None:
            version, created = server.once(
                lambda: _send(server, package, pipeline_id, version_name),
                lambda: find_version(server, pipeline_id, version_name),
            )
    except (ServerError, KeyboardInterrupt):
        if pipeline_is_new:
            _delete_if_empty(server, pipeline_id, package.name)
        raise
    content = spec_of(server, version)
    same = digest_of(version, content, package) == package.digest
    if not same and not (isinstance(content, dict) and same_content(content, package.as_sent)):
        raise ServerError(
            f"version {version_name} of pipeline {package.name} is on the server with other content; versions do not "
            "change: give another name with --version-name"
        )
    return Uploaded(str(version.pipeline_id), str(version.pipeline_version_id), version_name, created)


def _send(server: Server, package: Package, pipeline_id: str, version_name: str) -> Any:
    # What was read and hashed is sent, though the file may have been compiled again meanwhile.
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / package.file_name
        path.write_bytes(package.content)
        return server.client.upload_pipeline_version(
            str(path), version_name, pipeline_id=pipeline_id, description=_description(package)
        )


def _delete_if_empty(server: Server, pipeline_id: str, name: str) -> None:
    try:
        if not any(server.listed(server.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id)):
            server.client.delete_pipeline(pipeline_id)
    except NotFoundError:
        return
    except ServerError as error:
        log.warning(f"pipeline {name} was made and has no version yet; run the same command again ({error})")


def _pipeline_body(package: Package, namespace: str | None) -> dict[str, Any]:
    about = str((package.spec.get("pipelineInfo") or {}).get("description") or "")
    body = {"display_name": package.name, "description": about, "namespace": namespace}
    return {key: value for key, value in body.items() if value}


def _description(package: Package) -> str:
    return f"epilstm {__version__}, git {package.revision}, sha256 {package.digest}"
