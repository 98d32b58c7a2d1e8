"""Git without a work tree's help."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import RegistryError
from epilstm.registry.repository import NO_OBJECT, GitFailed, RefsTaken, Repository, opened, without_credentials
from support.registry.finished_project import run


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    run(tmp_path, "git", "init", "-q", "-b", "main", "work")
    (tmp_path / "work" / "a").write_text("one\n")
    run(tmp_path / "work", "git", "add", "a")
    run(tmp_path / "work", "git", "commit", "-qm", "Start")
    return Repository(tmp_path / "work")


def test_a_commit_is_made_without_touching_branch_index_or_work_tree(repository: Repository):
    head = repository.head()
    commit = repository.make_commit(head, {"a": None, "folder/b": b"\x00bytes\n"}, "Change")
    assert repository.head() == head
    assert run(repository.root, "git", "status", "--porcelain") == ""
    assert repository.differing(head, commit) == ["a", "folder/b"]
    assert (repository.read(commit, "folder/b"), repository.read(commit, "a")) == (b"\x00bytes\n", None)


def test_a_commit_of_nothing_new_is_its_parent(repository: Repository):
    assert repository.make_commit(repository.head(), {"a": b"one\n"}, "Nothing") == repository.head()


def test_a_tag_is_always_newer_than_the_last(repository: Repository):
    last = 4_000_000_000
    tag = repository.make_tag("encoder@v1.0.0", repository.head(), "text", after=last)
    repository.publish({"refs/tags/encoder@v1.0.0": tag}, {})
    [found] = repository.tags("encoder@")
    assert (found.time, found.commit, found.message, found.tagger) == (last + 1, repository.head(), "text", "Ada")


def test_refs_are_set_all_or_none(repository: Repository):
    commit = repository.make_commit(repository.head(), {"a": b"two\n"}, "Change")
    taken = repository.make_tag("t1", repository.head(), "taken", after=0)
    repository.publish({"refs/tags/t1": taken}, {})
    other = {f"refs/tags/{name}": repository.make_tag(name, commit, "new", after=0) for name in ("t0", "t1")}
    with pytest.raises(RefsTaken):
        repository.publish({"refs/heads/main": commit, **other}, {"refs/heads/main": repository.head()})
    assert run(repository.root, "git", "tag").split() == ["t1"]
    assert repository.head() != commit


def test_a_branch_that_is_new_and_one_that_moved_are_distinguished(repository: Repository):
    head = repository.head()
    repository.publish({"refs/heads/models": head}, {"refs/heads/models": NO_OBJECT})
    one, two = (repository.make_commit(head, {"a": text}, "Change") for text in (b"1", b"2"))
    repository.publish({"refs/heads/models": one}, {"refs/heads/models": head})
    with pytest.raises(RefsTaken):
        repository.publish({"refs/heads/models": two}, {"refs/heads/models": head})


def test_what_git_says_is_one_line_without_credentials(repository: Repository):
    assert without_credentials("https://ada:secret@host/x.git") == "https://host/x.git"
    run(repository.root, "git", "remote", "add", "origin", "https://ada:secret@127.0.0.1:1/x.git")
    assert repository.url == "https://127.0.0.1:1/x.git"
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        repository.refresh()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_outside_of_any_repository_is_reported(tmp_path: Path):
    with pytest.raises(RegistryError, match="not in a git repository"):
        Repository.around(tmp_path)
    with pytest.raises(GitFailed, match="not found"):
        Repository(tmp_path / "absent").git("status")


def test_a_url_is_read_from_a_copy_that_is_gone_afterwards(repository: Repository):
    with opened(f"file://{repository.root}") as copy:
        assert copy.head() == repository.head()
    assert not copy.root.exists()
