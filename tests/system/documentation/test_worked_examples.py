"""The worked examples of ``docs/examples`` run as they are printed, one after the other, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import PROJECT

EXAMPLES = PROJECT / "docs" / "examples"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(document: str, folder: Path, after: str) -> str:
    """Run a document's blocks in order, the Python ones in one interpreter; return what `after`, run last, prints."""
    program = []
    for language, code in BLOCK.findall((EXAMPLES / document).read_text(encoding="utf-8")):
        shell = f"__import__('subprocess').run(['bash', '-euo', 'pipefail', '-c', {code!r}], check=True, stdout=2)"
        program.append(code if language == "python" else shell)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    completed = subprocess.run(
        [sys.executable, "-c", "\n".join([*program, after])],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert completed.returncode == 0, completed.stderr[-3000:]
    return completed.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of the first example, and what its last lines printed."""
    pytest.importorskip("umap", reason="umap-learn is not installed (extra 'examples')")
    folder = tmp_path_factory.mktemp("example")
    return folder, run_blocks("own-bigwigs.md", folder, "print(len(means), len(set(states)), places.std())")


def test_own_bigwigs_become_a_umap_and_a_segmentation(finished):
    folder, found = finished
    kilobases, states, spread = found.split()
    assert 1200 < int(kilobases) <= 1300
    assert int(states) >= 4
    assert float(spread) > 1
    assert (folder / "umap.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "segmentation/segmentation.bed").read_text().count("\n") > 100


def test_embeddings_are_features_of_ones_own_classifier(finished):
    folder, _ = finished
    found = run_blocks("own-classifier.md", folder, "print(*scores.values())")
    embedding, _, guessing = map(float, found.splitlines()[-1].split())
    assert embedding > 5 * guessing
