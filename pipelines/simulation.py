"""The simulation pipeline: a small epigenome in the data root, for the training pipeline's defaults to run on."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from pipelines.tasks import TaskMaker


def simulation(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
    """The pipeline, for kfp to compile.

    Parameters
    ----------
    make : TaskMaker
        Makes its tasks.
    defaults : mapping of str to Any
        Default of each parameter.
    """

    @dsl.pipeline(name="epilstm-simulation", display_name="Epi-LSTM simulation")
    def epilstm_simulation(
        data_root: str = defaults["data_root"],
        simulate: dict = defaults["simulate"],
    ) -> None:
        """Make a small epigenome under the data root: bigWig tracks, a samplesheet and labels for every task.

        Parameters
        ----------
        data_root
            Where it goes: a folder on the mounted volume, or s3://bucket/prefix.
        simulate
            Params of simulate, as its section of params.yaml.
        """
        make.step("simulate", data_root=data_root, params=simulate)

    return epilstm_simulation
