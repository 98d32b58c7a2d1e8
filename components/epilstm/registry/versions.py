"""What is registered, read from git tags: versions, and the stages each has gone through.

A version is the tag ``encoder@v1.2.0``; a stage is given by the tag ``encoder#champion#7`` on the version's commit:
gto's names, so that ``gto show`` and ``dvc artifacts get`` read them too. The newest tag of a stage says who holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from epilstm.errors import RegistryError
from epilstm.registry.repository import Repository, TagRecord

Stage = Literal["challenger", "champion", "archived"]
STAGES: tuple[Stage, ...] = ("challenger", "champion", "archived")

Change = Literal["major", "minor", "patch"]


@dataclass(frozen=True)
class Version:
    """A registered version.

    Parameters
    ----------
    name : str
        ``v1.2.0``.
    time : int
        When it was registered, in seconds since 1970.
    stage : str or None
        The last stage that it was given; None where it has had none. A champion that another followed is archived.
    """

    name: str
    tag: str
    commit: str
    time: int
    stage: str | None

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts versions by number; releases only, which are all that the registry makes."""
        return numbers(self.name)


@dataclass(frozen=True)
class Assignment:
    """A stage that was given to a version."""

    version: str
    stage: str
    tag: TagRecord


@dataclass(frozen=True)
class Registered:
    """All that is registered of one artifact.

    Parameters
    ----------
    versions : list of Version
        By number.
    assignments : list of Assignment
        In the order in which they were made.
    newest_time : int
        Latest time of any of its tags; 0 where there is none.
    counters : mapping of str to int
        Highest number of a tag of each stage.
    """

    artifact: str
    versions: list[Version]
    assignments: list[Assignment]
    newest_time: int
    counters: Mapping[str, int]

    def version(self, wanted: str) -> Version:
        """A version by its name (``v1.2.0``, ``1.2.0``), its stage, or ``latest``.

        Raises
        ------
        RegistryError
            There is none.
        """
        if wanted in STAGES:
            holder = self.holder(wanted)
            if holder is None:
                raise RegistryError(f"{self.artifact}: no version is {wanted}; {self._known()}")
            return holder
        if wanted == "latest" and self.versions:
            return self.versions[-1]
        name = wanted.rpartition("@")[2]
        name = name if name.startswith("v") else f"v{name}"
        for version in self.versions:
            if version.name == name:
                return version
        raise RegistryError(f"{self.artifact}: no version {wanted}; {self._known()}")

    def _known(self) -> str:
        if not self.versions:
            return "nothing is registered yet ('epilstm model register')"
        return f"registered are {', '.join(version.name for version in self.versions)}"

    def holder(self, stage: str) -> Version | None:
        """Version that a stage was last given to."""
        names = [assignment.version for assignment in self.assignments if assignment.stage == stage]
        return next((version for version in self.versions if names and version.name == names[-1]), None)

    @property
    def champion(self) -> Version | None:
        """The version that is served."""
        return self.holder("champion")

    def champions(self) -> list[Version]:
        """Champions that a rollback goes down, the present one last.

        Going back to the champion before takes the one left off the list, so that rolling back twice goes back two.
        """
        line: list[str] = []
        for assignment in self.assignments:
            if assignment.stage != "champion" or line[-1:] == [assignment.version]:
                continue
            if line[-2:-1] == [assignment.version]:
                line.pop()
            else:
                line.append(assignment.version)
        by_name = {version.name: version for version in self.versions}
        return [by_name[name] for name in line if name in by_name]

    def was_rolled_back(self, version: Version) -> bool:
        """Whether a version was champion and someone went back to the one before it."""
        was_champion = any((each.version, each.stage) == (version.name, "champion") for each in self.assignments)
        return was_champion and version not in self.champions()

    def next_version(self, change: Change) -> str:
        """Name of the version to come after the last one; the first is ``v1.0.0``."""
        if not self.versions:
            return "v1.0.0"
        major, minor, patch = self.versions[-1].order
        if change == "major":
            return f"v{major + 1}.0.0"
        return f"v{major}.{minor + 1}.0" if change == "minor" else f"v{major}.{minor}.{patch + 1}"


def numbers(version: str) -> tuple[int, ...]:
    """(major, minor, patch) of a version's name."""
    return tuple(int(number) for number in version.removeprefix("v").split("."))


def read_registered(repository: Repository, artifact: str) -> Registered:
    """What a repository has registered of an artifact."""
    return from_tags(artifact, [*repository.tags(f"{artifact}@"), *repository.tags(f"{artifact}#")])


def from_tags(artifact: str, tags: Sequence[TagRecord]) -> Registered:
    """What tags say is registered of an artifact; other tags, lightweight ones and prereleases are left out."""
    from gto.constants import Action
    from gto.tag import parse_name

    registrations: dict[str, TagRecord] = {}
    events: list[tuple[int, int, str, TagRecord]] = []
    counters: dict[str, int] = {}
    for tag in tags:
        parsed = parse_name(tag.name, raise_on_fail=False)
        if not parsed or parsed["name"] != artifact:
            continue
        if parsed["action"] == Action.REGISTER and all(part.isdigit() for part in parsed["version"][1:].split(".")):
            registrations[parsed["version"]] = tag
        elif parsed["action"] == Action.ASSIGN:
            stage, counter = parsed["stage"], parsed.get("counter", 0)
            counters[stage] = max(counters.get(stage, 0), counter)
            events.append((tag.time, counter, stage, tag))
    by_commit = {tag.commit: name for name, tag in registrations.items()}
    assignments = [
        Assignment(by_commit[tag.commit], stage, tag)
        for _, _, stage, tag in sorted(events, key=lambda event: event[:2])
        if tag.commit in by_commit
    ]
    stages = {assignment.version: assignment.stage for assignment in assignments}
    versions = [Version(name, tag.name, tag.commit, tag.time, stages.get(name)) for name, tag in registrations.items()]
    return Registered(
        artifact,
        sorted(versions, key=lambda version: version.order),
        assignments,
        max((tag.time for tag in tags), default=0),
        counters,
    )


def version_tag(artifact: str, version: str) -> str:
    """Name of a version's tag, as gto forms it."""
    from gto.constants import Action
    from gto.tag import name_tag

    return str(name_tag(Action.REGISTER, artifact, version=version, simple=True))


def next_stage_tag(registered: Registered, stage: Stage) -> str:
    """Name of a stage's next tag, as gto forms it.

    Each stage counts for itself, so that of two that give the same stage at the same time one finds the name taken,
    whatever else was tagged meanwhile.
    """
    from gto.constants import Action
    from gto.tag import name_tag

    counter = registered.counters.get(stage, 0) + 1
    return f"{name_tag(Action.ASSIGN, registered.artifact, stage=stage, simple=True)}#{counter}"
