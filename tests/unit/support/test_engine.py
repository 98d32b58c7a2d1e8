from __future__ import annotations

from pathlib import Path

from support.engine import let_others_through


def test_any_user_goes_through_the_folders_of_a_process_of_the_tests(tmp_path: Path) -> None:
    root = tmp_path / "open"
    folder = root / "pytest-of-root" / "pytest-0" / "popen-gw0" / "test_0"
    folder.mkdir(parents=True)
    root.chmod(0o777)
    for closed in (folder, *folder.parents[:3]):
        closed.chmod(0o700)
    let_others_through(folder)
    assert [each.stat().st_mode & 0o777 for each in (folder, *folder.parents[:4])] == [0o755] * 4 + [0o777]
