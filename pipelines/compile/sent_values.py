"""Checks of what is sent with a run: that it arrives unchanged, and can work. Refused here, it costs no pod.

Between the API and a step's command line, three programs change text. Argo fills in ``{{...}}``, and the server
answers 500 to what Argo does not know. Kubernetes expands ``$(NAME)`` and halves ``$$`` in a container's arguments. The
launcher of Kubeflow Pipelines fills in its own ``{{$...}}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from epilstm.errors import ParamsError

REWRITTEN = re.compile(r"\{\{|\$\([^)]*\)|\$\$")

#: Names of objects in a namespace: RFC 1123 subdomains.
OBJECT_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

#: Kinds of store in which the launcher of Kubeflow Pipelines keeps artifacts.
PIPELINE_ROOT = re.compile(r"(gs|s3|minio)://[a-z0-9][-a-z0-9._]{1,62}(/.*)?")

#: Parameters that are counts: the least that a task can work with.
LEAST = {"ingest_shards": 1, "genome_parts": 1}

#: A data root: a folder of a volume, or a place in an object store.
DATA_ROOT = re.compile(r"/.*|[a-z][a-z0-9+.-]*://[^/]+.*")


def check_run(name: str, parameters: Mapping[str, Any], service_account: str | None, pipeline_root: str | None) -> None:
    """Check a run or a schedule before it is sent.

    Raises
    ------
    ParamsError
        A value would be changed on its way, or could only fail in a pod.
    """
    check_values("the name", name)
    for key, value in parameters.items():
        check_values(f"-P {key}", value)
        if key in LEAST and isinstance(value, int) and value < LEAST[key]:
            raise ParamsError(f"-P {key}: expected {LEAST[key]} or more, got {value}")
    data_root = parameters.get("data_root")
    if isinstance(data_root, str) and not DATA_ROOT.fullmatch(data_root):
        raise ParamsError(f"-P data_root={data_root}: expected a folder of the volume, as /data, or s3://bucket/prefix")
    if service_account is not None and not OBJECT_NAME.fullmatch(service_account):
        raise ParamsError(
            f"--service-account {service_account!r}: no cluster has a service account of this name; expected "
            "lower-case letters, digits, '-' and '.', such as epilstm-pipeline"
        )
    if pipeline_root is not None and not PIPELINE_ROOT.fullmatch(pipeline_root):
        raise ParamsError(
            f"--pipeline-root {pipeline_root!r}: the launcher of Kubeflow Pipelines knows gs://, s3:// and minio://, "
            "followed by a bucket and a prefix"
        )


def check_values(where: str, value: Any) -> None:
    """Refuse text, in nested lists and mappings too, that a program on its way would change.

    Raises
    ------
    ParamsError
        Names the text, after `where`, and who changes it.
    """
    for place, text in _texts(where, value):
        found = REWRITTEN.search(text)
        if found is not None:
            who = "Argo" if found[0] == "{{" else "Kubernetes"
            raise ParamsError(
                f"{place}: {text!r} holds {found[0]!r}, which {who} replaces before the step reads it; write it without"
            )


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield where, str(key)
            yield from _texts(f"{where}.{key}", each)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _texts(f"{where}[{number}]", each)
