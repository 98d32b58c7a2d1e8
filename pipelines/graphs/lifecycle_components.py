"""The container components of ``python -m epilstm.pipelines.lifecycle``."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.container_component_class import ContainerComponent

from epilstm.pipelines.graphs.step_components import component_of
from epilstm.pipelines.lifecycle import FILES, METRICS, RUN_SECTIONS

RUN_INPUTS: dict[str, Any] = {
    "data_root": str,
    "data_version": str,
    "labels_version": str,
    "code": dict,
    **dict.fromkeys(FILES, str),
    **dict.fromkeys(RUN_SECTIONS, dict),
}


def _options(given: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """``--name value`` of each; of an artifact the path."""
    words: list[Any] = []
    for name in names:
        value = given[name]
        words += [f"--{name.replace('_', '-')}", value.path if hasattr(value, "path") else value]
    return words


def _container(image: str, task: str, options: list[Any]) -> dsl.ContainerSpec:
    executor = ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
    return dsl.ContainerSpec(
        image=image, command=["python", "-m", "epilstm.pipelines.lifecycle", task], args=[*executor, *options]
    )


def changed_component(image: str) -> ContainerComponent:
    """Whether a run would make something else than the champion; its verdict is ``changed`` or ``unchanged``."""
    annotations = {
        "registry": str,
        "max_age_days": int,
        **RUN_INPUTS,
        "reasons": dsl.Output[dsl.Markdown],
        "verdict": dsl.OutputPath(str),
    }
    names = ("registry", "max_age_days", *RUN_INPUTS, "reasons")
    return component_of(
        "changed",
        "Compare data, labels, params and code with the champion's.",
        annotations,
        lambda **given: _container(image, "changed", _options(given, names)),
    )


def champion_component(image: str) -> ContainerComponent:
    """The champion's encoder as an artifact: an empty folder where there is none."""
    return component_of(
        "champion",
        "Fetch the champion's encoder from the registry.",
        {"registry": str, "champion": dsl.Output[dsl.Model]},
        lambda **given: _container(image, "champion", _options(given, ("registry", "champion"))),
    )


def publish_component(image: str, made_by: str) -> ContainerComponent:
    """Register what a run made and make it champion; output ``version``.

    Parameters
    ----------
    image : str
        Reference of the image.
    made_by : str
        Reference of the image that ran the steps.
    """
    artifacts: dict[str, Any] = {
        "model": dsl.Input[dsl.Model],
        "encoder": dsl.Input[dsl.Model],
        "evaluation": dsl.Input[dsl.Artifact],
        "signal_manifest": dsl.Input[dsl.Dataset],
        "matrix_manifest": dsl.Input[dsl.Dataset],
        "embeddings_manifest": dsl.Input[dsl.Dataset],
        "decision": dsl.Input[dsl.Artifact],
        "reasons": dsl.Input[dsl.Markdown],
    }
    metrics: dict[str, Any] = {f"{step}_metrics": dsl.Input[dsl.Metrics] for step in METRICS}
    texts = dict.fromkeys(("registry", "branch", "ir_sha256"), str)
    annotations = {**texts, **RUN_INPUTS, **artifacts, **metrics, "version": dsl.OutputPath(str)}

    def container(**given: Any) -> dsl.ContainerSpec:
        options = _options(given, (*texts, *RUN_INPUTS, *artifacts, *metrics))
        return _container(image, "publish", [*options, "--image", made_by])

    return component_of("publish", "Register the run's encoder, and make it champion.", annotations, container)


def rollout_component(image: str, data_claim: str, follows: bool) -> ContainerComponent:
    """Let serving follow the registry.

    Parameters
    ----------
    image : str
        Reference of the image.
    data_claim : str
        Volume claim of the data root; empty in a bucket.
    follows : bool
        Waits for a publication, whose ``version`` it takes as ``after``.
    """
    names = ("registry", "branch", "data_root", "inference_service", "canary_percent", "rollback")
    annotations: dict[str, Any] = {**dict.fromkeys(names, str), "canary_percent": int}
    annotations |= {"after": str} if follows else {}
    annotations |= {"rollout": dsl.Output[dsl.Artifact]}

    def container(**given: Any) -> dsl.ContainerSpec:
        options = _options(given, (*names, *(("after",) if follows else ()), "rollout"))
        options += ["--data-claim", data_claim] if data_claim else []
        return _container(image, "rollout", [*options, "--run", dsl.PIPELINE_JOB_ID_PLACEHOLDER])

    return component_of("rollout", "Serve what the registry says.", annotations, container)
