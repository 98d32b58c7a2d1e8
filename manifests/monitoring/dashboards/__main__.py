"""Write the dashboards as JSON, as Grafana and the ConfigMaps take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from manifests.monitoring.dashboards import drift, pipeline, quality, serving

FOLDER = Path(__file__).parent

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "pipeline": pipeline.build,
    "quality": quality.build,
    "drift": drift.build,
    "serving": serving.build,
}


def text_of(name: str) -> str:
    """The JSON of one of `DASHBOARDS`; panels are numbered in order."""
    dashboard = DASHBOARDS[name]().build()
    for number, panel in enumerate(dashboard.panels or [], start=1):
        panel.id_val = number
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard beside its code."""
    for name in DASHBOARDS:
        path = FOLDER / f"{name}.json"
        path.write_text(text_of(name), encoding="utf-8")
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
