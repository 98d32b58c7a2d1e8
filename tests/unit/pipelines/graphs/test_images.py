"""Images are pinned: by digest where there is one, by an immutable tag otherwise."""

from __future__ import annotations

import json

import pytest

from epilstm import __version__
from epilstm.errors import ParamsError, PipelineError
from epilstm.pipelines.compile.compilation import PIPELINES, Settings
from epilstm.pipelines.graphs.images import NAMES, Images, read_digests
from support.nonempty import nonempty
from support.pipelines.compiled_ir import compiled

DIGESTS = {f"epilstm-{name}": f"sha256:{number:064x}" for number, name in enumerate(NAMES)}


def images_of(pipeline: str, profile: str, images: Images) -> set[str]:
    """Every image that a compiled pipeline names, in containers and in what they start."""
    found = set()
    for container in compiled(pipeline, profile, Settings(images)).executors.values():
        found.add(container["image"])
        for word in " ".join(container["args"]).split():
            found |= {word.removeprefix("--image=")} if word.startswith("--image=") else set()
    return found


def test_an_image_is_tagged_with_the_version():
    assert Images().reference("train") == f"ghcr.io/epilstm/epilstm-train:{__version__}"


def test_an_image_is_pinned_by_its_digest():
    images = Images("registry.example:5000/team", digests=DIGESTS)
    assert images.reference("serve") == f"registry.example:5000/team/epilstm-serve@{DIGESTS['epilstm-serve']}"


@pytest.mark.parametrize(("pipeline", "profile"), [(name, each) for name, all_ in PIPELINES.items() for each in all_])
def test_every_image_of_a_pipeline_is_pinned(pipeline, profile):
    for reference in nonempty(images_of(pipeline, profile, Images())):
        assert reference.endswith(f":{__version__}")
    for reference in nonempty(images_of(pipeline, profile, Images(digests=DIGESTS))):
        assert reference.partition("@")[2] in DIGESTS.values()


@pytest.mark.parametrize(
    ("settings", "result"),
    [
        ({"tag": "latest"}, "tag 'latest' means another image tomorrow"),
        ({"tag": "a b"}, "tag 'a b': not an image tag"),
        ({"tag": ""}, "tag '': not an image tag"),
        ({"registry": "https://ghcr.io/x"}, "registry 'https://ghcr.io/x': not a registry's host and path"),
        ({"registry": ""}, "registry '': not a registry"),
    ],
)
def test_what_names_no_image_is_refused(settings, result):
    with pytest.raises(ParamsError, match=result):
        Images(**settings)


def test_an_image_without_its_digest_is_an_error():
    with pytest.raises(PipelineError, match="no digest of epilstm-train-gpu, only of epilstm-train;"):
        Images(digests={"epilstm-train": DIGESTS["epilstm-train"]}).reference("train-gpu")


def test_digests_are_read_from_json(tmp_path):
    path = tmp_path / "images.json"
    path.write_text(json.dumps(DIGESTS))
    assert read_digests(path) == DIGESTS


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (None, "no such file"),
        ("{", "cannot be read as JSON"),
        ("[]", "expected"),
        ("{}", "expected"),
        ('{"nginx": "sha256:0"}', "unknown image 'nginx'; images are epilstm-train,"),
        ('{"epilstm-train": "sha256:0"}', "epilstm-train: 'sha256:0' is no digest"),
        ('{"epilstm-train": 3}', "epilstm-train: 3 is no digest"),
        ('{"epilstm-train": "latest"}', "epilstm-train: 'latest' is no digest"),
    ],
)
def test_a_bad_digest_file_is_reported_in_one_line(content, result, tmp_path):
    path = tmp_path / "images.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PipelineError, match=result) as caught:
        read_digests(path)
    assert str(caught.value).startswith(f"digest file {path}: ")
    assert "\n" not in str(caught.value)
