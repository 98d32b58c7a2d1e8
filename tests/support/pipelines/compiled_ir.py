"""A compiled pipeline, taken apart: executors, tasks at every depth, and words with their placeholders filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from epilstm.pipelines.compile.compilation import LOADER, Settings, compile_pipeline


class CompiledPipeline:
    """The IR of a pipeline, and its platform part."""

    def __init__(self, text: str) -> None:
        documents = list(yaml.load_all(text, Loader=LOADER))
        self.spec: dict[str, Any] = documents[0]
        self.platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    @property
    def executors(self) -> dict[str, Any]:
        """Container of each component, by the component's name without its prefix."""
        return {
            name.removeprefix("exec-"): executor["container"]
            for name, executor in self.spec["deploymentSpec"]["executors"].items()
        }

    def kubernetes(self, component: str) -> dict[str, Any]:
        return self.platform[f"exec-{component}"]

    def component(self, name: str) -> dict[str, Any]:
        return self.spec["components"][f"comp-{name}"]

    @property
    def parameters(self) -> dict[str, Any]:
        return self.spec["root"]["inputDefinitions"]["parameters"]

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Tasks of the root, of every loop and under every condition, by name."""
        every = self._tasks(self.spec["root"]["dag"]["tasks"])
        return {name: task for name, task in every if not name.startswith(("for-loop", "condition"))}

    def loops(self) -> dict[str, dict[str, Any]]:
        """Loops, by the names of the tasks in them."""
        return {
            next(iter(self.spec["components"][task["componentRef"]["name"]]["dag"]["tasks"])): task
            for name, task in self._tasks(self.spec["root"]["dag"]["tasks"])
            if name.startswith("for-loop")
        }

    def conditions_of(self, wanted: str) -> list[str]:
        """Conditions under which a task runs, the outermost first."""
        return self._conditions_of(wanted, self.spec["root"]["dag"]["tasks"], []) or []

    def _conditions_of(self, wanted: str, tasks: Mapping[str, Any], above: list[str]) -> list[str] | None:
        for name, task in tasks.items():
            if name == wanted:
                return above
            inner = self.spec["components"][task["componentRef"]["name"]].get("dag", {}).get("tasks", {})
            condition = task.get("triggerPolicy", {}).get("condition")
            found = self._conditions_of(wanted, inner, [*above, condition] if condition else above)
            if found is not None:
                return found
        return None

    def _tasks(self, tasks: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, task in tasks.items():
            yield name, task
            inner = self.spec["components"][task["componentRef"]["name"]]
            if "dag" in inner:
                yield from self._tasks(inner["dag"]["tasks"])


def step_line(container: Mapping[str, Any]) -> list[str]:
    """The step's own line in a container's arguments."""
    arguments = container["args"]
    return arguments[arguments.index("--") + 1 :]


def filled(words: list[str], values: Mapping[str, str]) -> list[str]:
    """Words with the placeholder of each name replaced by its value; one that has none is an error."""
    forms = (
        "{{{{$.inputs.parameters['{0}']}}}}",
        "{{{{$.inputs.artifacts['{0}'].path}}}}",
        "{{{{$.outputs.artifacts['{0}'].path}}}}",
        "{{{{$.outputs.parameters['{0}'].output_file}}}}",
    )
    placeholders = {form.format(name): value for name, value in values.items() for form in forms}
    line = [placeholders.get(word, word) for word in words]
    left = [word for word in line if "{{" in word]
    assert not left, left
    return line


_COMPILED: dict[str, str] = {}


def compiled_text(pipeline: str, profile: str, settings: Settings | None = None) -> str:
    """A pipeline for a profile, compiled once per session for the same settings."""
    key = repr((pipeline, profile, settings or Settings()))
    if key not in _COMPILED:
        _COMPILED[key] = compile_pipeline(pipeline, profile, settings)
    return _COMPILED[key]


def compiled(pipeline: str, profile: str, settings: Settings | None = None) -> CompiledPipeline:
    return CompiledPipeline(compiled_text(pipeline, profile, settings))
