"""The Kubernetes API, from a pod or with a kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from epilstm.errors import PipelineError

if TYPE_CHECKING:
    from kubernetes import client


def connect() -> tuple[client.ApiClient, str]:
    """A client without retries, and the namespace of the pod that this runs in or of the kubeconfig's context.

    Raises
    ------
    PipelineError
        There is neither.
    """
    from kubernetes import client, config
    from kubernetes.config.incluster_config import SERVICE_CERT_FILENAME

    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
        namespace = (Path(SERVICE_CERT_FILENAME).parent / "namespace").read_text(encoding="utf-8").strip()
    except config.ConfigException:
        try:
            config.load_kube_config(client_configuration=settings)
            _, active = config.list_kube_config_contexts()
        except config.ConfigException as error:
            raise PipelineError(f"neither in a cluster nor with a kubeconfig: {error}") from error
        namespace = active["context"].get("namespace", "default")
    # The caller retries, who knows what the request was about.
    settings.retries = False
    return client.ApiClient(settings), namespace


@contextmanager
def api_errors(what: str) -> Iterator[None]:
    """Turn what the client raises into one line.

    Raises
    ------
    PipelineError
        The API refuses or does not answer.
    """
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        try:
            message = json.loads(error.body)["message"]
        except (TypeError, ValueError, KeyError):
            message = error.reason
        raise PipelineError(f"{what}: {error.status}: {message}") from error
    except urllib3.exceptions.HTTPError as error:
        raise PipelineError(f"{what}: the Kubernetes API does not answer: {error}") from error
