"""The container images: what is in them, what is not, and that they run as strictly as a cluster runs them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from epilstm import __version__
from images.build import CPU_IMAGES, source_revision
from support.engine import STRICT, Engine, let_others_through
from support.nonempty import nonempty
from support.paths import PROJECT

pytestmark = [pytest.mark.timeout(1800)]

#: What each image is for, beyond the command line.
IMPORTS = {
    "base": ("numpy", "pydantic"),
    "train": (
        *(
            "torch",
            "torch.multiprocessing",
            "torch.distributed.run",
            "onnxruntime",
            "onnx",
            "xgboost",
            "sklearn.decomposition",
            "isal",
        ),
        *("pyBigWig", "zarr", "s3fs", "gcsfs", "pandas", "pyarrow.parquet", "matplotlib.pyplot", "tensorboard"),
        *("numpy.testing", "scipy.stats", "torch.utils.tensorboard", "fsspec", "jinja2", "safetensors.torch"),
    ),
    "serve": ("onnxruntime", "grpc", "uvicorn", "orjson"),
    "pipeline": (
        "kfp",
        "kfp.kubernetes",
        "kubernetes",
        "dvc.api",
        "dvc_s3",
        "gto",
        "epilstm.pipelines.compile.compilation",
    ),
}

#: Unpacked, in MB, with the base image (about 190 of Debian and Python) and a tenth to grow.
LARGEST = {"base": 330, "train": 2100, "serve": 450, "pipeline": 680}


@pytest.fixture(params=CPU_IMAGES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def image(images: dict[str, str], name: str) -> str:
    return images[name]


def inspect(engine: Engine, image: str) -> dict[str, Any]:
    return json.loads(engine.docker("image", "inspect", image).stdout)[0]


def bill(name: str) -> dict[str, Any]:
    """Bill of materials that `make images` has written."""
    return json.loads((PROJECT / "build" / "sbom" / f"epilstm-{name}.cdx.json").read_text())


def python_packages(name: str) -> dict[str, str]:
    """Version of each Python package in an image, without what says how it was built (2.13.0+cpu)."""
    found = [entry for entry in bill(name)["components"] if entry["purl"].startswith("pkg:pypi/")]
    return {entry["name"]: entry["version"].partition("+")[0] for entry in found}


def test_the_arguments_of_a_container_are_those_of_epilstm(engine, image):
    assert "Usage: epilstm" in engine.run(image, "--help").stdout
    assert engine.run(image, "ingest", "--help").stdout.startswith("Usage: epilstm ingest")


def test_a_command_may_follow_the_entry_point_as_locally_or_replace_it_as_on_kubernetes(engine, image):
    version = f"epilstm, version {__version__}"
    assert engine.run(image, "epilstm", "--version").stdout.strip() == version
    assert engine.run(image, "--version", options=("--entrypoint", "epilstm")).stdout.strip() == version
    assert engine.run(image, "python", "-c", "print(6 * 7)").stdout.strip() == "42"
    assert engine.run(image, "sh", "-c", "echo $HOME").stdout.strip() == "/tmp"


def test_no_program_of_an_image_is_called_like_a_command_of_epilstm(engine, image):
    from epilstm.cli import cli

    programs = engine.run(image, "sh", "-c", "ls /opt/epilstm/bin").stdout.split()
    assert not {*cli.commands, *cli.list_commands(None)} & set(programs)


def test_an_error_of_the_user_is_one_line_and_an_exit_code(engine, image):
    found = engine.run(image, "ingst", check=False)
    assert found.returncode == 2
    assert found.stderr.splitlines() == ["error: No such command 'ingst'. (see epilstm --help)"]


def test_an_image_imports_what_it_is_for(engine, image, name):
    code = f"import importlib; [importlib.import_module(name) for name in {IMPORTS[name]}]"
    engine.run(image, "python", "-c", code)


def test_every_requirement_of_every_package_is_met(engine, images, name):
    packages = python_packages(name)
    inventory = engine.run(images[name], "python", "-c", (PROJECT / "images" / "inventory.py").read_text()).stdout
    for package in nonempty(json.loads(inventory)["python"]):
        for line in package["requires"]:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                found = packages.get(canonicalize_name(needed.name))
                assert found is not None, f"{package['name']} needs {line}"
                assert needed.specifier.contains(found, prereleases=True), (
                    f"{package['name']} needs {line}, got {found}"
                )


def test_versions_are_those_of_the_constraints(images, name):
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {canonicalize_name(package): version for package, version in pins.items()}
    packages = python_packages(name)
    del packages["epilstm"]
    assert packages == {package: pinned.get(package) for package in packages}


def test_an_image_without_gpu_has_no_gpu_libraries(images, name):
    assert not [
        package for package in python_packages(name) if re.match(r"nvidia|triton|cuda|onnxruntime-gpu", package)
    ]


def test_the_bill_of_materials_lists_python_and_debian_packages_and_what_needs_what(images, name):
    content = bill(name)
    assert (content["bomFormat"], content["metadata"]["component"]["name"]) == ("CycloneDX", f"epilstm-{name}")
    assert any(entry["purl"].startswith("pkg:deb/debian/libc6@") for entry in content["components"])
    needs = {entry["ref"].partition("@")[0]: entry.get("dependsOn", []) for entry in content["dependencies"]}
    assert any(other.startswith("pkg:pypi/pydantic-core@") for other in needs["pkg:pypi/pydantic"])


def test_an_image_says_what_it_is_and_is_never_the_latest(engine, image, name):
    found = inspect(engine, image)
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in found["Config"]["Labels"].items()}
    assert labels["title"] == f"epilstm-{name}"
    assert labels["version"] == __version__
    assert labels["revision"] == (source_revision() or "unknown")
    assert f"EPILSTM_GIT_REVISION={labels['revision']}" in found["Config"]["Env"]
    assert labels["source"].startswith("https://")
    assert ("created" in labels) == (not labels["revision"].endswith(("-dirty", "unknown")))
    assert not [tag for tag in found["RepoTags"] if tag.endswith(":latest")]


def test_an_image_runs_as_a_numbered_user_that_is_not_root(engine, image):
    assert inspect(engine, image)["Config"]["User"] == "10001:10001"


def test_nothing_that_builds_is_left_in_an_image(engine, image):
    tools = "pip pip3 gcc cc g++ c++ clang make cmake cargo rustc nvcc"
    found = engine.run(image, "sh", "-c", f"for tool in {tools}; do command -v $tool; done; true").stdout
    assert found == ""
    for module in ("pip", "wheel", "ensurepip"):
        assert "No module named" in engine.run(image, "python", "-m", module, check=False).stderr


def test_no_caches_or_archives_are_left_in_an_image(engine, image):
    patterns = ("*.whl", "*.a", "*.deb", "*_Packages*", "pip-*", ".cache", "pip.conf")
    condition = " -o ".join(f"-name '{pattern}'" for pattern in patterns)
    found = engine.run(image, "sh", "-c", f"find / -xdev \\( {condition} \\) -print 2>/dev/null; true").stdout
    assert found.split() == []
    assert engine.run(image, "sh", "-c", "ls -d /wheels /build /root/.* 2>/dev/null; true").stdout == ""


def test_bytecode_is_there_since_the_file_system_may_be_read_only(engine, image):
    code = "import click, epilstm.cli; print(click.__cached__, epilstm.cli.__cached__)"
    for path in engine.run(image, "python", "-c", code).stdout.split():
        engine.run(image, "sh", "-c", f"test -f {path}")


def test_an_image_is_no_larger_than_it_was(engine, image, name):
    assert inspect(engine, image)["Size"] / 1e6 < LARGEST[name]


def test_the_train_image_simulates_and_ingests_an_epigenome(engine, images, tmp_path):
    tmp_path.chmod(0o777)
    let_others_through(tmp_path.parent)
    (tmp_path / "params.yaml").write_text(
        "simulate: {chromosomes: {chr1: 100000}, cell_types: 1, assays: [DNase]}\n"
        "ingest: {assembly: simulated/chrom.sizes}\n"
    )
    volume = ("--volume", f"{tmp_path}:/data", "--workdir", "/data")
    engine.run(images["train"], "simulate", "--params", "params.yaml", "--simulated", "simulated", options=volume)
    line = "ingest --params params.yaml --samplesheet simulated/samplesheet.csv --signal signal"
    engine.run(images["train"], *line.split(), options=volume)
    manifest = json.loads((tmp_path / "signal" / "manifest.json").read_text())
    assert [track["assay"] for track in manifest["tracks"]] == ["DNase"]
    # An image has no repository: what its code is comes from the build.
    record = json.loads((tmp_path / "signal.record.json").read_text())
    assert (record["git_revision"], record["code"]["git_revision"]) == (None, source_revision())


def test_the_pipeline_image_compiles_the_pipelines_as_they_are_committed(engine, images):
    params = ("--volume", f"{PROJECT / 'params.yaml'}:/params.yaml:ro")
    line = "epilstm pipeline compile --params /params.yaml --output /tmp/compiled >&2 && cat /tmp/compiled/*"
    committed = sorted((PROJECT / "pipelines" / "compiled").glob("*.yaml"))
    compiled = engine.run(images["pipeline"], "sh", "-c", line, options=params).stdout
    assert compiled == "".join(path.read_text() for path in committed)


def test_the_pipeline_image_has_git_for_dvc(engine, images):
    assert engine.run(images["pipeline"], "sh", "-c", "git --version").stdout.startswith("git version")


READY = """
import http.server
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v2/health/ready" else 404)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 8080), Ready)
print("listening", flush=True)
server.serve_forever()
"""


def test_the_serve_images_health_check_passes_for_a_ready_server_only(engine, images):
    kind, *check = inspect(engine, images["serve"])["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    for server, healthy in ((READY, True), ("print('listening', flush=True); import time; time.sleep(600)", False)):
        started = engine.docker("run", "--detach", *STRICT, images["serve"], "python", "-c", server)
        container = started.stdout.strip()
        try:
            while "listening" not in engine.docker("logs", container).stdout:
                assert "true" in engine.docker("inspect", "--format", "{{.State.Running}}", container).stdout
            assert (engine.docker("exec", container, *check, check=False).returncode == 0) == healthy
        finally:
            engine.docker("rm", "--force", container)


def test_the_serve_image_answers_a_request_over_both_protocols(engine, images, tmp_path):
    import numpy as np
    import tritonclient.grpc
    import tritonclient.http

    from epilstm.files.outputs import ENCODER
    from support.export.small_model import TRACKS
    from support.serve.server_process import embedding_of, export_encoder
    from support.watching import wait_until

    encoder = export_encoder(tmp_path)
    encoder.chmod(0o755)
    let_others_through(tmp_path)
    strict = STRICT[2:]  # all but the network, which is what it is for
    assert STRICT[:2] == ("--network", "none")
    ports = ("--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081")
    options = (*strict, *ports, "--volume", f"{encoder}:/mnt/models:ro")
    line = ("serve", "--model", "/mnt/models", "--host", "0.0.0.0", "--linger-s", "0")
    container = engine.docker("run", "--detach", *options, images["serve"], *line).stdout.strip()
    try:
        wait_until(lambda: '"http_port"' in engine.docker("logs", container).stderr)
        signal = np.random.default_rng(0).exponential(1, (1, 20, TRACKS)).astype(np.float32)
        for client, port in ((tritonclient.http, 8080), (tritonclient.grpc, 8081)):
            address = engine.docker("port", container, f"{port}/tcp").stdout.split()[0]
            with client.InferenceServerClient(address) as server:
                tensor = client.InferInput("signal", signal.shape, "FP32")
                tensor.set_data_from_numpy(signal)
                found = server.infer("encoder", [tensor]).as_numpy("embedding")
            np.testing.assert_allclose(found, embedding_of(encoder / ENCODER, signal), rtol=0, atol=2e-5)
        kind, *check = inspect(engine, images["serve"])["Config"]["Healthcheck"]["Test"]
        assert kind == "CMD"
        engine.docker("exec", container, *check)
        engine.docker("stop", "--time", "30", container)
        assert engine.docker("inspect", "--format", "{{.State.ExitCode}}", container).stdout.strip() == "0"
    finally:
        engine.docker("rm", "--force", container)


def test_only_the_serve_image_says_that_it_listens(engine, image, name):
    assert ("8080/tcp" in (inspect(engine, image)["Config"].get("ExposedPorts") or {})) == (name == "serve")
