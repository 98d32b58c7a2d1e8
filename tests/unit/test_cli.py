"""The command line: help, exit codes, one line for a user's error, logs, completion."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from epilstm import __version__, console
from epilstm.cli import OTHER_COMMANDS, main
from epilstm.files.outputs import MANIFEST
from epilstm.params import SECTIONS, Section
from epilstm.runtime.params_command import rows_of
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.runtime.step_table import STEPS, Port, Step
from support.nonempty import nonempty


class ToyParams(Section):
    """Parameters of the toy step."""

    repeat: int = 1


def do(params: ToyParams, context: StepContext) -> StepResult:
    context.outputs["copy"].mkdir()
    (context.outputs["copy"] / MANIFEST).write_text("{}")
    console.log.debug("looking closely")
    console.log.warning("track 3 is short")
    with console.progress("Copying", 2) as bar:
        bar.advance()
        bar.note("half-way")
        bar.advance()
    return StepResult("copied", bins=5, tracks=2)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command line with a toy step added; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("epilstm.steps.toy.command")
    module.run = do  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SECTIONS, "toy", ToyParams)
    ports = (Port("text", "file", "text to copy"),), (Port("copy", "matrix", "dataset to write"),)
    monkeypatch.setitem(STEPS, "toy", Step("toy", "Copy a text.", "train", *ports, flags=(("resume", "go on"),)))
    Path("text").write_text("abc")

    def call(*arguments: str) -> tuple[int, str, str]:
        code: object = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return int(code or 0), captured.out, captured.err  # type: ignore[call-overload]

    return call


Run = Callable[..., tuple[int, str, str]]

TOY = ("toy", "--text", "text", "--copy", "copy")


def test_help_lists_every_command_in_the_order_data_flows(run: Run):
    code, out, _ = run("--help")
    assert code == 0
    positions = [out.index(f"\n  {name} ") for name in ("samplesheet", *STEPS, "params")]
    assert positions == sorted(positions)


def test_no_command_shows_the_help_and_counts_as_bad_usage(run: Run):
    code, out, err = run()
    assert code == 2
    assert "Usage: epilstm" in err
    assert "error:" not in err
    assert out == ""


@pytest.mark.parametrize("name", STEPS)
def test_help_of_a_step_names_every_port_flag_and_parameter_with_its_default(run: Run, name: str):
    code, out, _ = run(name, "--help")
    assert code == 0
    step = STEPS[name]
    for option in (*step.inputs, *step.outputs, *step.work):
        assert f"--{option.name} PATH" in out
    for flag, _ in step.flags:
        assert f"--{flag}" in out
    unwrapped = "".join(out.split())
    for key, text in nonempty(rows_of(SECTIONS[name])):
        assert "".join(f"{key}{text}".split()) in unwrapped


@pytest.mark.parametrize("name", OTHER_COMMANDS)
def test_help_of_every_other_command_answers(run: Run, name: str):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"Usage: epilstm {name}" in out


def test_help_lists_each_command_once_under_one_of_three_headings(run: Run):
    _, out, _ = run("--help")
    groups = re.split(r"^(Analyse|Pipeline|Operate):$", out, flags=re.MULTILINE)
    assert groups[1::2] == ["Analyse", "Pipeline", "Operate"]
    listed = [re.findall(r"^  ([a-z-]+)", text, flags=re.MULTILINE) for text in groups[2::2]]
    assert [names[0] for names in listed] == ["run", "simulate", "serve"]
    assert sorted(name for names in listed for name in names) == sorted([*STEPS, *OTHER_COMMANDS, "pipeline"])


def test_version_is_that_of_the_package(run: Run):
    assert run("--version")[:2] == (0, f"epilstm, version {__version__}\n")


def test_params_shows_every_key_with_its_meaning_and_default(run: Run):
    code, out, _ = run("params")
    assert code == 0
    for section, model in SECTIONS.items():
        assert f"\n{section}: # " in f"\n{out}"
        for key, text in nonempty(rows_of(model)):
            assert f"  {key} " in out
            assert text in out


@pytest.mark.parametrize("name", STEPS)
def test_only_a_step_that_has_parts_takes_part(run: Run, name: str):
    assert ("--part PART" in run(name, "--help")[1]) == (STEPS[name].part is not None)


def test_a_part_is_handed_to_the_step_which_needs_no_output_then(run: Run, monkeypatch: pytest.MonkeyPatch):
    ports = (Port("text", "file", "text"),), (Port("copy", "matrix", "copy"),), (Port("cache", "folder", "kept"),)
    monkeypatch.setitem(STEPS, "toy", Step("toy", "Copy a text.", "train", *ports, part="one letter"))
    seen = []
    monkeypatch.setattr(
        sys.modules["epilstm.steps.toy.command"], "run", lambda _, context: seen.append(context) or StepResult("done")
    )
    code, _, err = run("toy", "--text", "text", "--cache", "cache", "--part", "b")
    assert (code, [context.part for context in seen]) == (0, ["b"]), err
    assert run("toy", "--text", "text", "--cache", "cache") == (2, "", "error: --copy is required: copy\n")
    code, _, err = run(*TOY, "--cache", "cache", "--part", "b")
    assert (code, err) == (2, "error: --copy is not written with --part; leave one of them out\n")


def test_a_step_that_is_done_exits_with_0_and_leaves_standard_output_alone(run: Run):
    code, out, err = run(*TOY)
    assert (code, out) == (0, "")
    assert os.path.isfile("copy/manifest.json")
    assert "Traceback" not in err


def test_away_from_a_terminal_the_log_is_one_json_object_per_line(run: Run):
    lines = [json.loads(line) for line in run(*TOY)[2].splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("warning", "track 3 is short"),
        ("info", "copied"),
    ]
    assert {line["step"] for line in lines} == {"toy"}
    assert (lines[-1]["bins"], lines[-1]["tracks"]) == (5, 2)
    assert all(line["time"].endswith("+00:00") for line in nonempty(lines))


def test_quiet_keeps_warnings_only(run: Run):
    lines = [json.loads(line)["message"] for line in run(*TOY, "-q")[2].splitlines()]
    assert lines == ["track 3 is short"]


def test_verbose_shows_debug_messages(run: Run):
    lines = [json.loads(line)["message"] for line in run(*TOY, "--verbose")[2].splitlines()]
    assert lines == ["looking closely", "track 3 is short", "copied"]


def test_on_a_terminal_the_log_is_plain_text(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    lines = run(*TOY)[2].splitlines()
    assert lines[0] == "track 3 is short"
    assert lines[-1].endswith("copied")
    assert "{" not in "".join(lines)


def test_on_a_terminal_a_bar_shows_progress_unless_quiet(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert "Copying half-way" in run(*TOY)[2]
    assert run(*TOY, "--quiet")[2] == "track 3 is short\n"


def test_long_work_is_reported_now_and_then_away_from_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(console, "PROGRESS_INTERVAL", 0.0)
    content = [json.loads(line) for line in run(*TOY)[2].splitlines()]
    assert [line["message"] for line in content if "done" in line] == ["Copying: 50%", "Copying: 100% half-way"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("toy", "--text", "text"), "Missing option '--copy'"),
        ((*TOY, "--nonsense"), "No such option"),
        ((*TOY, "extra"), "Got unexpected extra argument (extra)"),
        (("params", "nonsense"), "'nonsense' is not one of 'simulate', 'ingest'"),
        ((*TOY, "--params", "absent.yaml"), "absent.yaml: no such file"),
        (("toy", "--text", "text", "--copy", "text"), "--copy text is also --text"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], message: str):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_bad_params_file_is_one_line_and_exit_code_2(run: Run):
    Path("params.yaml").write_text("toy: {repeat: many}\n")
    code, _, err = run(*TOY, "--params", "params.yaml")
    assert (code, err) == (2, "error: params.yaml: toy.repeat: input should be a valid integer, got 'many'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy", "--text", "absent", "--copy", "copy"), "error: --text absent: no such file or folder; text to copy\n"),
        (("toy", "--text", ".", "--copy", "copy"), "error: --text .: is a folder, expected a file; text to copy\n"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(run: Run, arguments: tuple[str, ...], message: str):
    assert run(*arguments) == (1, "", message)
