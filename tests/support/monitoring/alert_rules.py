"""The alert rules as they are in the manifests, and as Prometheus reads them."""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from support.paths import PROJECT

MANIFESTS = PROJECT / "manifests" / "monitoring"
RULE_FILES = sorted(MANIFESTS.glob("base/*-rules.yaml"))

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
WINDOW = re.compile(r"\[(\d+)(ms|s|m|h|d|w|y)\]")


def rule_groups() -> dict[str, Any]:
    """All rules, as the content of a rule file of Prometheus."""
    return {"groups": [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["spec"]["groups"]]}


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert's rule, by name."""
    rules = [rule for group in rule_groups()["groups"] for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    return {rule["alert"]: rule for rule in rules}


def faster(rules: dict[str, Any], scale: float) -> dict[str, Any]:
    """The same rules with every window (``[5m]``) and every ``for`` divided by `scale`, and nothing else changed.

    A window is at least two seconds long, for a scrape every second.
    """

    def window(found: re.Match[str]) -> str:
        seconds = int(found[1]) * UNITS[found[2]] / scale
        return f"[{max(2000, round(1000 * seconds))}ms]"

    scaled = copy.deepcopy(rules)
    for group in scaled["groups"]:
        for rule in group["rules"]:
            rule["expr"] = WINDOW.sub(window, rule["expr"])
            if "for" in rule:
                number, unit = re.fullmatch(r"(\d+)([a-z]+)", rule["for"]).groups()
                rule["for"] = f"{round(1000 * int(number) * UNITS[unit] / scale)}ms"
    return scaled
