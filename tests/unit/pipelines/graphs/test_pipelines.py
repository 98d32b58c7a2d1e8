"""What the compiled pipelines say: how data flows, what is cached, tried again and shown."""

from __future__ import annotations

import json

import pytest

from epilstm.params import SECTIONS
from epilstm.pipelines.compile.compilation import compile_pipeline
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty
from support.pipelines.compiled_ir import CompiledPipeline, compiled

ORDER = ["plan", "ingest-part", "ingest", "preprocess-part", "preprocess", "train", "export", "embed-part", "embed"]
GATE = ["champion", "promote", "publish"]


@pytest.fixture(scope="module")
def training() -> CompiledPipeline:
    return compiled("training", "cpu")


@pytest.fixture(scope="module")
def embedding() -> CompiledPipeline:
    return compiled("embedding", "cpu")


@pytest.fixture(scope="module")
def retraining() -> CompiledPipeline:
    return compiled("retraining", "cpu")


def source(task: dict, parameter: str) -> tuple[str, str]:
    """Task and output that a parameter of a task comes from."""
    result = task["inputs"]["parameters"][parameter]["taskOutputParameter"]
    return result["producerTask"], result["outputParameterKey"]


@pytest.mark.parametrize(
    ("part", "producer", "output"),
    [
        ("ingest-part", "plan", "ingest_parts"),
        ("preprocess-part", "plan", "genome_groups"),
        ("embed-part", "plan", "genome_groups"),
    ],
)
def test_work_fans_out_over_what_an_earlier_task_found(training, part, producer, output):
    loop = training.loops()[part]
    [items] = [
        value["taskOutputParameter"]
        for value in loop["inputs"]["parameters"].values()
        if value.get("taskOutputParameter", {}).get("outputParameterKey") == output
    ]
    assert items["producerTask"] == producer
    assert loop["parameterIterator"]["items"] == {"inputParameter": f"pipelinechannel--{producer}-{output}"}


@pytest.mark.parametrize("name", ["ingest", "preprocess", "embed"])
def test_a_step_waits_for_the_loop_over_its_parts_and_takes_nothing_from_it(training, name):
    task = training.tasks()[name]
    [loop] = [each for each in task["dependentTasks"] if each.startswith("for-loop")]
    assert list(training.component(loop)["dag"]["tasks"]) == [f"{name}-part"]
    # A loop without items has nothing to collect, which Kubeflow's driver takes for an error.
    sources = str(task["inputs"])
    assert loop not in sources


@pytest.mark.parametrize("pipeline", ["training", "retraining"])
def test_only_the_publisher_gets_the_hash_of_the_pipeline_so_that_no_step_s_cache_depends_on_it(pipeline, request):
    compiled = request.getfixturevalue(pipeline)
    assert compiled.parameters["ir_sha256"]["defaultValue"] == ""
    tasks = compiled.tasks()
    taking = {name for name in tasks if "ir_sha256" in str(tasks[name].get("inputs"))}
    assert taking == {"publish"}


def test_bulk_data_go_by_uri_and_the_rest_as_artifacts(training):
    inputs = {name: set(training.component(name)["inputDefinitions"].get("artifacts", {})) for name in training.tasks()}
    assert inputs["embed"] == {"encoder"}
    assert inputs["evaluate"] == {"model"}
    assert inputs["report"] == {"model", "history", "evaluation"}
    assert inputs["train"] == inputs["preprocess"] == set()
    for name, port in (("ingest", "signal"), ("preprocess", "matrix"), ("embed", "embeddings")):
        outputs = training.component(name)["outputDefinitions"]
        assert outputs["parameters"][port]["parameterType"] == "STRING"
        assert outputs["artifacts"][f"{port}_manifest"]["artifactType"]["schemaTitle"] == "system.Dataset"


@pytest.mark.parametrize(
    ("task", "output", "kind"),
    [
        ("train", "model", "system.Model"),
        ("train", "history", "system.Dataset"),
        ("train", "metrics", "system.Metrics"),
        ("export", "encoder", "system.Model"),
        ("evaluate", "evaluation", "system.Artifact"),
        ("evaluate", "classification", "system.ClassificationMetrics"),
        ("report", "report", "system.HTML"),
    ],
)
def test_artifacts_are_typed(training, task, output, kind):
    artifacts = training.component(task)["outputDefinitions"]["artifacts"]
    assert artifacts[output]["artifactType"]["schemaTitle"] == kind


def test_no_component_takes_a_list_of_artifacts(training, embedding):
    for pipeline in (training, embedding):
        for component in nonempty(pipeline.spec["components"].values()):
            for artifact in component.get("inputDefinitions", {}).get("artifacts", {}).values():
                assert not artifact.get("isArtifactList")


def test_what_looks_at_files_or_at_the_registry_is_never_taken_from_the_cache(training, retraining, embedding):
    fresh = {"plan", "changed", "champion", "promote", "publish", "rollout"}
    for pipeline in (training, retraining, embedding):
        cached = {name: bool(task["cachingOptions"].get("enableCache")) for name, task in pipeline.tasks().items()}
        assert cached == {name: name not in fresh for name in cached}


def test_caching_does_not_follow_the_environment_of_who_compiles(monkeypatch):
    from kfp.dsl.pipeline_context import Pipeline

    expected = compile_pipeline("simulation", "cpu")
    monkeypatch.setattr(Pipeline, "_execution_caching_default", False)
    assert compile_pipeline("simulation", "cpu") == expected


def test_changed_data_and_labels_reach_the_cache_keys(training):
    tasks = training.tasks()
    assert source(tasks["ingest"], "data_version") == ("plan", "data_version")
    assert source(tasks["evaluate"], "labels_version") == ("plan", "labels_version")
    assert "data_version=" in " ".join(training.executors["ingest-part"]["args"])


def test_the_code_that_the_plan_found_in_its_image_reaches_the_cache_keys(training, embedding):
    monitoring = compiled("monitoring", "cpu")
    for pipeline in (training, embedding, monitoring):
        cached = {
            name: json.dumps(task["inputs"]["parameters"]["code"])
            for name, task in pipeline.tasks().items()
            if task["cachingOptions"].get("enableCache")
        }
        assert cached
        for name, origin in nonempty(cached.items()):
            assert "plan" in origin
            assert f"{name.removesuffix('-part')}_code" in origin
    arguments = training.executors["train"]["args"]
    assert arguments[arguments.index("--code") + 1] == "{{$.inputs.parameters['code']}}"
    text = json.dumps(training.spec)
    assert not any(step_fingerprint(step).sha256 in text for step in STEPS)  # a commit of code is no new pipeline


def test_every_task_is_tried_again_after_a_growing_pause(training):
    for name, task in nonempty(training.tasks().items()):
        policy = task["retryPolicy"]
        assert policy["maxRetryCount"] > 0
        assert policy["backoffDuration"] != "0s"
        assert policy["backoffFactor"] > 1
        deadline = int(training.kubernetes(name)["activeDeadlineSeconds"])
        # Argo's window is over all attempts and ends a running one.
        assert int(policy["backoffMaxDuration"].removesuffix("s")) >= deadline * (policy["maxRetryCount"] + 1)


def test_every_task_has_a_title_of_its_own(training):
    titles = [task["taskInfo"]["name"] for task in training.tasks().values()]
    assert len(set(titles)) == len(titles)
    assert all(title[0].isupper() and "-part" not in title for title in nonempty(titles))


def test_each_section_is_one_parameter_with_its_validated_values(training):
    sections = {name: parameter for name, parameter in training.parameters.items() if name in SECTIONS}
    assert set(sections) == {name.removesuffix("-part") for name in training.tasks()} - {"plan", "champion", "publish"}
    for name, parameter in nonempty(sections.items()):
        assert parameter["parameterType"] == "STRUCT"
        assert SECTIONS[name].model_validate(parameter["defaultValue"]).model_dump() == parameter["defaultValue"]


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("training", set()),
        ("retraining", {"registry"}),
        ("embedding", {"encoder"}),
        ("monitoring", {"matrix"}),
        ("rollout", {"registry"}),
    ],
)
def test_every_parameter_is_described_and_has_a_default_or_must_be_given(name, lacking):
    pipeline = compiled(name, "cpu")
    assert all(parameter["description"] for parameter in nonempty(pipeline.parameters.values()))
    assert {name for name, parameter in pipeline.parameters.items() if "defaultValue" not in parameter} == lacking


def test_files_that_stand_for_none_in_params_yaml_are_not_looked_for_in_the_data_root(training):
    assert training.parameters["blacklist"]["defaultValue"] == ""


def test_tasks_follow_the_data(training):
    rank = {name: number for number, name in enumerate([*ORDER, "evaluate", "report", *GATE])}
    for name, task in nonempty(training.tasks().items()):
        for earlier in task.get("dependentTasks", []):
            if not earlier.startswith("for-loop"):
                assert rank[earlier] < rank[name]


def test_another_encoder_at_the_same_path_is_not_taken_for_the_one_in_the_cache(embedding):
    tasks = embedding.tasks()
    for name in ("preprocess", "embed"):
        assert source(tasks[name], "encoder_version") == ("plan", "encoder_version")
        # In a loop, what comes from outside it is an input of the loop.
        passed = tasks[f"{name}-part"]["inputs"]["parameters"]["encoder_version"]
        assert passed == {"componentInputParameter": "pipelinechannel--plan-encoder_version"}


def test_the_embedding_pipeline_neither_trains_nor_evaluates(embedding):
    assert set(embedding.tasks()) == set(ORDER) - {"train", "export"}
    assert not {"tasks", "labels"} & set(embedding.parameters)


# The gate, the registry and serving


def verdict_of(task: str, value: str) -> str:
    return f"inputs.parameter_values['pipelinechannel--{task}-Output'] == '{value}'"


def test_training_publishes_what_the_gate_promotes_if_there_is_a_registry(training):
    registry = "inputs.parameter_values['pipelinechannel--registry'] != ''"
    assert training.conditions_of("publish") == [registry, verdict_of("promote", "promote")]
    assert training.conditions_of("promote") == training.conditions_of("report") == []
    assert training.parameters["registry"]["defaultValue"] == ""


def test_the_gates_verdict_is_its_only_parameter(training, retraining):
    # kfp.local takes a condition on an output that is not called so for false.
    for pipeline, name in ((training, "promote"), (retraining, "changed")):
        outputs = pipeline.component(name)["outputDefinitions"]
        assert outputs["parameters"] == {"Output": {"parameterType": "STRING"}}
    artifacts = training.component("promote")["outputDefinitions"]["artifacts"]
    kinds = {name: artifact["artifactType"]["schemaTitle"] for name, artifact in artifacts.items()}
    assert kinds == {"decision": "system.Artifact", "reasons": "system.Markdown", "metrics": "system.Metrics"}


def test_the_champion_reaches_the_gate_as_an_artifact(training):
    source = training.tasks()["promote"]["inputs"]["artifacts"]["champion"]["taskOutputArtifact"]
    assert source == {"producerTask": "champion", "outputArtifactKey": "champion"}


def test_retraining_ends_after_a_look_where_nothing_is_new(retraining):
    changed = verdict_of("changed", "changed")
    assert retraining.conditions_of("plan") == retraining.conditions_of("changed") == []
    assert {tuple(retraining.conditions_of(name)) for name in set(retraining.tasks()) - {"plan", "changed"}} == {
        (changed,),
        (changed, verdict_of("promote", "promote")),
    }
    for output in ("data_version", "labels_version", "code"):
        assert source(retraining.tasks()["changed"], output) == ("plan", output)


def test_retraining_is_training_with_a_look_before_and_a_roll_out_after_it(training, retraining):
    assert set(retraining.tasks()) == {*training.tasks(), "changed", "rollout"}
    for name, container in nonempty(training.executors.items()):
        assert retraining.executors[name]["args"] == container["args"]


def test_serving_follows_once_the_model_is_published(retraining):
    assert source(retraining.tasks()["rollout"], "after") == ("publish", "version")
    assert retraining.conditions_of("rollout") == retraining.conditions_of("publish")


def test_what_is_published_is_what_the_run_made(training):
    taken = training.spec["components"]["comp-publish"]["inputDefinitions"]
    assert set(taken["artifacts"]) == {
        *("model", "encoder", "evaluation", "signal_manifest", "matrix_manifest", "embeddings_manifest"),
        *("decision", "reasons"),
        *(f"{step}_metrics" for step in ("ingest", "preprocess", "train", "export", "embed", "evaluate")),
    }
    assert {"data_version", "labels_version", "samplesheet", "promote", "train"} <= set(taken["parameters"])


def test_the_roll_out_is_a_pipeline_of_its_own_too():
    pipeline = compiled("rollout", "cpu")
    assert list(pipeline.tasks()) == ["rollout"]
    assert pipeline.parameters["rollback"]["defaultValue"] == ""
