"""Compiled pipelines on a server, as named versions that never change."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm import __version__
from epilstm.console import log
from pipelines.connection import Cluster, ClusterError, NotFoundError, quiet
from pipelines.packages import Package, same_content


@dataclass(frozen=True)
class Uploaded:
    """A version on a server.

    Parameters
    ----------
    pipeline_id, version_id, version_name : str
        Where it is.
    created : bool
        False if it was there already.
    """

    pipeline_id: str
    version_id: str
    version_name: str
    created: bool


def find_pipeline(cluster: Cluster, name: str) -> Any | None:
    """The pipeline of a name; None if there is none.

    Raises
    ------
    ClusterError
        There are several.
    """
    found = cluster.find_named(cluster.client.list_pipelines, "pipelines", name, namespace=cluster.namespace)
    if len(found) > 1:
        ids = ", ".join(pipeline.pipeline_id for pipeline in found)
        raise ClusterError(f"the server has {len(found)} pipelines called {name} ({ids}); delete all but one")
    return found[0] if found else None


def find_version(cluster: Cluster, pipeline_id: str, name: str) -> Any | None:
    """The version of a name of a pipeline; None if there is none."""
    listing = cluster.client.list_pipeline_versions
    found = cluster.find_named(listing, "pipeline_versions", name, pipeline_id=pipeline_id)
    return found[0] if found else None


def pinned_version(cluster: Cluster, package: Package, name: str | None) -> Any:
    """The version that runs are bound to.

    Parameters
    ----------
    package : Package
        Names the pipeline; without a name of a version, the one with this content is taken.
    name : str, optional
        Name of the version.

    Raises
    ------
    ClusterError
        It is not on the server.
    """
    pipeline = find_pipeline(cluster, package.name)
    wanted = name or package.version_name
    if pipeline is not None:
        version = find_version(cluster, pipeline.pipeline_id, wanted)
        if version is not None:
            return version
        every = cluster.list_all(
            cluster.client.list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline.pipeline_id,
            sort_by="created_at desc",
        )
        if name is None:
            # The same content from another commit is the same pipeline.
            same = [version for version in every if str(version.display_name).endswith(f"-{package.digest[:12]}")]
            if same:
                return same[0]
        else:
            names = ", ".join(str(version.display_name) for version in every[:5]) or "none"
            raise ClusterError(f"pipeline {package.name} has no version {name!r} on the server; the latest are {names}")
    raise ClusterError(f"version {wanted} of pipeline {package.name} is not on the server: run epilstm pipeline upload")


def spec_of(cluster: Cluster, version: Any) -> Any:
    """A version's representation; asked for where what was listed or created came without."""
    if version.pipeline_spec is not None:
        return version.pipeline_spec
    full = cluster.client.get_pipeline_version(str(version.pipeline_id), str(version.pipeline_version_id))
    return full.pipeline_spec


def digest_of(version: Any, content: Any, package: Package) -> str:
    """SHA-256 of the compiled file that a version was uploaded from; empty if it is not known.

    Parameters
    ----------
    version : Any
        As the server describes it.
    content : Any
        Its representation.
    package : Package
        A file that may be the one.
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


def upload(cluster: Cluster, package: Package, version_name: str) -> Uploaded:
    """Register a compiled pipeline as a version, and the pipeline if it is new.

    A rerun after any failure completes what is missing.

    Parameters
    ----------
    package : Package
        Compiled pipeline.
    version_name : str
        Name of the version.

    Raises
    ------
    ClusterError
        The version exists with other content, or the server refuses. A pipeline that was made for the version is
        taken away again.
    """
    pipeline: Any = find_pipeline(cluster, package.name)
    pipeline_is_new = False
    if pipeline is None:
        body = _pipeline_body(package, cluster.namespace)

        def create() -> Any:
            return cluster.client.pipelines.pipeline_service_create_pipeline(pipeline=body)

        pipeline, pipeline_is_new = cluster.create_once(create, lambda: find_pipeline(cluster, package.name))
    pipeline_id = str(pipeline.pipeline_id)
    try:
        present = None if pipeline_is_new else find_version(cluster, pipeline_id, version_name)
        if present is not None:
            return _if_same(cluster, package, present, version_name, created=False)
        version, created = cluster.create_once(
            lambda: _send(cluster, package, pipeline_id, version_name),
            lambda: find_version(cluster, pipeline_id, version_name),
        )
    except (ClusterError, KeyboardInterrupt):
        if pipeline_is_new:
            _take_away(cluster, pipeline_id, package.name)
        raise
    return _if_same(cluster, package, version, version_name, created=created)


def _send(cluster: Cluster, package: Package, pipeline_id: str, version_name: str) -> Any:
    # What was read and hashed is what is sent, though the file may have been compiled again meanwhile.
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / package.file_name
        path.write_bytes(package.content)
        return cluster.client.upload_pipeline_version(
            str(path), version_name, pipeline_id=pipeline_id, description=_description(package)
        )


def _if_same(cluster: Cluster, package: Package, version: Any, version_name: str, created: bool) -> Uploaded:
    version_id = str(version.pipeline_version_id)
    spec = spec_of(cluster, version)
    noted = digest_of(version, spec, package) == package.digest
    if not noted and not (isinstance(spec, dict) and same_content(spec, package.as_sent)):
        raise ClusterError(
            f"version {version_name} of pipeline {package.name} is on the server with other content; versions do not "
            "change: give another name with --version-name"
        )
    return Uploaded(str(version.pipeline_id), version_id, version_name, created)


def _take_away(cluster: Cluster, pipeline_id: str, name: str) -> None:
    try:
        if cluster.list_all(cluster.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id):
            return
        cluster.client.delete_pipeline(pipeline_id)
    except NotFoundError:
        return
    except ClusterError as error:
        log.warning(f"pipeline {name} was made and has no version yet; run the same command again ({error})")


def _pipeline_body(package: Package, namespace: str | None) -> dict[str, Any]:
    about = str((package.spec.get("pipelineInfo") or {}).get("description") or "")
    body = {"display_name": package.name, "description": about, "namespace": namespace}
    return {key: value for key, value in body.items() if value}


def _description(package: Package) -> str:
    return f"epilstm {__version__}, git {package.revision}, sha256 {package.digest}"
