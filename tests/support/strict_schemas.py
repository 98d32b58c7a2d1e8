"""Kubernetes manifests against the schemas of their kinds: an unknown field is an error, and so is an unknown kind.

Custom resources are compared with the definitions in ``tests/support/crds``, built-in kinds with those
of Kubernetes.
Rules in CEL (``x-kubernetes-validations``) are not evaluated.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from kubernetes_validate.utils import latest_version, schema_contents
from referencing import Registry, Resource

CRDS = Path(__file__).parent / "crds"

#: Version of Kubernetes whose built-in kinds are known.
KUBERNETES = latest_version()
_BUILT_IN = f"kubernetes-json-schema/v{KUBERNETES}-local-strict"

_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}

#: What a person writes under ``metadata``; definitions of custom resources leave it open.
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"},
        "generateName": {"type": "string", "pattern": r"^[a-z0-9][-a-z0-9.]{0,251}$"},
        "namespace": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    **{name: {"type": "string"} for name in ("apiVersion", "kind", "name", "uid")},
                    **{name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
                },
            },
        },
    },
    "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
}


def schema_errors(document: dict[str, Any]) -> list[str]:
    """What is wrong with one manifest: ``path.to.field: problem``; empty if nothing is."""
    version, kind = str(document.get("apiVersion")), str(document.get("kind"))
    validator = custom_resources().get((version, kind)) or _built_in(version, kind)
    if validator is None:
        return [f"kind: no schema for {kind!r} of {version!r}"]
    found = validator.iter_errors(document)
    return sorted(f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in found)


@cache
def _built_in(version: str, kind: str) -> jsonschema.Draft202012Validator | None:
    """The validator of a kind of Kubernetes' own: `kubernetes_validate.validate` builds it anew for every document."""
    group = re.sub(r"^([^./]*)([.][^/]*)?/", r"\1-", version)
    name = f"{kind.lower()}-{group}.json"
    try:
        schema = schema_contents(f"{_BUILT_IN}/{name}", KUBERNETES)
    except FileNotFoundError:
        return None
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions())


@cache
def _definitions() -> Registry:
    definitions = schema_contents(f"{_BUILT_IN}/_definitions.json", KUBERNETES)
    return Resource.from_contents(definitions) @ Registry()


@cache
def custom_resources() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    """A validator for each apiVersion and kind that `CRDS` defines."""
    validators = {}
    for path in sorted(CRDS.glob("*.json")):
        definition = json.loads(path.read_text())["spec"]
        for version in definition["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"metadata": METADATA}
            schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata", "spec"})
            key = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            validators[key] = jsonschema.Draft202012Validator(schema)
    return validators


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a structural schema, closed to fields that it does not name."""
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            closed[key] = {name: strict(field) for name, field in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            closed[key] = strict(value)
        elif not key.startswith("x-kubernetes") and key not in ("description", "default", "format", "nullable"):
            # In anyOf and its like a structural schema only adds rules about fields that are named outside of it.
            closed[key] = value
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
        closed.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if schema.get("nullable") and "type" in closed:
        closed["type"] = [closed["type"], "null"]
    open_ended = "additionalProperties" in closed or schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in closed and not open_ended:
        closed["additionalProperties"] = False
    return closed
