"""What would not arrive as it was given, or could only fail in a pod, is refused before anything is sent."""

from __future__ import annotations

import pytest

from epilstm.errors import ParamsError
from epilstm.pipelines.compile.sent_values import check_run, check_values
from support.pipelines.command_outcome import Command
from support.pipelines.fake_kfp_server import FakeKfpServer


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("{{workflow.name}}", "Argo"),
        ("a {{item}} b", "Argo"),
        ("{{inputs.x}}", "Argo"),
        ("{{$.inputs.parameters['x']}}", "Argo"),
        ("$(HOSTNAME)", "Kubernetes"),
        ("costs $$5", "Kubernetes"),
    ],
)
@pytest.mark.parametrize("form", [lambda text: text, lambda text: {"force": text}, lambda text: {"a": [{text: 1}]}])
def test_text_that_is_rewritten_on_the_way_is_refused_wherever_it_stands(text, who, form):
    with pytest.raises(ParamsError, match=who) as refused:
        check_values("-P promote", form(text))
    assert text in str(refused.value)
    assert str(refused.value).startswith("-P promote")


@pytest.mark.parametrize("text", ["a$b", "$HOME", "{a}", "}}", "5 $ (five)", "100%", "", '{"a": {"b": 1}}'])
def test_other_text_passes(text):
    check_values("-P x", {"a": [text, 1, None, True]})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-P", "ingest_shards=0"), "-P ingest_shards: expected 1 or more, got 0"),
        (("-P", "data_root=data"), "expected a folder of the volume, as /data, or s3://bucket/prefix"),
        (("--service-account", "Epilstm_Pipeline"), "no cluster has a service account of this name"),
        (("--pipeline-root", "file:///data"), "knows gs://, s3:// and minio://"),
        (("--pipeline-root", "s3://"), "followed by a bucket"),
        (("-P", "samplesheet={{workflow.name}}.csv"), "which Argo replaces"),
        (("-P", "report.title=$(HOSTNAME)"), "which Kubernetes replaces"),
        (("--run-name", "run {{item}}"), "the name: 'run {{item}}'"),
    ],
)
def test_a_run_that_could_only_fail_in_a_pod_is_refused(
    epilstm_pipeline: Command, kfp_server: FakeKfpServer, words: tuple[str, ...], reason: str
) -> None:
    result = epilstm_pipeline("submit", "--host", kfp_server.url, *words)
    assert result.code == 2
    assert reason in result.error
    assert not kfp_server.sent("POST /runs")


def test_a_schedule_is_checked_like_a_run(epilstm_pipeline: Command, kfp_server: FakeKfpServer) -> None:
    assert epilstm_pipeline("upload", "--host", kfp_server.url).code == 0
    result = epilstm_pipeline(
        "schedule", "nightly", "--cron", "@daily", "--host", kfp_server.url, "-P", "ingest_shards=-1"
    )
    assert (result.code, kfp_server.recurring_runs) == (2, {})
    assert "expected 1 or more" in result.error


def test_a_compiled_default_that_would_be_rewritten_is_refused(epilstm_pipeline: Command, tmp_path) -> None:
    (tmp_path / "params.yaml").write_text("report: {title: 'of {{workflow.name}}'}\n")
    result = epilstm_pipeline("compile", "--params", tmp_path / "params.yaml", "-o", tmp_path / "compiled")
    assert result.code == 2
    assert "report.title" in result.error
    assert not (tmp_path / "compiled").exists()


def test_names_that_clusters_take_pass():
    check_run("a+b 100%", {"ingest_shards": 1, "data_root": "/data"}, "epilstm-pipeline.v1", "minio://mlpipeline/v2")
    check_run("a", {"data_root": "s3://bucket/prefix"}, None, "s3://bucket")
