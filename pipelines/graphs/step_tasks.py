"""The tasks of a pipeline: components of steps, placed by a profile."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask

from epilstm.pipelines.graphs.images import Images
from epilstm.pipelines.graphs.lifecycle_components import (
    champion_component,
    changed_component,
    publish_component,
    rollout_component,
)
from epilstm.pipelines.graphs.profiles import DATA_PATH, TASKS, Cluster, Profile, place
from epilstm.pipelines.graphs.step_components import CACHED, WHOLE, Form, plan_component, step_component
from epilstm.runtime.step_table import STEPS
from epilstm.runtime.telemetry.step_run import PIPELINE


def _code(step: str, plan: PipelineTask | None) -> dict[str, Any]:
    """Argument of a step's component that names its code."""
    return {} if plan is None or step not in CACHED else {"code": plan.outputs[f"{step}_code"]}


@dataclass(frozen=True)
class TaskMaker:
    """Makes the tasks of a pipeline while kfp traces it.

    Parameters
    ----------
    images : Images
        Where the images are.
    profile : Profile
        What the pipeline asks for.
    cluster : Cluster
        Where it runs.
    pipeline : str
        Whose they are, in metrics.
    """

    images: Images
    profile: Profile
    cluster: Cluster
    pipeline: str

    def plan(self, *, also: Collection[str], **arguments: Any) -> PipelineTask:
        """Look at the data; arguments are the component's."""
        component = plan_component(self.images.reference("train"), also)
        return self._placed(component(**arguments), "plan")

    def step(
        self, name: str, form: Form = WHOLE, *, plan: PipelineTask | None = None, **arguments: Any
    ) -> PipelineTask:
        """Run a step of the step table, with the code that a plan reported; arguments are the component's."""
        step, key = STEPS[name], f"{name}-part" if form.part else name
        gpu = TASKS[key].accelerated and self.profile.accelerators
        component = step_component(step, self.images.reference(f"{step.image}-gpu" if gpu else step.image), form)
        return self._placed(component(**_code(name, plan), **arguments), key)

    def in_parts(self, name: str, parts: Any, form: Form = WHOLE, **arguments: Any) -> PipelineTask:
        """Run a step's parts at the same time, then the step, which collects what they did.

        Where `parts` is empty the loop runs nothing, and the step does it all. So the step waits for the loop and takes
        nothing from it: outputs of a loop without items cannot be collected on a cluster.
        """
        with dsl.ParallelFor(parts, name=f"{name}-parts") as part:
            done = self.step(name, replace(form, part=True), **arguments, part=part)
        return self.step(name, form, **arguments).after(done)

    def train(self, *, plan: PipelineTask, **arguments: Any) -> PipelineTask:
        """Train on what the profile has: in the pod, or by a TrainJob over several nodes."""
        if not self.profile.distributed:
            return self.step("train", Form(processes=self.profile.accelerators), plan=plan, **arguments)
        component = step_component(STEPS["train"], self.images.reference("pipeline"), Form(launcher=self._launcher()))
        task = place(component(**_code("train", plan), **arguments), "train", self.profile, self.cluster, launched=True)
        kubernetes.use_field_path_as_env(task, "POD_NAME", "metadata.name")
        kubernetes.use_field_path_as_env(task, "POD_UID", "metadata.uid")
        return task.set_env_variable(PIPELINE, self.pipeline).set_display_name("Train on several nodes")

    def changed(self, **arguments: Any) -> PipelineTask:
        """Report whether anything is new."""
        return self._placed(changed_component(self._lifecycle)(**arguments), "changed")

    def champion(self, **arguments: Any) -> PipelineTask:
        """Fetch the champion."""
        return self._placed(champion_component(self._lifecycle)(**arguments), "champion")

    def publish(self, **arguments: Any) -> PipelineTask:
        """Register what was made, and make it champion."""
        made_by = self.images.reference("train-gpu" if self.profile.accelerators else "train")
        return self._placed(publish_component(self._lifecycle, made_by)(**arguments), "publish")

    def rollout(self, **arguments: Any) -> PipelineTask:
        """Let serving follow the registry; with ``after``, once that is published."""
        component = rollout_component(self._lifecycle, self.cluster.data_claim, "after" in arguments)
        return self._placed(component(**arguments), "rollout")

    @property
    def _lifecycle(self) -> str:
        return self.images.reference("pipeline")

    def _launcher(self) -> str:
        resources = TASKS["train"].resources
        options = {
            "image": self.images.reference("train-gpu"),
            "runtime": self.cluster.runtime,
            "nodes": self.cluster.nodes,
            "accelerator": self.cluster.accelerator,
            "accelerators": self.profile.accelerators,
            "cpu": resources.cpu,
            "memory": resources.memory,
            "shared-memory": self.cluster.shared_memory,
            "scratch": self.cluster.scratch,
            "data-claim": self.cluster.data_claim,
            "data-path": DATA_PATH,
            "hours": resources.hours,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        words += [f"--node-label={label}={value}" for label, value in self.cluster.node_labels.items()]
        return shlex.join(["python", "-m", "epilstm.pipelines.task.trainjob", *words, "--"])

    def _placed(self, task: PipelineTask, key: str) -> PipelineTask:
        placed = place(task, key, self.profile, self.cluster).set_env_variable(PIPELINE, self.pipeline)
        return placed.set_display_name(TASKS[key].title)
