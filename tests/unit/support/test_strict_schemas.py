"""The strict check of manifests finds what is wrong, and only that."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from support.strict_schemas import schema_errors

TRAIN_JOB = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "metadata": {"name": "job", "labels": {"app": "epilstm"}},
    "spec": {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {"numNodes": 2, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 4, "memory": "16Gi"}}},
    },
}

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": "value"}}

BROKEN = {
    "a field of the wrong type": (TRAIN_JOB, ("spec", "trainer", "numNodes"), "two", "spec.trainer.numNodes"),
    "a misspelt field": (TRAIN_JOB, ("spec", "trainer", "numnodes"), 2, "numnodes"),
    "a field outside the spec": (TRAIN_JOB, ("sepc",), {}, "sepc"),
    "a field lacking": (TRAIN_JOB, ("spec",), {}, "runtimeRef"),
    "a label that is no string": (TRAIN_JOB, ("metadata", "labels"), {"app": 1}, "metadata.labels.app"),
    "a name that no object may have": (TRAIN_JOB, ("metadata", "name"), "My_Job", "metadata.name"),
    "an unknown kind of a known group": (TRAIN_JOB, ("kind",), "TrainJobs", "no schema for 'TrainJobs'"),
    "an unknown version": (TRAIN_JOB, ("apiVersion",), "trainer.kubeflow.org/v9", "v9"),
    "a misspelt field of a built-in kind": (CONFIG_MAP, ("dta",), {}, "dta"),
    "a wrong type in a built-in kind": (CONFIG_MAP, ("data",), {"key": 1}, "data.key"),
    "an unknown built-in kind": (CONFIG_MAP, ("kind",), "ConfigMapp", "no schema for 'ConfigMapp'"),
}


def changed(document: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    return document


@pytest.mark.parametrize("document", [TRAIN_JOB, CONFIG_MAP], ids=["custom", "built-in"])
def test_a_sound_manifest_has_no_errors(document):
    assert schema_errors(document) == []


@pytest.mark.parametrize(("document", "keys", "value", "message"), BROKEN.values(), ids=BROKEN)
def test_an_error_names_what_is_wrong(document, keys, value, message):
    [error] = schema_errors(changed(document, keys, value))
    assert message in error
