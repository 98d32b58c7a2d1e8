"""The order in which files of tests run."""

from __future__ import annotations

from pathlib import Path

from support.paths import PROJECT

LANES = ("unit", "step", "system")

#: Files that take above half a minute, the longest first. The two that need container images are apart: the images are
#: built by the first, and the other need not wait for them.
LONG_FILES = (
    "test_pipeline_in_containers.py",
    "test_task_on_a_volume.py",
    "test_retraining_pipeline.py",
    "test_task_in_a_bucket.py",
    "test_retraining_rounds.py",
    "test_local_training.py",
    "test_registration.py",
    "test_container_images.py",
    "test_dvc_repro.py",
    "test_dashboards_live.py",
    "test_stages.py",
    "test_worked_examples.py",
    "test_client_embed.py",
    "test_other_code.py",
    "test_alerts.py",
    "test_run_project.py",
    "test_disk.py",
    "test_serve_reliability.py",
)


def lane_of(path: Path) -> str:
    """The lane of a file of tests, which is its folder."""
    return path.relative_to(PROJECT / "tests").parts[0]


def quick_lanes_first(path: Path) -> int:
    """Key to sort by where one process runs all: a simple mistake shows soon."""
    return LANES.index(lane_of(path))


def longest_first(path: Path) -> tuple[int, int]:
    """Key to sort by where several processes take a file each: the many short ones keep all of them busy to the end."""
    rank = LONG_FILES.index(path.name) if path.name in LONG_FILES else len(LONG_FILES)
    return rank, -LANES.index(lane_of(path))
