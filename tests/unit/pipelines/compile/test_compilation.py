"""Compiled pipelines: those that are committed are what their sources say, and valid for kfp."""

from __future__ import annotations

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec import pipeline_spec_pb2

from epilstm.cli import main
from epilstm.errors import ParamsError, PipelineError
from epilstm.pipelines.compile.compilation import (
    LOADER,
    PIPELINES,
    Settings,
    choose,
    compile_pipeline,
    file_name,
    write_pipelines,
)
from support.paths import PROJECT
from support.pipelines.compiled_ir import compiled_text

COMPILED = PROJECT / "pipelines" / "compiled"

PAIRS = choose((), ())
FILES = [file_name(*pair) for pair in PAIRS]


@pytest.mark.parametrize("pair", PAIRS, ids=FILES)
def test_committed_files_are_what_their_sources_say(pair):
    assert (COMPILED / file_name(*pair)).read_text() == compiled_text(
        *pair, Settings(params=PROJECT / "params.yaml")
    ), "run `make pipelines`"


def test_no_other_file_is_committed():
    assert sorted(path.name for path in COMPILED.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_kfp_loads_a_compiled_pipeline(name):
    loaded = components.load_component_from_file(str(COMPILED / name))
    assert loaded.pipeline_spec.pipeline_info.name == f"epilstm-{name.partition('-')[0]}"
    assert loaded.pipeline_spec.root.dag.tasks


@pytest.mark.parametrize("name", FILES)
def test_both_parts_of_a_compiled_pipeline_are_messages_of_their_schemas_to_the_last_field(name):
    spec, platform = yaml.load_all((COMPILED / name).read_text(), Loader=LOADER)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(executor, KubernetesExecutorConfig())


def test_every_pipeline_has_a_file_for_each_of_its_profiles():
    assert [(name, profile) for name, profiles in PIPELINES.items() for profile in profiles] == PAIRS


def test_pipelines_and_profiles_are_chosen_by_name():
    assert choose(["training"], ["gpu"]) == [("training", "gpu")]
    assert choose([], ["gpu"]) == [("training", "gpu"), ("retraining", "gpu"), ("embedding", "gpu")]
    assert choose(["simulation"], []) == [("simulation", "cpu")]


@pytest.mark.parametrize(
    ("pipelines", "profiles", "result"),
    [
        (
            ["trainign"],
            [],
            "'trainign': unknown; pipelines are training, retraining, embedding, rollout, monitoring, simulation",
        ),
        ([], ["tpu"], "profile 'tpu': unknown; profiles are cpu, gpu, spot, gpu-distributed"),
        (["simulation"], ["gpu"], "pipeline simulation has no profile 'gpu'; it has cpu"),
    ],
)
def test_an_unknown_name_is_refused(pipelines, profiles, result):
    with pytest.raises(ParamsError, match=result):
        choose(pipelines, profiles)


def test_defaults_come_from_the_params_file(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 3}\ningest: {samplesheet: tracks.csv, blacklist: black.bed}\n")
    text = compile_pipeline("training", "cpu", Settings(params=params))
    inputs = yaml.safe_load(text.partition("\n---\n")[0])["root"]["inputDefinitions"]["parameters"]
    assert inputs["train"]["defaultValue"]["epochs"] == 3
    assert inputs["samplesheet"]["defaultValue"] == "tracks.csv"
    assert inputs["blacklist"]["defaultValue"] == "black.bed"


def test_a_bad_params_file_is_reported_before_anything_is_written(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: many}\n")
    with pytest.raises(ParamsError, match=r"train\.epochs"):
        write_pipelines(tmp_path / "out", PAIRS, Settings(params=params))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"cannot be written: .*; choose another --output"):
        write_pipelines(tmp_path / "file" / "compiled", [("simulation", "cpu")], Settings())


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code and both outputs of ``epilstm pipeline``."""
    try:
        main(["pipeline", *arguments])
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    result = capsys.readouterr()
    return code, result.out, result.err


def test_the_command_writes_what_was_chosen_and_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("simulate: {seed: 5}\n")
    code, out, _ = ran(capsys, "compile", "--pipeline", "simulation")
    assert code == 0
    assert out == "pipelines/compiled/simulation-cpu.yaml\n"
    assert "seed: 5" in (tmp_path / out.strip()).read_text()


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (["--profile", "tpu"], "profile 'tpu': unknown"),
        (["--params", "absent.yaml"], "absent.yaml"),
        (["--digests", "absent.json"], "digest file absent.json: no such file"),
        (["--tag", "latest"], "tag 'latest'"),
        (["--node-label", "pool"], "--node-label 'pool': expected KEY=VALUE"),
        (["--data-root", "relative"], "data root 'relative'"),
        (["--accelerators", "-1"], "--accelerators"),
        (["--pipeline", "simulation", "--output", "/proc/nothing"], "/proc/nothing: cannot be written"),
    ],
)
def test_bad_options_are_one_line_and_an_exit_code(arguments, result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}\n")
    code, out, err = ran(capsys, "compile", *arguments)
    assert code != 0
    assert out == ""
    assert result in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_an_object_store_as_data_root_needs_no_claim(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}\n")
    code, out, _ = ran(capsys, "compile", "--profile", "cpu", "--data-root", "s3://bucket/prefix", "-o", ".")
    assert code == 0
    assert all("pvcMount" not in (tmp_path / name).read_text() for name in out.split())
