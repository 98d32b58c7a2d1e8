"""What the admission webhook of KServe 0.20 demands of an InferenceService beyond its schema.

Read off the webhook's answers to the manifests of this project and to broken ones.
"""

from __future__ import annotations

import re
from typing import Any

AUTOSCALERS = ("external", "hpa", "keda", "none")


def webhook_errors(document: dict[str, Any]) -> list[str]:
    """What the webhook would refuse; empty for other kinds, which have no such rules here."""
    if document["kind"] != "InferenceService":
        return []
    metadata, spec = document["metadata"], document["spec"]
    autoscaler = metadata.get("annotations", {}).get("serving.kserve.io/autoscalerClass", "hpa")
    errors = []
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", metadata["name"]):
        errors.append("metadata.name: not a DNS label")
    if autoscaler not in AUTOSCALERS:
        errors.append(f"autoscalerClass {autoscaler}: not one of {', '.join(AUTOSCALERS)}")
    errors += _replicas(spec["predictor"], "spec.predictor")
    for number, metric in enumerate(spec["predictor"].get("autoScaling", {}).get("metrics", [])):
        errors += _metric(metric, autoscaler, f"spec.predictor.autoScaling.metrics[{number}]")
    canaries = spec.get("canary", [])
    for number, canary in enumerate(canaries):
        where = f"spec.canary[{number}]"
        if not canary["predictor"].get("name"):
            errors.append(f"{where}.predictor.name: missing")
        if "autoScaling" in canary["predictor"]:
            errors.append(f"{where}.predictor.autoScaling: not of a canary")
        errors += _replicas(canary["predictor"], f"{where}.predictor")
    if not 0 <= sum(canary["trafficPercent"] for canary in canaries) <= 100:
        errors.append("spec.canary: trafficPercent of all is not from 0 to 100")
    return errors


def _replicas(predictor: dict[str, Any], where: str) -> list[str]:
    least, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
    return [f"{where}.maxReplicas: below minReplicas"] if most and most < least else []


def _metric(metric: dict[str, Any], autoscaler: str, where: str) -> list[str]:
    if metric["type"] != "External":
        return []
    external = metric["external"]
    wanted = {name: external["metric"].get(name) for name in ("backend", "query", "serverAddress")}
    errors = [f"{where}.external.metric.{name}: missing" for name, value in wanted.items() if not value]
    if autoscaler != "keda":
        errors.append(f"{where}: an external metric needs autoscalerClass keda")
    if float(external["target"].get("value", 0)) <= 0:
        errors.append(f"{where}.external.target.value: missing, or not above 0")
    return errors
