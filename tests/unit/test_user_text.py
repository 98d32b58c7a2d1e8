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
    "files/outputs.py": "JSON of datasets",
    "serving/client/outputs.py": "writes",
    "params.py": "parses text that was read",
    "runtime/cores.py": "cgroup files",
    "genome/assembly.py": "chromosome sizes of the package",
    "tracks/converting.py": "unpacks bigWigs",
    "tracks/fetching.py": "its own note beside a download",
    "steps/monitor/page.py": "template of the package",
    "project/initialising.py": "files of the project that it writes",
    "project/plan.py": "its own files",
    "steps/report/page.py": "template of the package",
    "tracks/catalogue.py": "catalogue of the package",
    "outputs/segmentation/segmenting.py": "writes",
    "runtime/step_fingerprints.py": "its own files",
    "study/plan.py": "its own files",
    "study/results.py": "outputs of an experiment in git",
    "figures/html.py": "style sheet of the package",
    "pipelines/compile/compilation.py": "the pipelines that it wrote",
    "pipelines/lifecycle/serving.py": "manifests of the serving folder, which it writes",
    "pipelines/local/executions.py": "outputs of tasks",
    "pipelines/submit/credentials.py": "tokens",
    "pipelines/task/kubernetes_api.py": "a pod's service account",
    "pipelines/task/trainjob.py": "params that the task wrote",
    "pipelines/task/secret_variables.py": "secrets of a pod",
    "runtime/telemetry/destinations.py": "its own files",
    "files/text.py": "the reader",
    "steps/train/command.py": "writes",
}


def test_no_other_module_opens_text() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for folder in (PACKAGE, PACKAGE / "pipelines")  # a link, which rglob does not follow
        for path in folder.rglob("*.py")
        if OTHERWISE.search(path.read_text(encoding="utf-8"))
    }
    assert sorted(found - ALLOWED.keys()) == []
