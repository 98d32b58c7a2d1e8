"""A step and the loop over its parts, run by kfp itself: with parts, and with none."""

import json
from typing import Any

import pytest
from kfp import compiler, dsl

from support.pipelines.host_runner import run_pipeline


def task(name: str, **annotations: Any) -> Any:
    """A component that writes its output file, if it has one."""

    def container(value: str, result: dsl.OutputPath(list)):  # type: ignore[valid-type, no-untyped-def]
        code = (
            "import pathlib, sys; text = sys.argv[2]; path = pathlib.Path(sys.argv[3]); "
            "path.parent.mkdir(parents=True, exist_ok=True); path.write_text(text if text[0] == '[' else '[]')"
        )
        return dsl.ContainerSpec(image="none", command=["python", "-c", code], args=[name, value, result])

    container.__name__ = name
    return dsl.container_component(container)


@pytest.mark.parametrize(("parts", "expected"), [(["1/2", "2/2"], ["part", "part"]), ([], [])])
def test_a_step_runs_after_its_parts_and_without_any(tmp_path, parts, expected):
    plan, part_task, whole_task = task("plan"), task("part"), task("whole")

    @dsl.pipeline(name="parts")
    def pipeline(planned: str) -> None:
        made = plan(value=planned)
        with dsl.ParallelFor(made.outputs["result"]) as part:
            done = part_task(value=part)
        whole_task(value="[]").after(done)

    compiler.Compiler().compile(pipeline, str(tmp_path / "parts.yaml"))
    runs = run_pipeline(tmp_path / "parts.yaml", tmp_path / "root", {"planned": json.dumps(parts)}, {})
    assert runs.tasks == ["plan", *expected, "whole"]
