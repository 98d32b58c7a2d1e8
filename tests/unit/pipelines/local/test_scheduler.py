"""Pipelines written with kfp, compiled and run: loops, conditions, collected outputs, defaults, retries, the cache."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from epilstm.errors import PipelineError
from epilstm.files.outputs import COMPLETION_MARKER
from epilstm.pipelines.local.resolution import Values
from epilstm.pipelines.local.scheduler import LocalRun
from support.pipelines.local_runs import LAST, ReplayedWorker, compiled_spec, run_spec

SAY = """
import pathlib, sys
text, *places = sys.argv[1:]
for place in places:
    pathlib.Path(place).write_text(text)
"""

GATHER = """
import json, pathlib, sys
values, executor_input, place = sys.argv[1:]
pages = json.loads(executor_input)["inputs"]["artifacts"]["pages"]["artifacts"]
pathlib.Path(place).write_text(values + " " + "".join(pathlib.Path(page["uri"]).read_text() for page in pages))
"""

FAIL_ONCE = """
import pathlib, sys
marker = pathlib.Path(sys.argv[1])
if not marker.exists():
    marker.touch()
    sys.exit("error: not at the first attempt")
pathlib.Path(sys.argv[2]).write_text("done")
"""


@dsl.container_component
def say(value: str, said: dsl.OutputPath(str), page: dsl.Output[dsl.Artifact]):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=[value, said, page.path])


@dsl.container_component
def choose(values: list, chosen: dsl.OutputPath(list)):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=[values, chosen])


@dsl.container_component
def gather(values: list, pages: dsl.Input[list[dsl.Artifact]], said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def,valid-type]
    executor_input = dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER
    return dsl.ContainerSpec(image="none", command=["python", "-c", GATHER], args=[values, executor_input, said])


@dsl.container_component
def fail_once(marker: str, said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", FAIL_ONCE], args=[marker, said])


@dsl.container_component
def special(value: str):  # type: ignore[no-untyped-def]
    return dsl.ContainerSpec(image="none", command=["python", "-c", ""], args=[value])


@dsl.container_component
def branch(value: str, said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=[value, said])


@dsl.container_component
def last(value: str, other: str, said: dsl.OutputPath(str), rate: float = 0.5):  # type: ignore[no-untyped-def,valid-type]
    words = [dsl.ConcatPlaceholder([value, "/", other, "/", rate]), said]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=words)


@dsl.pipeline(name="everything")
def everything(marker: str, items: list = ["a", "b"], fast: bool = True, mode: str = "x"):  # noqa: B006
    chosen = choose(values=items)
    with dsl.ParallelFor(chosen.outputs["chosen"]) as item:
        said = say(value=item)
        with dsl.If(item == "b"):
            special(value=item)
    gather(values=dsl.Collected(said.outputs["said"]), pages=dsl.Collected(said.outputs["page"]))
    with dsl.If(fast == False):  # noqa: E712
        slow_branch = branch(value="slow")
    with dsl.Else():
        fast_branch = branch(value="fast")
    outcome = dsl.OneOf(slow_branch.outputs["said"], fast_branch.outputs["said"])
    with dsl.ParallelFor([{"first": "n", "second": "o"}]) as pair:
        last(value=outcome, other=pair.second).set_caching_options(False)
    fail_once(marker=marker).set_retry(num_retries=1, backoff_duration="0s").set_caching_options(False)
    with dsl.If(mode == "never"):
        special(value="never")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compiled_spec(everything, tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def first(spec: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("run")
    return run_spec(spec, folder / "run", {"marker": str(folder / "marker")})


def test_outputs_of_a_loop_are_collected_in_its_order(first):
    assert first.outputs("gather").parameters == {"said": '["a","b"] ab'}


def test_a_condition_in_a_loop_is_met_by_the_item_that_meets_it(first):
    assert [step.part for step in first.run.steps.values() if step.name == "special"] == ["2 of 2"]


def test_the_branch_that_ran_gives_the_output_and_defaults_and_fields_of_items_are_filled_in(first):
    assert first.outputs("last").parameters == {"said": "fast/o/0.5"}


def test_a_task_that_failed_is_tried_again(first):
    assert first.tasks.count("fail-once") == 2
    assert first.outputs("fail-once").parameters == {"said": "done"}
    assert "not at the first attempt" in first.log("fail-once")


def test_a_second_run_takes_what_was_done_and_repeats_what_is_never_cached(first, spec, tmp_path):
    again = run_spec(spec, first.run.folder, {"marker": str(tmp_path)})
    assert sorted(again.tasks) == ["fail-once", "last"]
    assert {step.name for step in again.run.steps.values() if step.cached} >= {"choose", "say", "gather"}
    assert again.outputs("gather").parameters == first.outputs("gather").parameters


def test_what_was_moved_elsewhere_is_made_again(spec, tmp_path):
    run_spec(spec, tmp_path / "one", {"marker": str(tmp_path), "items": ["a"]})
    (tmp_path / "one").rename(tmp_path / "other")
    again = run_spec(spec, tmp_path / "other", {"marker": str(tmp_path), "items": ["a"]})
    assert {"choose", "say", "gather"} <= set(again.tasks)


def test_a_damaged_output_and_a_new_item_are_made_and_what_follows_from_them(first, spec, tmp_path):
    [page] = [path for path in first.run.folder.glob("tasks/say/*/page") if path.read_text() == "a"]
    page.write_text("damaged")
    again = run_spec(spec, first.run.folder, {"marker": str(tmp_path), "items": ["a", "b", "c"]})
    assert sorted(again.tasks) == ["choose", "fail-once", "gather", "last", "say", "say"]
    assert again.outputs("gather").parameters == {"said": '["a","b","c"] abc'}


@dsl.pipeline(name="broken")
def broken(value: str):
    branch(value="fine")
    fail_once(marker=value)


def test_a_failed_task_is_named_with_its_last_error_and_its_log_and_the_next_run_resumes(tmp_path):
    spec = compiled_spec(broken, tmp_path)
    marker = tmp_path / "marker"
    with pytest.raises(PipelineError) as error:
        run_spec(spec, tmp_path / "run", {"value": str(marker)})
    [log] = (tmp_path / "run").glob("tasks/fail-once/*.log")
    assert str(error.value) == f"task fail-once failed: not at the first attempt; its log: {log}"
    assert not list((tmp_path / "run").glob(f"tasks/fail-once/*/{COMPLETION_MARKER}"))
    assert LAST.run.run.state == "FAILED"
    again = run_spec(spec, tmp_path / "run", {"value": str(marker)})
    assert again.tasks == ["fail-once"]


@dsl.container_component
def silent(said: dsl.OutputPath(int), word: str = "x"):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=[word, said])


@dsl.pipeline(name="wrong-output")
def wrong_output():
    silent()


def test_an_output_of_another_type_fails_the_task(tmp_path):
    with pytest.raises(PipelineError, match="task silent failed: its output said is no NUMBER_INTEGER"):
        run_spec(compiled_spec(wrong_output, tmp_path), tmp_path / "run", {})


@dsl.pipeline(name="wide")
def wide(items: list):
    with dsl.ParallelFor(items, parallelism=2) as item:
        special(value=item)


class CountingWorker(ReplayedWorker):
    """Counts how many attempts are made at the same time."""

    most = now = 0

    async def attempt(self, execution: Any, folder: Any) -> Values:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(10):
            await asyncio.sleep(0)
        self.now -= 1
        return Values()

    def run(self, spec: Any, folder: Path, tasks: int) -> int:
        asyncio.run(LocalRun(spec, folder, self, tasks).run({"items": ["a", "b", "c", "d", "e"]}))
        return self.most


def test_as_many_tasks_run_at_once_as_the_loop_and_the_user_allow(tmp_path):
    spec = compiled_spec(wide, tmp_path)
    assert CountingWorker({}).run(spec, tmp_path / "loop", tasks=4) == 2
    assert CountingWorker({}).run(spec, tmp_path / "user", tasks=1) == 1
    del spec["root"]["dag"]["tasks"]["for-loop-1"]["iteratorPolicy"]
    assert CountingWorker({}).run(spec, tmp_path / "neither", tasks=4) == 4


def test_a_loop_over_what_is_no_list_is_an_error(tmp_path):
    spec = compiled_spec(wide, tmp_path)
    with pytest.raises(PipelineError, match="the pipeline: input items: expected LIST"):
        run_spec(spec, tmp_path / "run", {"items": "a"})


@dsl.container_component
def cleanup(said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def,valid-type]
    return dsl.ContainerSpec(image="none", command=["python", "-c", SAY], args=["clean", said])


@dsl.pipeline(name="status")
def with_status():
    done = cleanup().set_caching_options(False)
    with dsl.ExitHandler(done):
        silent(word="x")


def test_an_exit_handler_runs_after_a_failure(tmp_path):
    with pytest.raises(PipelineError, match="task silent failed"):
        run_spec(compiled_spec(with_status, tmp_path), tmp_path / "run", {})
    assert LAST.run.tasks == ["silent", "cleanup"]


@dsl.container_component
def read(page: dsl.Input[dsl.Artifact], said: dsl.OutputPath(str)):  # type: ignore[no-untyped-def,valid-type]
    code = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text())"
    return dsl.ContainerSpec(image="none", command=["python", "-c", code], args=[page.path, said])


@dsl.pipeline(name="importing")
def importing(uri: str):
    found = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
    read(page=found.output)


def test_an_importer_takes_a_path_of_this_machine_and_nothing_else(tmp_path):
    spec = compiled_spec(importing, tmp_path)
    (tmp_path / "page").write_text("mine")
    ran = run_spec(spec, tmp_path / "run", {"uri": str(tmp_path / "page")})
    assert ran.outputs("read").parameters == {"said": "mine"}
    with pytest.raises(PipelineError, match="importer: gs://bucket/page: no such file or folder here"):
        run_spec(spec, tmp_path / "run", {"uri": "gs://bucket/page"})


@dsl.pipeline(name="nested")
def nested(items: list):
    with dsl.ParallelFor(items), dsl.ParallelFor(["x", "y"]) as inner:
        made = branch(value=inner)
    choose(values=dsl.Collected(made.outputs["said"]))


def test_what_a_local_run_does_not_do_is_refused_before_a_task_runs(tmp_path):
    with pytest.raises(PipelineError, match="task for-loop-1: collects outputs of a loop in a loop"):
        run_spec(compiled_spec(nested, tmp_path), tmp_path / "run", {"items": ["a"]})
    assert not (tmp_path / "run").exists()
