"""Git, as far as the registry needs it: commits and tags made without touching the work tree, pushed all or none."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import RegistryError

#: What git writes where an object name is expected and there is none.
NO_OBJECT = "0" * 40


class RefsTaken(RegistryError):
    """The other repository did not accept the refs: one of them is there already, or its branch has moved on."""


class GitFailed(RegistryError):
    """A git command failed."""


@dataclass(frozen=True)
class TagRecord:
    """An annotated tag.

    Parameters
    ----------
    commit : str
        What it points at.
    time : int
        Seconds since 1970.
    """

    name: str
    commit: str
    time: int
    message: str
    tagger: str


@dataclass(frozen=True)
class Repository:
    """A git repository.

    Parameters
    ----------
    root : Path
        Its work tree, or the repository itself where it is bare.
    remote : str
        Name of the shared repository (``origin``); where there is none of that name, this one is the registry.
    """

    root: Path
    remote: str = "origin"

    @classmethod
    def around(cls, path: Path, remote: str = "origin") -> Repository:
        """The repository that a folder belongs to.

        Raises
        ------
        RegistryError
            It belongs to none.
        """
        try:
            top = Repository(path, remote).git("rev-parse", "--show-toplevel")
        except GitFailed as error:
            raise RegistryError(f"{path}: not in a git repository; the registry is one ({error})") from error
        return cls(Path(top), remote)

    def git(self, *arguments: str, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
        """What a git command prints, without its last newline.

        Raises
        ------
        GitFailed
            It fails; the message has git's last line.
        """
        return self._run(arguments, (text or "").encode(), environment).decode().removesuffix("\n")

    def _run(self, arguments: tuple[str, ...], fed: bytes, environment: Mapping[str, str] | None) -> bytes:
        # Never a prompt: in a container it would wait for ever. The messages are read, so they must be English.
        settings = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(environment or {})}
        try:
            done = subprocess.run(["git", *arguments], cwd=self.root, input=fed, capture_output=True, env=settings)
        except FileNotFoundError as error:
            missing = "git" if self.root.is_dir() else str(self.root)
            raise GitFailed(f"{missing}: not found; the registry needs git and a repository") from error
        if done.returncode:
            lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
            said = without_credentials(said.removeprefix("fatal: ").removeprefix("error: "))
            raise GitFailed(f"git {arguments[0]}: {said}")
        return done.stdout

    @property
    def url(self) -> str | None:
        """Where the shared repository lies, as messages name it: without credentials; None where there is none."""
        if self.remote not in self.git("remote").split():
            return None
        return without_credentials(self.git("remote", "get-url", self.remote))

    def head(self) -> str:
        """Commit that is checked out.

        Raises
        ------
        RegistryError
            There is no commit yet.
        """
        try:
            return self.git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except GitFailed as error:
            raise RegistryError(f"{self.root}: no commit yet; commit the pipeline's files first") from error

    def branch(self) -> str | None:
        """Branch that is checked out; None where HEAD is detached."""
        try:
            return self.git("symbolic-ref", "--quiet", "--short", "HEAD")
        except GitFailed:
            return None

    def commit_of(self, ref: str) -> str | None:
        """Commit that a ref names; None where there is no such ref."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        except GitFailed:
            return None

    def changed(self) -> list[str]:
        """Tracked paths whose content, in the index or the work tree, is not that of HEAD."""
        return [path for path in self.git("diff", "--name-only", "-z", "HEAD").split("\0") if path]

    def differing(self, one: str, other: str) -> list[str]:
        """Paths in which two commits differ."""
        return [path for path in self.git("diff-tree", "-r", "--name-only", "-z", one, other).split("\0") if path]

    def tracked(self, path: str) -> bool:
        """Whether git has a file, or any file in a folder."""
        return bool(self.git("ls-files", "--", path))

    def read(self, commit: str, path: str) -> bytes | None:
        """A file's content at a commit; None where it is not there."""
        if not self.git("ls-tree", "--name-only", commit, "--", path):
            return None
        return self._run(("cat-file", "blob", f"{commit}:{path}"), b"", None)

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether a commit is another one's ancestor, or it itself."""
        try:
            self.git("merge-base", "--is-ancestor", one, other)
        except GitFailed:
            return False
        return True

    def refresh(self) -> None:
        """Bring in the shared repository's branches and tags.

        Local tags that differ from the shared ones are left as they are: `tag_conflicts` names them.

        Raises
        ------
        RegistryError
            It cannot be reached.
        """
        url = self.url
        if url is None:
            return
        try:
            self.git("fetch", "--quiet", "--no-tags", self.remote, f"+refs/heads/*:refs/remotes/{self.remote}/*")
            self.git(
                "fetch", "--quiet", "--no-tags", self.remote, "refs/tags/*:refs/shared-tags/*", "--prune", "--force"
            )
        except GitFailed as error:
            raise RegistryError(f"{url}: cannot be reached: {error}; nothing was registered or changed") from error
        own = self._tag_objects("refs/tags")
        shared = self._tag_objects("refs/shared-tags")
        missing = [f"update refs/tags/{name} {found}\n" for name, found in shared.items() if name not in own]
        if missing:
            self.git("update-ref", "--stdin", text="".join(missing))

    def _tag_objects(self, folder: str) -> dict[str, str]:
        output = self.git("for-each-ref", "--format=%(objectname) %(refname)", folder)
        rows = (line.split(" ", 1) for line in output.splitlines())
        return {name.removeprefix(f"{folder}/"): identity for identity, name in rows}

    def tag_conflicts(self, prefix: str) -> list[str]:
        """Tags that the shared repository has not, or has with other content, than here; by name.

        Parameters
        ----------
        prefix : str
            Names considered begin with it.
        """
        if self.url is None:
            return []
        shared = self._tag_objects("refs/shared-tags")
        own = self._tag_objects("refs/tags")
        return sorted(name for name, found in own.items() if name.startswith(prefix) and shared.get(name) != found)

    def tags(self, prefix: str) -> list[TagRecord]:
        """Annotated tags whose names begin with a prefix, oldest first; of the shared repository where there is one."""
        folder = "refs/tags" if self.url is None else "refs/shared-tags"
        fields = "%00".join(
            ["%(refname)", "%(objecttype)", "%(*objectname)", "%(taggerdate:unix)", "%(taggername)", "%(contents)"]
        )
        output = self.git("for-each-ref", f"--format={fields}%01", folder)
        found = []
        for entry in output.split("\1"):
            if not entry.strip():
                continue
            name, kind, commit, seconds, tagger, message = entry.lstrip("\n").split("\0")
            name = name.removeprefix(f"{folder}/")
            if kind == "tag" and name.startswith(prefix):
                found.append(TagRecord(name, commit, int(seconds), message.strip(), tagger))
        return sorted(found, key=lambda tag: (tag.time, tag.name))

    def make_commit(self, parent: str, files: Mapping[str, bytes | None], message: str) -> str:
        """Commit that differs from its parent in some files; no ref points to it yet.

        Parameters
        ----------
        files : mapping of str to bytes or None
            Content by path; None where the file is to be gone.

        Returns
        -------
        str
            The parent itself where nothing differs.
        """
        self.require_identity()
        # Not in the repository's own folder: after a kill nothing is left there.
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", parent, environment=index)
            for path, content in files.items():
                if content is None:
                    self.git("update-index", "--force-remove", "--", path, environment=index)
                    continue
                blob = self._run(("hash-object", "-w", "--stdin"), content, None).decode().strip()
                self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", environment=index)
            tree = self.git("write-tree", environment=index)
        if tree == self.git("rev-parse", f"{parent}^{{tree}}"):
            return parent
        return self.git("commit-tree", tree, "-p", parent, text=message)

    def make_tag(self, name: str, commit: str, message: str, after: int) -> str:
        """Annotated tag object; no ref points to it yet.

        Parameters
        ----------
        after : int
            The tag's time is later than this, in seconds since 1970: what is newest is read from the tags' times.
        """
        self.require_identity()
        when = max(int(time.time()), after + 1)
        identity = self.git("var", "GIT_COMMITTER_IDENT", environment={"GIT_COMMITTER_DATE": f"{when} +0000"})
        text = f"object {commit}\ntype commit\ntag {name}\ntagger {identity}\n\n{message.rstrip()}\n"
        return self.git("mktag", text=text)

    def require_identity(self) -> None:
        """Raise an error where git knows no name and address for commits and tags.

        Raises
        ------
        RegistryError
            It knows none.
        """
        try:
            self.git("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
            self.git("-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT")
        except GitFailed as error:
            raise RegistryError(
                "git has no name and address for commits; set user.name and user.email, or GIT_AUTHOR_NAME, "
                "GIT_AUTHOR_EMAIL, GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL"
            ) from error

    def publish(self, refs: Mapping[str, str], expected: Mapping[str, str]) -> None:
        """Set refs, all or none, in the shared repository and then here.

        Parameters
        ----------
        refs : mapping of str to str
            Object by full name (``refs/heads/main``). A tag must be new, a branch must move forward.
        expected : mapping of str to str
            What each branch points at now, `NO_OBJECT` where it is to be new; used where there is no shared repository.

        Raises
        ------
        RefsTaken
            Another one was faster.
        RegistryError
            The shared repository cannot be reached or refuses.
        """
        url = self.url
        if url is not None:
            specs = [f"{identity}:{name}" for name, identity in refs.items()]
            try:
                self.git("push", "--atomic", "--porcelain", self.remote, *specs)
            except GitFailed as error:
                if self._moved(refs):
                    raise RefsTaken(f"{url}: another publisher was faster ({error})") from error
                raise RegistryError(
                    f"{url}: does not take {', '.join(refs)}: {error}; nothing was registered or changed, run it again "
                    "when that is fixed"
                ) from error
            self.refresh()
            return
        lines = ["start"]
        for name, identity in refs.items():
            lines.append(f"update {name} {identity} {expected.get(name, NO_OBJECT)}")
        try:
            self.git("update-ref", "--stdin", text="\n".join([*lines, "prepare", "commit", ""]))
        except GitFailed as error:
            if self._moved(refs):
                raise RefsTaken(f"{self.root}: another publisher was faster ({error})") from error
            raise

    def _moved(self, refs: Mapping[str, str]) -> bool:
        """Whether a ref that was to be set stands at something that does not lead to it."""
        try:
            output = self.git("ls-remote", self.remote, *refs) if self.url else self.git("show-ref")
        except GitFailed:
            return False
        there = {name: identity for identity, name in (line.split() for line in output.splitlines() if line.strip())}
        for name, identity in refs.items():
            found = there.get(name)
            if found in (None, identity):
                continue
            if name.startswith("refs/tags/") or not self.is_ancestor(found, identity):
                return True
        return False

    def follow(self, branch: str, commit: str, ours: Collection[str], records: Collection[str]) -> None:
        """Let a local branch, and the work tree if it has it checked out, follow a commit that was published from here.

        Parameters
        ----------
        ours : collection of str
            Paths whose content in the work tree is the commit's already.
        records : collection of str
            Paths that nobody else writes.
        """
        old = self.commit_of(f"refs/heads/{branch}")
        if old is not None and not self.is_ancestor(old, commit):
            return
        if branch != self.branch():
            if old is not None:
                self.git("update-ref", f"refs/heads/{branch}", commit, old)
            return
        paths = self.differing(old, commit) if old is not None else []
        # Where this repository is the registry, the branch is there already, and the index alone is behind.
        output = self.git("diff-index", "--cached", "--name-only", "-z", commit).split("\0")
        paths += [path for path in output if path and path not in paths and (path in ours or path in records)]
        listed = self.git("ls-tree", "-r", "-z", commit, "--", *paths).split("\0") if paths else []
        entries = {entry.partition("\t")[2]: entry for entry in listed if entry}
        lines = [entries.get(path, f"0 {NO_OBJECT}\t{path}") for path in paths]
        # The branch last: a kill before it leaves the old commit with the new one staged.
        self.git("update-index", "-z", "--index-info", text="".join(f"{line}\0" for line in lines))
        for path in paths:
            if path in ours:
                continue
            if path in entries:
                self.git("checkout-index", "--force", "--", path)
            else:
                (self.root / path).unlink(missing_ok=True)
        self.git("update-ref", f"refs/heads/{branch}", commit, old or NO_OBJECT)


def without_credentials(text: str) -> str:
    """Text with the names and passwords of URLs taken out."""
    return re.sub(r"(://)[^/@\s]+@", r"\1", text)


@contextmanager
def opened(place: str, remote: str = "origin") -> Iterator[Repository]:
    """A repository to read, from a folder or a URL; of a URL a bare copy that is gone afterwards.

    Raises
    ------
    RegistryError
        There is none.
    """
    if Path(place).is_dir() and not _is_bare(Path(place)):
        yield Repository.around(Path(place), remote)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.git"
        try:
            Repository(Path(folder)).git("clone", "--quiet", "--bare", "--", place, str(copy))
        except GitFailed as error:
            named = without_credentials(place)
            raise RegistryError(f"{named}: no repository there, or it cannot be reached: {error}") from error
        local = Repository(copy, remote)
        # A copy is as shared as what it was made from.
        local.git("remote", "remove", "origin")
        yield local


def _is_bare(path: Path) -> bool:
    return not (path / ".git").exists() and (path / "HEAD").is_file() and (path / "objects").is_dir()
