import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from epilstm.runtime.network import CA_VARIABLES
from support.pipelines.command_outcome import Command, Outcome
from support.pipelines.fake_kfp_server import FakeKfpServer


@pytest.fixture
def kfp_server() -> Iterator[FakeKfpServer]:
    with FakeKfpServer() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _short_stacks() -> Iterator[None]:
    """Name the caller of kfp's setters by its frame alone.

    kfp asks `inspect.stack` for it, which looks up the source of every frame: seconds for each pipeline compiled
    under pytest, where frames are many and thousands of modules are loaded.
    """
    from kfp.dsl import pipeline_task

    def stack() -> list[tuple[object, ...]]:
        caller = sys._getframe(2)
        return [(), (caller, caller.f_code.co_filename, caller.f_lineno, caller.f_code.co_name)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_task, "inspect", SimpleNamespace(stack=stack))
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "NAMESPACE", "TOKEN", "TOKEN_FILE", "COOKIES_FILE", "SSL_CA_CERT", "UI_HOST"):
        monkeypatch.delenv(f"KFP_{name}", raising=False)
    for name in ("KF_PIPELINES_SA_TOKEN_PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def epilstm_pipeline(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run ``epilstm pipeline ...`` in an empty folder; its retries do not wait."""
    from epilstm.cli import main

    monkeypatch.setattr("epilstm.pipelines.submit.server.DELAYS", (0.0,) * 4)
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = 0
        try:
            main(["pipeline", *(str(argument) for argument in arguments)])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Text of two pipelines that take what the training pipeline takes, compiled by kfp."""
    from kfp import compiler, dsl, kubernetes

    @dsl.container_component
    def step(data_root: str, samplesheet: str, shards: int, rate: float, train: dict, report: dict):  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(
            image="example.org/epilstm-train:1.0",
            command=["epilstm"],
            args=[data_root, samplesheet, shards, rate, train, report],
        )

    folder = tmp_path_factory.mktemp("compiled")
    texts = {}
    for name, shards in (("one", 4), ("other", 5)):

        @dsl.pipeline(name="small", description="A small pipeline.")
        def small(
            data_root: str,
            samplesheet: str = "data/samplesheet.csv",
            shards: int = shards,
            rate: float = 0.5,
            fast: bool = False,
            chromosomes: list = ["chr1"],  # noqa: B006
            train: dict = {"epochs": 12, "seed": 1},  # noqa: B006
            report: dict = {},  # noqa: B006
            ir_sha256: str = "",
        ):
            task = step(
                data_root=data_root, samplesheet=samplesheet, shards=shards, rate=rate, train=train, report=report
            )
            kubernetes.mount_pvc(task, pvc_name="epilstm-data", mount_path="/data")

        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(small, str(path))
        texts[name] = path.read_text()
    return texts


@pytest.fixture
def package(_compiled: dict[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(_compiled["one"])
    return path


@pytest.fixture
def other_package(_compiled: dict[str, str], tmp_path: Path) -> Path:
    """The same pipeline with other content."""
    path = tmp_path / "changed" / "small.yaml"
    path.parent.mkdir()
    path.write_text(_compiled["other"])
    return path
