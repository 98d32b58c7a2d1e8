"""Files that DVC reads are checked before DVC is asked: the message names file, line and cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import RegistryError
from epilstm.registry.storage import Storage
from epilstm.study.experiments import open_project

CONFLICT = "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  train: {}\n=======\n  train: []\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("dvc.lock", CONFLICT, "dvc.lock:3: holds a conflict marker of git (<<<<<<<); settle the merge in the file"),
        ("dvc.yaml", CONFLICT, "dvc.yaml:3: holds a conflict marker of git"),
        ("params.yaml", "train: {epochs: 3\n", "params.yaml:2: not valid YAML"),
        ("dvc.yaml", "stages: {}\nstages: {}\n", "dvc.yaml:2: not valid YAML: key 'stages' is given twice"),
    ],
)
def test_a_damaged_file_is_named_with_line_and_cause(tmp_path: Path, name: str, text: str, cause: str) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / name).write_text(text)
    for opened in (Storage, open_project):
        with pytest.raises(RegistryError) as caught:
            opened(tmp_path)
        assert str(caught.value).startswith(f"{tmp_path / cause.partition(':')[0]}:")
        assert cause in str(caught.value)
        assert "dvc init" not in str(caught.value)


def test_only_a_folder_without_dvc_is_initialised(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no DVC project; run 'dvc init'"):
        Storage(tmp_path)
