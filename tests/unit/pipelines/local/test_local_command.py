"""`epilstm pipeline local`: what it refuses, what it prints, and how containers are started."""

import json
import shutil
from pathlib import Path

import pytest
from kfp import compiler, dsl

from epilstm.errors import DataError, PipelineError
from epilstm.pipelines.local.engines import ContainerEngine, container_program
from epilstm.pipelines.local.run_folder import held


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-P", "trian.epochs=3"], "-P trian.epochs: the pipeline has no such parameter; did you mean train.epochs?"),
        (["-P", "ingest_shards=many"], "-P ingest_shards: expected"),
        (["--param", "ingest_shards=0"], "-P ingest_shards: expected 1 or more, got 0"),
        (["-P", "train.epochs=-1"], "train.epochs"),
        (
            ["-P", "data_root=/data"],
            "-P data_root: a local run has its data in a folder of this machine",
        ),
        (["--pipeline", "retraining"], "the pipeline needs registry (STRING): give it with -P registry=..."),
        (["--pipeline", "nothing"], "there is no compiled pipeline 'nothing'"),
        (["--profile", "gpu"], "asks for an accelerator of a node; a local run takes profile cpu"),
        (["--profile", "spot"], "a local run takes profile cpu"),
        (["--profile", "gpu-distributed"], "a local run takes profile cpu"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(epilstm_pipeline, tmp_path, arguments, message):
    outcome = epilstm_pipeline("local", "--to", tmp_path / "run", *arguments)
    assert outcome.code in (1, 2)
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_content_is_refused(epilstm_pipeline, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    outcome = epilstm_pipeline("local", "--pipeline", "simulation", "--to", tmp_path)
    assert outcome.code == 1
    assert "a folder with other content stands there; choose another --to" in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "working"}


def test_a_second_run_in_a_folder_is_refused(epilstm_pipeline, tmp_path):
    with held(tmp_path / "run"):
        (tmp_path / "run" / "run.json").write_text("{}")
        outcome = epilstm_pipeline("local", "--pipeline", "simulation", "--to", tmp_path / "run")
    assert outcome.code == 1
    assert "run.json: another run is writing this output; wait for it or stop it" in outcome.err


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(DataError, match="a file stands there"), held(tmp_path / "run"):
        pass


@dsl.container_component
def greet(data_root: str, page: dsl.Output[dsl.HTML]):  # type: ignore[no-untyped-def]
    code = "import pathlib, sys; print(sys.argv[1]); pathlib.Path(sys.argv[2]).write_text('<p>')"
    return dsl.ContainerSpec(image="none", command=["python", "-c", code], args=[data_root, page.path])


@dsl.pipeline(name="greeting")
def greeting(data_root: str = "/data"):
    greet(data_root=data_root).set_display_name("Greet")


def test_a_run_reports_in_lines_and_ends_with_json_which_its_folder_keeps(epilstm_pipeline, tmp_path):
    package, folder = tmp_path / "greeting.yaml", tmp_path / "run"
    compiler.Compiler().compile(greeting, str(package))
    outcome = epilstm_pipeline("local", "--package", package, "--to", folder)
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    assert content == json.loads((folder / "run.json").read_text())
    [task] = content["tasks"]
    assert (task["name"], task["state"], task["cached"]) == ("Greet", "SUCCEEDED", False)
    assert Path(task["log"]).read_text() == f"{folder / 'data'}\n"
    assert Path(task["outputs"]["artifacts"]["page"][0]["uri"]).read_text() == "<p>"
    messages = [json.loads(line)["message"] for line in outcome.err.splitlines()]
    assert messages == [
        "run greeting: RUNNING",
        "Greet: RUNNING",
        "Greet: SUCCEEDED",
        "run greeting: SUCCEEDED",
    ]
    elsewhere = epilstm_pipeline("local", "--package", package, "--to", folder, "--data-root", tmp_path / "other")
    assert json.loads(elsewhere.out)["parameters"]["data_root"] == str(tmp_path / "other")


def test_containers_run_as_strictly_as_pods_and_write_to_their_own_folder_only(monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setenv("GIT_PASSWORD", "secret")
    monkeypatch.delenv("GIT_USERNAME", raising=False)
    engine = ContainerEngine(
        "docker", Path("/here/data"), Path("/here/run/tasks"), passed=("GIT_USERNAME", "GIT_PASSWORD")
    )
    folder = Path("/here/run/tasks/train/0a")
    line = engine.line("train:1", ["epilstm", "task", "run"], {"EPILSTM_RUN_ID": "7"}, folder, "epilstm-1-train")
    assert line == [
        *("docker", "run", "--rm", "--pull", "never", "--name", "epilstm-1-train", "--user", "10001:10001"),
        *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--network", "none", "--volume", "/here/data:/data", "--volume", "/here/run/tasks:/here/run/tasks:ro"),
        *("--volume", f"{folder}:{folder}", "--env", "EPILSTM_RUN_ID", "--env", "GIT_PASSWORD"),
        *("--entrypoint", "epilstm", "train:1", "task", "run"),
    ]
    assert engine.environment({"EPILSTM_RUN_ID": "7"})["EPILSTM_RUN_ID"] == "7"


def test_containers_of_a_user_are_that_users(monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.setattr("os.getgid", lambda: 100)
    lines = [
        ContainerEngine(program, Path("/d"), Path("/t"), network=True).line("i", ["x"], {}, Path("/t/x"), "n")
        for program in ("docker", "podman")
    ]
    assert [line[line.index("--name") + 2 : line.index("--read-only")] for line in lines] == [
        ["--user", "1000:100"],
        ["--userns", "keep-id", "--user", "1000:100"],
    ]
    assert all("--network" not in line for line in lines)


def test_without_a_container_engine_or_its_images_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PipelineError, match="neither docker nor podman is installed"):
        container_program()
    engine = ContainerEngine("false", tmp_path, tmp_path)
    with pytest.raises(PipelineError, match="image train:1: false does not have it"):
        engine.check_images(["train:1"])
