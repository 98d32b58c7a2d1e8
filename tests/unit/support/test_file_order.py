from __future__ import annotations

from support.file_order import longest_first, quick_lanes_first
from support.paths import PROJECT

TESTS = PROJECT / "tests"
FILES = [
    TESTS / name
    for name in (
        "step/test_overwrite.py",
        "system/test_dvc_repro.py",
        "unit/test_cli.py",
        "system/test_shell_completion.py",
        "system/images/test_pipeline_in_containers.py",
    )
]


def test_several_processes_begin_with_the_long_files_and_end_with_unit_tests() -> None:
    assert [path.stem for path in sorted(FILES, key=longest_first)] == [
        "test_pipeline_in_containers",
        "test_dvc_repro",
        "test_shell_completion",
        "test_overwrite",
        "test_cli",
    ]


def test_one_process_begins_with_unit_tests() -> None:
    assert [path.relative_to(TESTS).parts[0] for path in sorted(FILES, key=quick_lanes_first)] == [
        "unit",
        "step",
        *["system"] * 3,
    ]
