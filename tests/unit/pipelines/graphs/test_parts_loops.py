"""A step and the loop over its parts, as a run resolves them: with parts, and with none."""

import json
from typing import Any

import pytest
from kfp import dsl

from support.pipelines.local_runs import compiled_spec, run_spec


def task(name: str, **annotations: Any) -> Any:
    """A component that writes its output file, if it has one."""

    def container(value: str, result: dsl.OutputPath(list)):  # type: ignore[valid-type, no-untyped-def]
        code = (
            "import pathlib, sys; text = sys.argv[2]; path = pathlib.Path(sys.argv[3]); "
            "path.write_text(text if text[0] == '[' else '[]')"
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

    ran = run_spec(compiled_spec(pipeline, tmp_path), tmp_path / "run", {"planned": json.dumps(parts)})
    assert ran.tasks == ["plan", *expected, "whole"]
