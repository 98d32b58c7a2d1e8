"""Parameters of a run: params.yaml, -P, and what the pipeline takes."""

from pathlib import Path
from typing import Any

import pytest

from epilstm.errors import ParamsError
from epilstm.params import IngestParams, TrainParams
from epilstm.pipelines.compile.packages import Parameter, parameters_of, read_package_file
from epilstm.pipelines.submit.parameters import run_parameters

DECLARED = {
    parameter.name: parameter
    for parameter in (
        Parameter("data_root", "STRING", required=True),
        Parameter("samplesheet", "STRING", "compiled.csv"),
        Parameter("tasks", "STRING", "compiled.yaml"),
        Parameter("ingest_shards", "NUMBER_INTEGER", 4),
        Parameter("rate", "NUMBER_DOUBLE", 0.5),
        Parameter("fast", "BOOLEAN", False),
        Parameter("chromosomes", "LIST", ["chr1"]),
        Parameter("labels_of", "STRUCT", {}),
        Parameter("ingest", "STRUCT", {"assembly": "mm10"}),
        Parameter("train", "STRUCT", {"epochs": 12}),
    )
}
ROOT = "data_root=/data"


def sent(params: Path | None, *assignments: str) -> dict[str, Any]:
    return run_parameters(DECLARED, params, assignments)


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_each_section_travels_whole_as_one_parameter(tmp_path: Path) -> None:
    parameters = sent(write(tmp_path, "train: {epochs: 3}\n"), ROOT)
    assert parameters["train"] == TrainParams(epochs=3).model_dump(mode="json")
    assert parameters["ingest"] == IngestParams().model_dump(mode="json")


def test_paths_named_in_sections_fill_the_parameters_of_their_name(tmp_path: Path) -> None:
    params = write(tmp_path, "ingest: {samplesheet: a.csv}\nevaluate: {tasks: b.yaml}\n")
    parameters = sent(params, ROOT)
    assert (parameters["samplesheet"], parameters["tasks"]) == ("a.csv", "b.yaml")


def test_without_a_params_file_sections_are_those_compiled() -> None:
    parameters = sent(None, ROOT, "train.seed=5")
    assert parameters["train"] == TrainParams(epochs=12, seed=5).model_dump(mode="json")
    assert parameters["ingest"]["assembly"] == "mm10"


def test_assignments_change_keys_of_sections_and_plain_parameters(tmp_path: Path) -> None:
    parameters = sent(
        write(tmp_path, "train: {epochs: 3, hidden_size: 32}\n"),
        "data_root=s3://bucket/prefix?x=1",
        "train.epochs=4",
        "train.learning_rate=1e-3",
        "ingest_shards=8",
        "rate=2",
        "fast=true",
        "chromosomes=[chr1, chr2]",
        "labels_of={a: 1}",
    )
    assert parameters["data_root"] == "s3://bucket/prefix?x=1"
    assert parameters["train"] == TrainParams(epochs=4, hidden_size=32, learning_rate=1e-3).model_dump(mode="json")
    assert {key: parameters[key] for key in ("ingest_shards", "rate", "fast", "chromosomes", "labels_of")} == {
        "ingest_shards": 8,
        "rate": 2,
        "fast": True,
        "chromosomes": ["chr1", "chr2"],
        "labels_of": {"a": 1},
    }


def test_a_whole_section_can_be_given() -> None:
    assert sent(None, ROOT, "train={epochs: 2}")["train"] == TrainParams(epochs=2).model_dump(mode="json")


def test_a_path_given_as_a_parameter_is_the_section_s_too() -> None:
    parameters = sent(None, ROOT, "samplesheet=s3://b/x.csv")
    assert parameters["samplesheet"] == parameters["ingest"]["samplesheet"] == "s3://b/x.csv"


@pytest.mark.parametrize("text", ["38", "yes", "1e3", "null", "[a"])
def test_where_only_text_can_stand_a_value_is_taken_as_it_is_written(text: str) -> None:
    assert sent(None, ROOT, f"ingest.assembly={text}")["ingest"]["assembly"] == text


def test_what_is_compiled_is_sent_by_nobody_and_filled_in_by_the_server() -> None:
    assert "ingest_shards" not in sent(None, ROOT)


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("nonsense", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("nonsense=3", "no such parameter; it has data_root, samplesheet"),
        ("ingest_shard=3", "did you mean ingest_shards?"),
        ("train.epoch=3", "train.epoch: unknown key; keys are kind, architecture"),
        ("trian.epochs=3", "did you mean train.epochs?"),
        ("simulate.seed=3", "no such parameter"),
        ("train.epochs=many", "train.epochs: input should be a valid integer, got 'many'"),
        ("train.epochs=0", "train.epochs: input should be greater than or equal to 1, got 0"),
        ("train.epochs.x=3", "has no keys of its own"),
        ("train..=3", "has no keys of its own"),
        ("train=3", "-P train: a section, expected a mapping"),
        ("train.epochs=[1", "-P train.epochs:1: not valid YAML"),
        ("ingest_shards=1.5", "-P ingest_shards: expected a whole number, got '1.5'"),
        ("ingest_shards=true", "expected a whole number"),
        ("rate=fast", "-P rate: expected a number"),
        ("rate=.nan", "-P rate: expected a number"),
        ("fast=1", "-P fast: expected true or false"),
        ("chromosomes=chr1", "-P chromosomes: expected a list"),
        ("labels_of=[1]", "-P labels_of: expected a mapping"),
        ("labels_of={a: 2026-01-01}", "-P labels_of: expected a mapping"),
    ],
)
def test_an_assignment_that_does_not_fit_is_refused_in_one_line(assignment: str, reason: str) -> None:
    with pytest.raises(ParamsError) as result:
        sent(None, ROOT, assignment)
    assert reason in str(result.value)
    assert "\n" not in str(result.value)


def test_a_required_parameter_must_be_given() -> None:
    with pytest.raises(ParamsError, match=r"needs data_root \(STRING\): give it with -P data_root="):
        sent(None)


def test_the_hash_of_the_pipeline_is_sent_to_those_that_take_it() -> None:
    taking = {**DECLARED, "ir_sha256": Parameter("ir_sha256", "STRING", "")}
    assert run_parameters(taking, None, [ROOT], "ab12")["ir_sha256"] == "ab12"
    assert "ir_sha256" not in run_parameters(taking, None, [ROOT])
    assert "ir_sha256" not in run_parameters(DECLARED, None, [ROOT], "ab12")


def test_nobody_chooses_the_hash_of_the_pipeline() -> None:
    taking = {**DECLARED, "ir_sha256": Parameter("ir_sha256", "STRING", "")}
    with pytest.raises(ParamsError, match="-P ir_sha256: cannot be given"):
        run_parameters(taking, None, [ROOT, "ir_sha256=ab12"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("trian: {}", "unknown section 'trian'"),
        ("train: {epochs: x}", "train.epochs"),
        ("report: {title: 3}", "report.title"),
        ("evaluate: {folds: {by: luck}}", "evaluate.folds.by"),
    ],
)
def test_every_section_of_the_file_is_checked_also_those_the_pipeline_does_not_read(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(ParamsError, match=reason):
        sent(write(tmp_path, text), ROOT)


def test_declared_parameters_are_read_from_the_compiled_pipeline(package: Path) -> None:
    declared = parameters_of(read_package_file(package).spec)
    assert declared["data_root"] == Parameter("data_root", "STRING", None, required=True)
    assert declared["shards"] == Parameter("shards", "NUMBER_INTEGER", 4)
    assert declared["train"] == Parameter("train", "STRUCT", {"epochs": 12, "seed": 1})
