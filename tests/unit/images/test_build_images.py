"""What ``make images`` builds, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from epilstm.pipelines.graphs.images import NAMES, Images
from epilstm.runtime.records import REVISION_VARIABLE
from images.build import CPU_IMAGES, PYPI, RECIPES, TORCH_CPU, Sources, build_images, source_revision
from images.engines import BuildEngine
from images.requirements import requirements
from images.sbom import SCHEMA, bill_of_materials
from support.nonempty import nonempty
from support.paths import PROJECT


def test_every_extra_is_in_an_image_but_those_for_developers_clients_and_answers_by_region():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = ",".join(recipe.extras for recipe in RECIPES.values() if recipe.extras).split(",")
    assert set(installed) == set(extras) - {"client", "dev", "examples", "outputs", "regions"}


@pytest.mark.parametrize("cpu", ["train", "serve"])
def test_a_gpu_image_is_its_cpu_image_but_for_one_extra(cpu):
    gpu = RECIPES[f"{cpu}-gpu"]
    assert gpu.extras == RECIPES[cpu].extras.replace("cpu", "gpu")
    assert (gpu.packages, gpu.target) == (RECIPES[cpu].packages, RECIPES[cpu].target)


def test_torch_comes_from_the_cpu_index_unless_the_image_is_for_gpus():
    assert (RECIPES["train"].torch_index, RECIPES["train-gpu"].torch_index) == (TORCH_CPU, PYPI)


def test_every_image_that_a_pipeline_can_name_is_built():
    assert set(NAMES) == set(RECIPES) - {"base"}


def test_requirements_are_those_of_the_package_and_of_the_extras(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        """
[project]
dependencies = ["numpy>=2"]
[project.optional-dependencies]
serve = ["fastapi"]
gpu = ["onnxruntime-gpu", "numpy>=2"]
dev = ["pytest"]
"""
    )
    assert requirements(tmp_path / "pyproject.toml", []) == ["numpy>=2"]
    assert requirements(tmp_path / "pyproject.toml", ["serve", "gpu"]) == ["fastapi", "numpy>=2", "onnxruntime-gpu"]


INVENTORY = {
    "python": [
        {"name": "My_Package", "version": "1.0", "license": "MIT", "requires": ["other>=2", "unused; extra == 'x'"]},
        {"name": "other", "version": "2.0", "license": "a text\nof many lines", "requires": []},
        {"name": "unused", "version": "3.0", "license": None, "requires": []},
    ],
    "debian": [{"name": "libc6", "version": "2.36-9+deb12u10", "architecture": "amd64"}],
}


def test_a_bill_of_materials_is_valid_and_the_same_for_the_same_image():
    text = bill_of_materials("epilstm-base", "1.0", INVENTORY, datetime(2026, 1, 1, tzinfo=UTC))
    assert JsonStrictValidator(SCHEMA).validate_str(text) is None
    assert text == bill_of_materials("epilstm-base", "1.0", INVENTORY, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_bill_of_materials_says_what_a_package_needs_without_its_extras():
    import json

    content: dict[str, Any] = json.loads(bill_of_materials("epilstm-base", "1.0", INVENTORY, None))
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in content["dependencies"]}
    assert needs["pkg:pypi/my-package@1.0"] == ["pkg:pypi/other@2.0"]
    assert "timestamp" not in content["metadata"]


def build(*words: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the build command where only the programs of a folder are installed."""
    return subprocess.run(
        [sys.executable, "-m", "images.build", *words],
        cwd=PROJECT,
        env={**os.environ, "PATH": str(path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_without_an_engine_the_build_says_which_were_looked_for(tmp_path):
    completed = build(path=tmp_path)
    assert completed.returncode == 1
    [line] = completed.stderr.splitlines()
    assert all(f"{name} is not installed" in line for name in ("docker", "podman", "buildah"))


def test_an_engine_that_does_not_answer_is_reported_with_its_words(tmp_path):
    program(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    completed = build("--engine", "docker", path=tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.splitlines() == [
        "error: nothing to build images with: docker does not answer (Cannot connect to the Docker daemon)"
    ]


def test_a_build_that_fails_is_reported_with_the_image(tmp_path):
    program(tmp_path, "docker", '[ "$1" = info ] || { echo "no space left"; exit 1; }')
    completed = build("base", path=tmp_path)
    assert completed.returncode == 1
    assert "no space left" in completed.stderr
    assert completed.stderr.splitlines()[-1].startswith("error: ghcr.io/epilstm/epilstm-base:")


def test_every_image_carries_the_revision_of_its_sources_for_the_records_made_in_it(tmp_path):
    program(tmp_path, "docker", """
case "$1 $2" in
    "image inspect") echo 1000000 ;;
    run*) echo '{"python": [], "debian": []}' ;;
    build*) echo "$*" ;;
esac""")  # fmt: skip
    completed = build("--sbom", f"{tmp_path}/sbom", path=Path(f"{tmp_path}{os.pathsep}{os.environ['PATH']}"))
    assert completed.returncode == 0, completed.stderr
    builds = [line for line in completed.stderr.splitlines() if line.startswith("build ")]
    assert len(builds) == len(CPU_IMAGES)
    assert all(f"--build-arg REVISION={source_revision()} " in line for line in nonempty(builds))
    # Stages that follow `runtime` inherit its environment, so that argument must be declared there.
    runtime = (PROJECT / "images" / "Containerfile").read_text().partition(" AS runtime\n")[2]
    declared = runtime.index("ARG IMAGE VERSION REVISION SOURCE")
    assert declared < runtime.index(f"ENV {REVISION_VARIABLE}=${{REVISION}}") < runtime.index("\nFROM ")


def test_outside_a_work_tree_the_build_says_that_records_will_name_no_revision(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("images.build.PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert build_images([], BuildEngine("docker"), Images(), Sources()) == []
    assert "records made in these images name no revision" in capsys.readouterr().err
    assert source_revision() is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--tag", "latest"), "tag 'latest' means another image tomorrow"),
        (("--registry", "no registry"), "registry 'no registry'"),
        (("trian",), "'trian' is not one of"),
    ],
)
def test_bad_usage_is_reported_before_anything_is_built(tmp_path, words, reason):
    program(tmp_path, "docker", '[ "$1" = info ] || { echo "built"; exit 1; }')
    completed = build(*words, path=tmp_path)
    assert completed.returncode == 2
    assert reason in completed.stderr
    assert "built" not in completed.stderr


PUSHED = """
case "$1 $2" in
    "info ") ;;
    "image inspect") echo 1000000 ;;
    run*) echo '{"python": [], "debian": []}' ;;
    build*) echo building ;;
    push*) touch "$STATE" ;;
    "manifest inspect")
        [ -e "$STATE" ] || { echo "no such manifest: $4" >&2; exit 1; }
        echo '{"Descriptor": {"digest": "sha256:DIGEST"}}' ;;
esac
""".replace("DIGEST", "0" * 64)


def test_a_push_writes_the_digests_that_pipelines_are_pinned_by_and_never_moves_a_tag(tmp_path):
    from epilstm.pipelines.graphs.images import read_digests

    program(tmp_path, "docker", PUSHED)
    words = ("serve", "--push", "--digests", f"{tmp_path}/digests.json", "--sbom", f"{tmp_path}/sbom")
    path = Path(f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    first = build(*words, path=path, STATE=f"{tmp_path}/state")
    assert first.returncode == 0, first.stderr
    assert "building" in first.stderr
    assert read_digests(tmp_path / "digests.json") == {"epilstm-serve": f"sha256:{'0' * 64}"}
    second = build("base", "serve", "--push", path=path, STATE=f"{tmp_path}/state")
    assert second.returncode == 1
    assert "exists in the registry, and tags do not move" in second.stderr
    assert "building" not in second.stderr
