"""``epilstm task`` over a data root on a volume, each task a process as kfp's launcher starts it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from epilstm.files.outputs import fingerprint
from epilstm.params import IngestParams
from epilstm.pipelines.task.datasets_kept import content_key
from epilstm.pipelines.task.line import StepLine
from epilstm.runtime.code_fingerprint import CodeFingerprint, step_fingerprint
from epilstm.runtime.step_table import STEPS
from support.task.launcher import DATA, LABELS, Launcher, bytes_of, run_chain, stop, succeed
from support.watching import wait_until


def test_the_pipelines_tasks_make_what_the_steps_make_by_hand(volume, by_hand):
    done = run_chain(volume, parts=2)
    for step, name in (("ingest", "signal"), ("preprocess", "matrix"), ("embed", "embeddings")):
        assert fingerprint(Path(done[step].parameters[name])) == fingerprint(by_hand / name), name
        assert bytes_of(Path(done[step].parameters[name])) == bytes_of(by_hand / name), name
        assert fingerprint(done[step].artifacts[f"{name}_manifest"]) == fingerprint(by_hand / name)
        assert done[step].metadata(f"{name}_manifest")["fingerprint"] == fingerprint(by_hand / name)
        assert json.loads(done[step].artifacts["metrics"].read_text())
    for step, name in (("train", "model"), ("export", "encoder"), ("evaluate", "evaluation")):
        assert fingerprint(done[step].artifacts[name]) == fingerprint(by_hand / name), name
        assert done[step].metadata(name)["fingerprint"] == fingerprint(by_hand / name)
    assert done["report"].artifacts["report"].read_bytes() == (by_hand / "report.html").read_bytes()
    assert done["evaluate"].metadata("classification")["confidenceMetrics"]
    assert json.loads(done["ingest"].artifacts["metrics"].read_text())["tracks_reused"] == 4
    assert json.loads(done["ingest"].artifacts["metrics"].read_text())["tracks_read"] == 0


def test_kfp_can_read_the_executor_output(volume, ingested):
    from google.protobuf import json_format
    from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorOutput

    done = succeed(volume.run("ingest", DATA))
    output = json_format.Parse(json.dumps(done.output), ExecutorOutput())
    [manifest] = output.artifacts["signal_manifest"].artifacts
    assert manifest.metadata["uri"] == ingested
    assert manifest.metadata["tracks"] == 4
    assert manifest.type.schema_title == "system.Dataset"
    [metrics] = output.artifacts["metrics"].artifacts
    assert metrics.metadata["tracks"] == 4


def test_the_verdict_on_new_tracks_is_reported_for_the_pipeline_to_branch_on(volume, ingested, matrix):
    done = succeed(volume.run("monitor", {"signal": ingested, "matrix": matrix}))
    assert done.parameters["Output"] == json.loads(done.artifacts["drift"].read_text())["verdict"] == "ok"
    assert done.metadata("metrics")["drift"] == 0
    assert "<html" in done.artifacts["page"].read_text()


def test_the_encoder_version_follows_what_lies_at_its_path(volume, simulated):
    def version() -> str:
        return succeed(volume.plan({**DATA, "encoder": "kept"}, 1)).parameters["encoder_version"]

    (Path(volume.data_root) / "kept").mkdir()
    manifest = Path(volume.data_root) / "kept" / "manifest.json"
    manifest.write_text("{}")
    before = version()
    assert version() == before
    manifest.write_text('{"another": 1}')
    assert version() != before


def test_no_path_of_the_volume_is_in_an_artifacts_record(volume, matrix, kept):
    done = succeed(volume.run("train", {"matrix": matrix}))
    assert done.metadata("model")["record"]["params"]["hidden_size"] == 4
    for root in (volume.data_root, str(kept.parent)):
        assert root not in json.dumps(done.metadata("model"))


def test_a_dataset_that_is_there_is_used_again_and_its_metrics_reported_again(volume):
    first, second = (succeed(volume.run("ingest", DATA)) for _ in range(2))
    assert first.parameters == second.parameters
    assert first.metadata("signal_manifest") == second.metadata("signal_manifest")
    assert first.artifacts["metrics"].read_text() == second.artifacts["metrics"].read_text()
    assert "used again" in second.stderr
    assert "used again" not in first.stderr


def test_a_dataset_that_lost_a_file_is_made_again(volume, ingested):
    shard = next(path for path in Path(ingested).rglob("c/*/*") if path.is_file())
    content = shard.read_bytes()
    shard.unlink()
    again = succeed(volume.run("ingest", DATA))
    assert again.parameters["signal"] == ingested
    assert shard.read_bytes() == content


def test_a_dataset_whose_manifest_is_broken_is_made_again(volume, ingested):
    manifest = Path(ingested, "manifest.json")
    content = manifest.read_bytes()
    manifest.write_text('{"format": "epilstm.signal/1"}')
    succeed(volume.run("ingest", DATA))
    assert manifest.read_bytes() == content


def test_another_codec_is_another_dataset(volume, ingested):
    volume.params = {**volume.params, "ingest": {**volume.params["ingest"], "codec": "zstd"}}
    assert succeed(volume.run("ingest", DATA)).parameters["signal"] != ingested


def test_a_track_without_a_digest_that_has_changed_makes_another_dataset(volume, simulated):
    own = Path(volume.data_root, "own")
    shutil.copytree(simulated / "data" / "simulated" / "bigwig", own / "bigwig")
    tracks = sorted((own / "bigwig").iterdir())
    rows = [",".join([*path.stem.split("-"), f"bigwig/{path.name}"]) for path in tracks]
    (own / "sheet.csv").write_text("\n".join(["cell_type,assay,uri", *rows]))
    data = {**DATA, "samplesheet": "own/sheet.csv"}
    first, planned = succeed(volume.run("ingest", data)), succeed(volume.plan(data, 1))
    shutil.copyfile(tracks[0], tracks[1])
    second, planned_again = succeed(volume.run("ingest", data)), succeed(volume.plan(data, 1))
    assert first.parameters["signal"] != second.parameters["signal"]
    assert planned.parameters["data_version"] != planned_again.parameters["data_version"]


def test_two_tasks_that_make_the_same_dataset_at_once_both_end_well(volume, ingested):
    lines = [volume.line("preprocess", {"signal": ingested}) for _ in range(2)]
    processes = [volume.start(arguments) for arguments, _ in lines]
    finished = []
    for process, (_, place) in zip(processes, lines, strict=True):
        _, stderr = process.communicate()
        finished.append(succeed(volume.outcome(process.returncode, stderr, place)))
    assert finished[0].parameters == finished[1].parameters
    assert sum("used again" in task.stderr for task in finished) == 1


def test_a_step_that_fails_ends_the_task_with_its_last_error_line_and_its_exit_code(volume, ingested):
    volume.params = {**volume.params, "preprocess": {"split": {"validation": ["chr9"], "test": ["chr4"]}}}
    done = volume.run("preprocess", {"signal": ingested})
    assert done.code == 1
    *_, before, last = done.stderr.splitlines()
    assert last.startswith("error: step preprocess: ")
    assert "chr9" in last
    assert last.removeprefix("error: step preprocess: ") == before.removeprefix("error: ")
    assert last.endswith("; a retry cannot help")
    assert done.output == {}


def test_an_error_in_a_part_names_the_part(volume, ingested):
    done = volume.run("preprocess", {"signal": ingested}, "chr99")
    assert done.code > 0
    assert done.stderr.splitlines()[-1].startswith("error: step preprocess, part chr99: ")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "preempted"])
def test_a_training_that_is_stopped_resumes_in_the_next_task_to_the_same_weights(volume, matrix, how):
    train = {**volume.params["train"], "epochs": 6, "checkpoint_steps": 1}
    volume.params = {**volume.params, "train": train}
    arguments, _ = volume.line("train", {"matrix": matrix})
    process = volume.start(arguments)
    wait_until(lambda: any(Path(volume.data_root).glob("cache/train/*/checkpoint.pt")))
    stop(process, how)
    again = succeed(volume.run("train", {"matrix": matrix}))
    assert "resumed at epoch" in again.stderr
    uninterrupted = Launcher(volume.data_root, volume.folder / "elsewhere", volume.params)
    shutil.rmtree(Path(volume.data_root, "cache"))
    assert fingerprint(succeed(uninterrupted.run("train", {"matrix": matrix})).artifacts["model"]) == fingerprint(
        again.artifacts["model"]
    )


def test_training_in_two_processes_is_started_by_torchrun(volume, matrix):
    done = succeed(volume.run("train", {"matrix": matrix}, options=("--processes", "2")))
    assert json.loads((done.artifacts["model"] / "manifest.json").read_text())["format"].startswith("epilstm.model")
    assert list(Path(volume.data_root).glob("cache/train/*/rank-1"))


def test_several_processes_are_refused_to_a_step_that_knows_but_one(volume):
    done = volume.run("ingest", DATA, options=("--processes", "2"))
    assert (done.code, done.stderr.splitlines()[-1]) == (
        2,
        "error: --processes 2: step ingest runs in one process; leave it out; a retry cannot help",
    )


def test_a_volume_that_is_not_mounted_is_said(volume, tmp_path):
    volume.data_root = str(tmp_path / "nowhere")
    done = volume.run("ingest", DATA)
    assert done.code == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: --data-root {volume.data_root}: no such folder; is the volume mounted there?"
    )


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ('{"bin_size": 0}', "ingest.bin_size: input should be greater than or equal to 1, got 0"),
        ('{"bin": 25}', "ingest.bin: unknown key"),
        ("{", "--params of ingest is not JSON"),
    ],
)
def test_unusable_params_are_one_line(volume, params, said):
    arguments, place = volume.line("ingest", DATA)
    arguments[arguments.index("--params") + 1] = params
    done = volume.finish(arguments, place)
    assert done.code == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")


def test_the_plan_has_at_most_a_part_per_track_and_is_the_same_each_time(volume):
    plans = [succeed(volume.plan({**DATA, **LABELS}, shards)).parameters for shards in (3, 3, 100)]
    assert plans[0] == plans[1]
    assert json.loads(plans[0]["ingest_parts"]) == json.loads(plans[0]["genome_groups"]) == []
    assert plans[0]["data_version"] == plans[2]["data_version"]


def test_the_labels_version_follows_the_label_files(volume, simulated):
    before = succeed(volume.plan({**DATA, **LABELS}, 2)).parameters
    labels = Path(volume.data_root, "labels")
    shutil.copytree(simulated / "data" / "simulated" / "labels", labels)
    same = succeed(volume.plan({**DATA, **LABELS, "labels": "labels"}, 2)).parameters
    next(path for path in labels.iterdir() if path.is_file()).write_text("")
    changed = succeed(volume.plan({**DATA, **LABELS, "labels": "labels"}, 2)).parameters
    assert before == same
    assert changed["labels_version"] != before["labels_version"]
    assert changed["data_version"] == before["data_version"]


def test_a_plan_without_tasks_has_a_version_of_no_labels(volume):
    assert succeed(volume.plan({**DATA, "tasks": "", "labels": ""}, 2)).parameters["labels_version"] == "none"


@pytest.mark.parametrize(
    "sheet",
    ["cell_type,assay\n", "cell_type,assay,uri\nE1,DNase,nowhere.bigwig\n", "cell_type,assay,uri\nE1,,x\n"],
    ids=["no uri column", "missing file", "broken row"],
)
def test_the_plan_says_of_a_faulty_samplesheet_what_ingest_says(volume, sheet):
    Path(volume.data_root, "sheet.csv").write_text(sheet)
    data = {**DATA, "samplesheet": str(Path(volume.data_root, "sheet.csv"))}
    plan = volume.plan(data, 2)
    by_hand = subprocess.run(
        [*epilstm_ingest(), "--samplesheet", data["samplesheet"], "--regions", DATA["regions"]],
        cwd=volume.data_root,
        capture_output=True,
        text=True,
    )
    assert plan.code == by_hand.returncode == 1
    # Argo starts a failed pod again, whatever its exit code: the line says that this cannot help.
    assert plan.stderr.splitlines()[-1] == f"{by_hand.stderr.splitlines()[-1]}; a retry cannot help"
    assert plan.stderr.splitlines()[-1].startswith("error: ")


def epilstm_ingest() -> list[str]:
    return [sys.executable, "-m", "epilstm", "ingest", "--signal", "signal"]


def test_the_plan_reports_the_code_that_is_installed_where_it_runs(volume):
    found = succeed(volume.plan({**DATA, **LABELS}, 2)).parameters
    assert found["train_code"] == step_fingerprint("train").sha256 != found["ingest_code"]
    assert json.loads(found["code"]) == {step: step_fingerprint(step).sha256 for step in STEPS}


def test_a_task_runs_the_code_that_the_plan_reported_or_none(volume):
    code = step_fingerprint("ingest").sha256
    succeed(volume.run("ingest", DATA, options=("--code", code)))
    refused = volume.run("ingest", DATA, options=("--code", "0" * 64))
    assert refused.code == 1
    assert (
        f"step ingest: the code of this image ({code[:12]}) is not that of the image that the plan ran in"
        in (refused.stderr.splitlines()[-1])
    )


def test_the_name_of_a_dataset_follows_from_the_code(monkeypatch):
    line = StepLine(STEPS["ingest"], IngestParams(), {})
    before = content_key(line, {"samplesheet": "ab"})
    assert content_key(line, {"samplesheet": "ab"}) == before
    monkeypatch.setattr(
        "epilstm.pipelines.task.datasets_kept.step_fingerprint", lambda step: CodeFingerprint({step: "other"})
    )
    assert content_key(line, {"samplesheet": "ab"}) != before
