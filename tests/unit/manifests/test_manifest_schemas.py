"""Every overlay renders to manifests that a cluster takes."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml

from support.manifests.rendered_manifests import CLUSTER, LOOSE, MANIFESTS, OVERLAYS, Document, kustomize, one, rendered
from support.manifests.webhook_rules import webhook_errors
from support.nonempty import nonempty
from support.strict_schemas import schema_errors

ALL = [*OVERLAYS, *CLUSTER, *LOOSE]


@pytest.mark.parametrize("overlay", ALL)
def test_every_document_fits_the_schema_of_its_kind(overlay):
    documents = rendered(overlay)
    assert documents
    wrong = {f"{document['kind']}/{document['metadata']['name']}": schema_errors(document) for document in documents}
    assert {name: errors for name, errors in wrong.items() if errors} == {}


@pytest.mark.parametrize("overlay", ALL)
def test_the_webhooks_of_a_cluster_take_every_document(overlay):
    assert [error for document in rendered(overlay) for error in webhook_errors(document)] == []


def test_an_external_metric_without_the_value_that_becomes_the_threshold_is_refused():
    service = copy.deepcopy(one(rendered("serving/overlays/autoscaling"), "InferenceService"))
    target = service["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["target"]
    target["averageValue"] = target.pop("value")
    [error] = webhook_errors(service)
    assert "target.value: missing" in error


#: Where lists and maps are free-form: fields there are the user's own names.
FREE = {"labels", "annotations", "matchLabels", "requests", "limits", "data", "stringData", "nodeSelector", "metadata"}

#: Likewise, of one kind.
FREE_PLACES = {("Service", "spec", "selector")}


def mappings(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(part, dict):
        yield path
        for key, value in part.items():
            if key not in FREE:
                yield from mappings(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from mappings(value, (*path, index))


@pytest.mark.parametrize("overlay", ALL)
def test_an_unknown_field_is_found_wherever_it_stands(overlay):
    assert [
        place for text in nonempty(map(json.dumps, rendered(overlay))) for place in unknown_fields_missed(text)
    ] == []


@cache
def unknown_fields_missed(text: str) -> list[tuple[Any, ...]]:
    """Where in a document, which is in several overlays, an unknown field is not found."""
    document: Document = json.loads(text)
    missed = []
    for path in list(mappings(document)):
        if (document["kind"], *path) in FREE_PLACES:
            continue
        part = document
        for key in path:
            part = part[key]
        part["unknownField"] = "x"
        if not any("unknownField" in error for error in schema_errors(document)):
            missed.append((document["kind"], *path))
        del part["unknownField"]
    return missed


@pytest.mark.parametrize("overlay", ALL)
def test_an_unknown_kind_is_found(overlay):
    for document in nonempty(rendered(overlay)):
        assert schema_errors({**document, "kind": document["kind"] + "s"}) != []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_misspelt_field_of_a_kustomization_is_refused(overlay, tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    with (tmp_path / "manifests" / overlay / "kustomization.yaml").open("a") as file:
        file.write("resuorces: []\n")
    done = kustomize(tmp_path / "manifests" / overlay)
    assert done.returncode != 0
    assert "resuorces" in done.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_over_it_moves_everything_to_another_namespace(overlay, tmp_path):
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(
        yaml.safe_dump({"namespace": "another", "resources": [f"../manifests/{overlay}"]})
    )
    done = kustomize(mine)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    assert {document["metadata"]["namespace"] for document in documents} == {"another"}
    subjects = [subject for document in documents for subject in document.get("subjects", [])]
    assert {subject["namespace"] for subject in subjects} <= {"another"}


def test_no_file_is_left_out():
    listed = {MANIFESTS / path for path in LOOSE}
    for kustomization in MANIFESTS.rglob("kustomization.yaml"):
        content = yaml.safe_load(kustomization.read_text())
        named = [*content.get("resources", []), *(patch.get("path") for patch in content.get("patches", []))]
        generated = [file for each in content.get("configMapGenerator", []) for file in each["files"]]
        named += [file.rpartition("=")[2] for file in generated]
        listed |= {kustomization, *((kustomization.parent / name).resolve() for name in named if name)}
    files = {path for path in MANIFESTS.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files - listed == set()
