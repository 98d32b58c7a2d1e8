"""``epilstm task`` over a data root in a bucket of a real S3 server."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from epilstm.files.outputs import fingerprint
from epilstm.runtime.runner import run_step
from epilstm.runtime.step_table import STEPS
from support.task.fixtures import PARAMS, Bucket, dataset_in
from support.task.launcher import DATA, LABELS, Launcher, bytes_of, run_chain, stop, succeed
from support.watching import wait_until


def brought(bucket: Bucket, uri: str, folder: Path) -> Path:
    """A dataset of the bucket, copied to a folder."""
    folder.parent.mkdir(exist_ok=True)
    bucket.files.get(uri, str(folder), recursive=True)
    return folder


def made_by_steps(ingested: Path, folder: Path) -> dict[str, Path]:
    """The signal and what the steps make of it, in this process."""
    (folder / "params.yaml").write_text(json.dumps(PARAMS))
    made = {"signal": ingested}
    for step, inputs, output in (
        ("preprocess", ("signal",), "matrix"),
        ("train", ("matrix",), "model"),
        ("export", ("model",), "encoder"),
        ("embed", ("matrix", "encoder"), "embeddings"),
    ):
        made[output] = folder / output
        paths = {name: made[name] for name in (*inputs, output)}
        run_step(STEPS[step], folder / "params.yaml", paths, frozenset())
    return made


def test_the_pipelines_tasks_make_what_they_make_on_a_volume(in_bucket, bucket, volume, tmp_path):
    done = run_chain(in_bucket, parts=1)
    volume.environment = in_bucket.environment
    volume.folder = tmp_path / "tasks on the volume"
    data = {**DATA, "samplesheet": f"{bucket.uri}/{DATA['samplesheet']}"}
    ingested = Path(succeed(volume.run("ingest", data)).parameters["signal"])
    # What tasks make of a signal on a volume is what the steps make of it.
    there = made_by_steps(ingested, tmp_path)

    assert done["ingest"].parameters["signal"].rpartition("/")[2] == ingested.name
    for step, name in (("ingest", "signal"), ("preprocess", "matrix"), ("embed", "embeddings")):
        uri = done[step].parameters[name]
        copy = brought(bucket, uri, tmp_path / "brought" / name)
        assert uri.startswith(f"{bucket.uri}/datasets/{name}/")
        assert fingerprint(copy) == fingerprint(there[name]), name
        assert bytes_of(copy) == bytes_of(there[name]), name
    for step, name in (("train", "model"), ("export", "encoder")):
        assert fingerprint(done[step].artifacts[name]) == fingerprint(there[name]), name
    assert json.loads(done["ingest"].artifacts["metrics"].read_text())["tracks_read"] == 0
    assert done["report"].artifacts["report"].is_file()
    assert not list(Path(in_bucket.environment["TMPDIR"]).glob("epilstm-*"))


def test_a_dataset_that_is_there_is_used_again_without_bringing_anything_of_it(in_bucket, bucket):
    first = succeed(in_bucket.run("ingest", DATA))
    bucket.server.requests.clear()
    second = succeed(in_bucket.run("ingest", DATA))
    assert second.parameters == first.parameters
    assert second.artifacts["metrics"].read_text() == first.artifacts["metrics"].read_text()
    assert "used again" in second.stderr
    assert not [path for method, path in bucket.server.requests if method == "GET" and ".zarr/" in path]


def test_a_dataset_that_lost_a_file_is_made_again(in_bucket, bucket):
    signal_uri = succeed(in_bucket.run("ingest", DATA)).parameters["signal"]
    shard = next(name for name in bucket.files.find(signal_uri) if "/c/" in name)
    content = bucket.files.cat_file(shard)
    bucket.files.rm(shard)
    assert succeed(in_bucket.run("ingest", DATA)).parameters["signal"] == signal_uri
    assert bucket.files.cat_file(shard) == content


def test_a_part_brings_the_arrays_of_its_chromosome_alone(in_bucket, bucket):
    signal_uri = succeed(in_bucket.run("ingest", DATA)).parameters["signal"]
    bucket.server.requests.clear()
    succeed(in_bucket.run("preprocess", {"signal": signal_uri}, "chr2"))
    # Masks are small, and their number of bins is compared with the manifest's: all of them come.
    got = [path for method, path in bucket.server.requests if method == "GET" and "/signal.zarr/" in path]
    assert any("/chr2/c/" in path for path in got)
    assert not [path for path in got if "/c/" in path and "/chr2/c/" not in path]


def test_an_upload_that_breaks_off_leaves_no_manifest_and_the_next_task_mends_it(in_bucket, bucket):
    def full(method: str, path: str) -> tuple[str, str] | None:
        refused = method == "PUT" and "/signal.zarr/chr3/" in path and "/datasets/" in path
        return ("403 Forbidden", "AccessDenied") if refused else None

    bucket.server.refuse = full
    done = in_bucket.run("ingest", DATA)
    assert done.code == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {bucket.uri}/datasets/signal/")
    assert "access denied" in done.stderr.splitlines()[-1]
    assert bucket.names("datasets")
    assert not [name for name in bucket.names("datasets") if name.endswith("/manifest.json")]
    bucket.server.refuse = lambda method, path: None
    again = succeed(in_bucket.run("ingest", DATA))
    assert f"{again.parameters['signal']}/manifest.json".removeprefix(bucket.uri + "/") in bucket.names("datasets")
    assert json.loads(again.artifacts["metrics"].read_text())["tracks_read"] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["node lost", "preempted"])
def test_a_training_that_is_stopped_resumes_from_the_mirrored_checkpoint_to_the_same_weights(
    in_bucket, bucket, kept, how
):
    in_bucket.params = {**PARAMS, "train": {**PARAMS["train"], "epochs": 6, "checkpoint_steps": 1}}
    bucket.files.put(str(kept / "matrix"), f"{bucket.uri}/datasets/matrix", recursive=True)
    matrix = {"matrix": f"{bucket.uri}/datasets/matrix/{dataset_in(kept / 'matrix').name}"}
    seconds = "0.1" if how == signal.SIGKILL else "3600"
    arguments, _ = in_bucket.line("train", matrix, options=("--mirror-seconds", seconds))
    process = in_bucket.start(arguments)
    if how == signal.SIGKILL:
        wait_until(lambda: any(name.endswith("checkpoint.pt") for name in bucket.names("cache/train")))
    else:
        wait_until(lambda: any(Path(in_bucket.environment["TMPDIR"]).rglob("checkpoint.pt")))
    stop(process, how)
    again = succeed(in_bucket.run("train", matrix))
    assert "resumed at epoch" in again.stderr
    bucket.files.rm(f"{bucket.uri}/cache/train", recursive=True)
    uninterrupted = succeed(in_bucket.run("train", matrix))
    assert "resumed at epoch" not in uninterrupted.stderr
    assert fingerprint(uninterrupted.artifacts["model"]) == fingerprint(again.artifacts["model"])


def test_the_plan_is_that_of_the_same_files_on_a_volume(in_bucket, volume):
    volume.folder = in_bucket.folder / "on the volume"
    plans = [succeed(tasks.plan({**DATA, **LABELS}, 2)).parameters for tasks in (in_bucket, volume)]
    shards = [json.loads(plan.pop("ingest_parts")) for plan in plans]
    assert shards == [["1/2", "2/2"], []]  # tracks that have to be fetched are worth several tasks
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("root", "environment", "said"),
    [
        ("s3://no-such-bucket/x", {}, "no such bucket"),
        ("{bucket}", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "the storage does not answer"),
        ("{bucket}", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no credentials"),
        ("s3://a-key:a-secret-key@bucket/x", {}, "a URI must not hold credentials"),
        ("nfs4://server/x", {}, "cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_without_secrets(in_bucket, bucket, root, environment, said):
    tasks = Launcher(
        root.format(bucket=bucket.uri), in_bucket.folder, in_bucket.params, {**in_bucket.environment, **environment}
    )
    done = tasks.run("ingest", DATA)
    assert done.code in (1, 2)
    assert said in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "a-secret-key" not in done.stderr


def test_access_denied_is_one_line(in_bucket, bucket):
    bucket.server.refuse = lambda method, path: ("403 Forbidden", "AccessDenied")
    done = in_bucket.run("ingest", DATA)
    assert done.code == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {bucket.uri}")
    assert "access denied" in done.stderr.splitlines()[-1]


def test_a_missing_input_is_one_line(in_bucket, bucket):
    done = in_bucket.run("ingest", {**DATA, "samplesheet": "data/none.csv"})
    assert done.code == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: --samplesheet {bucket.uri}/data/none.csv: no such file")
