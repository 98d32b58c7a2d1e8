"""Text that a user gives is opened by `epilstm.files.text` alone."""

from __future__ import annotations

import re
from pathlib import Path

import epilstm

PACKAGE = Path(epilstm.__file__).parent

#: What opens text or unpacks gzip without the reader.
OTHERWISE = re.compile(r"\.read_text\(|gzip\.open|open\(.*newline=|csv\.(Dict)?[Rr]eader\(|yaml\.(safe_)?load\(")

#: Files that read what epilstm itself or the system wrote, or text that was read already.
ALLOWED = {
    "artifacts.py": "JSON of datasets",
    "client/outputs.py": "writes",
    "config.py": "parses text that was read",
    "cores.py": "cgroup files",
    "genome.py": "chromosome sizes of the package",
    "ingest/converting.py": "unpacks bigWigs",
    "ingest/fetch.py": "its own note beside a download",
    "monitor/page.py": "template of the package",
    "project/initialising.py": "files of the project that it writes",
    "project/plan.py": "its own files",
    "report/page.py": "template of the package",
    "samplesheet/catalog.py": "catalogue of the package",
    "segment/segmenting.py": "writes",
    "step_fingerprints.py": "its own files",
    "study/plan.py": "its own files",
    "study/results.py": "outputs of an experiment in git",
    "task/secret_variables.py": "secrets of a pod",
    "telemetry/destinations.py": "its own files",
    "text_files.py": "the reader",
    "train/command.py": "writes",
}


def test_no_other_module_opens_text() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if OTHERWISE.search(path.read_text(encoding="utf-8"))
    }
    assert sorted(found - ALLOWED.keys()) == []
