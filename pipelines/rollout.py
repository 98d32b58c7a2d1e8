"""The roll-out pipeline: serving follows the registry, or goes back to the champion before."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.tasks import TaskMaker


def rollout(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    @dsl.pipeline(name="epilstm-rollout", display_name="Epi-LSTM roll-out")
    def epilstm_rollout(
        registry: str,
        branch: str = defaults["branch"],
        data_root: str = defaults["data_root"],
        canary_percent: int = 100,
        rollback: str = "",
        inference_service: str = "",
    ) -> None:
        """Serve the registry's champion, or the one before it.

        Parameters
        ----------
        registry
            URL of the git repository that is the registry.
        branch
            Branch of the registry that says what is served; made where it is not there.
        data_root
            Where encoders are served from: a folder on the mounted volume, or s3://bucket/prefix.
        canary_percent
            Share of the traffic for the champion, the one before serving the rest; 100 for all.
        rollback
            Reason to make the champion before champion again, at once and for all traffic; empty to leave it.
        inference_service
            InferenceService to patch in the run's namespace; empty to leave serving to who follows the branch.
        """
        make.rollout(
            registry=registry,
            branch=branch,
            data_root=data_root,
            inference_service=inference_service,
            canary_percent=canary_percent,
            rollback=rollback,
        )

    return epilstm_rollout
