"""Registering a version and giving stages: content first, then one push of commit and tags that all appear or none.

What a kill leaves behind at any point is invisible to others: objects in the DVC remote that nothing names, or git
objects that no ref points to. Running it again finds what is registered already by the encoder's fingerprint, and
resumes from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from epilstm.console import log
from epilstm.errors import DataError, RegistryError
from epilstm.files.outputs import MANIFEST, read_json, replacing, to_json
from epilstm.model.encoder_folder import read_encoder_manifest
from epilstm.params import SECTIONS, load_section
from epilstm.registry.card import CARD_FILE, CardFacts, model_card
from epilstm.registry.provenance import PROVENANCE_FILE, Provenance, collect
from epilstm.registry.repository import NO_OBJECT, RefsTaken, Repository
from epilstm.registry.storage import Storage
from epilstm.registry.versions import Change, Registered, Stage, Version, next_stage_tag, read_registered, version_tag
from epilstm.steps.promote.decision import DECISION_FILE, Decision, read_decision
from epilstm.store.evaluation_results import read_results
from epilstm.store.manifests import MatrixManifest, read_manifest

#: Artifact of ``dvc.yaml`` that is registered, and the folder of its card and provenance in git.
ARTIFACT = "encoder"
FOLDER = "registry"

DECISION_RECORD_FILE = "decision.md"


@dataclass(frozen=True)
class Registration:
    """A version and whether this run made it."""

    version: Version
    created: bool


@dataclass(frozen=True)
class Origin:
    """What ran the pipeline, where it was not ``dvc repro`` on this machine.

    Parameters
    ----------
    image : str or None
        Container image, by digest.
    pipeline_ir_sha256 : str or None
        Of the compiled pipeline.
    """

    image: str | None = None
    pipeline_ir_sha256: str | None = None


@dataclass(frozen=True)
class Request:
    """What to register, and where.

    Parameters
    ----------
    artifact : str
        Of ``dvc.yaml``.
    branch : str, optional
        Branch to commit to; the one that is checked out if not given.
    change : {'major', 'minor', 'patch'}, optional
        What the version counts up; if not given, major where clients would notice (tracks, size, bins), else minor.
    decision : Path, optional
        ``decision.json`` of the gate about this encoder.
    dvc_remote : str, optional
        Name of the DVC remote; the default one if not given.
    verify_everything : bool
        Read back every file of the remote, not the models' only.
    elsewhere : mapping of str to str, optional
        Paths that differ from those of ``dvc.yaml``, as `epilstm.registry.adoption.adopt` gives them.
    """

    artifact: str = ARTIFACT
    branch: str | None = None
    change: Change | None = None
    decision: Path | None = None
    origin: Origin = Origin()
    dvc_remote: str | None = None
    verify_everything: bool = False
    elsewhere: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _Candidate:
    """The work tree's encoder, checked and about to be registered.

    `files` are committed as they are in the work tree, `decision` are the files of the gate's decision, `registered`
    is what the shared repository has.
    """

    artifact: str
    branch: str
    storage: Storage
    path: str
    places: dict[str, str]
    files: list[str]
    provenance: Provenance
    decision: dict[str, bytes]
    registered: Registered

    @property
    def models(self) -> list[str]:
        """Paths that are read back from the DVC remote."""
        return [self.path, *(self.places[name] for name in ("model", "evaluation") if name in self.places)]

    @property
    def records(self) -> list[str]:
        """Paths in git of the registry's own files."""
        return [record_path(self.artifact, each) for each in _RECORDS]


def record_path(artifact: str, name: str) -> str:
    """Where git keeps a file about an artifact: the same at every version."""
    return f"{FOLDER}/{artifact}/{name}"


def provenance_at(repository: Repository, version: Version, artifact: str = ARTIFACT) -> Provenance:
    """Provenance of a registered version.

    Raises
    ------
    RegistryError
        Its tag points to a commit without one: the registry did not make it.
    """
    content = repository.read(version.commit, record_path(artifact, PROVENANCE_FILE))
    if content is None:
        raise RegistryError(
            f"{version.tag}: its commit {version.commit[:12]} has no {record_path(artifact, PROVENANCE_FILE)}; the tag "
            "was not made by 'epilstm model register': delete it, here and in the shared repository"
        )
    try:
        return Provenance.model_validate_json(content)
    except ValidationError as error:
        raise RegistryError(
            f"{version.tag}: {record_path(artifact, PROVENANCE_FILE)} is unusable; another version of epilstm wrote it"
        ) from error


def decision_at(repository: Repository, version: Version, artifact: str = ARTIFACT) -> Decision | None:
    """The gate's decision on a registered version; None where there is none."""
    content = repository.read(version.commit, record_path(artifact, DECISION_FILE))
    return None if content is None else Decision.model_validate_json(content)


def current(repository: Repository, artifact: str = ARTIFACT) -> Registered:
    """What the shared repository has registered, brought up to date.

    Raises
    ------
    RegistryError
        It cannot be reached, or a tag of the artifact is another one here than there.
    """
    repository.refresh()
    for sign in ("@", "#"):
        conflicts = repository.tag_conflicts(f"{artifact}{sign}")
        if conflicts:
            raise RegistryError(
                f"tag {conflicts[0]}: the one in {repository.root} is not in {repository.url}, or has other content "
                f"there; delete it here with 'git tag --delete {conflicts[0]}', then run it again"
            )
    return read_registered(repository, artifact)


def register(repository: Repository, request: Request = Request()) -> Registration:
    """Register what is in the work tree as the next version, with the stage challenger.

    Raises
    ------
    RefsTaken
        Another publisher was faster; nothing of this one is visible.
    RegistryError, DataError
        The work tree, the remote or the shared repository is not as it must be; nothing is visible.
    """
    candidate = _candidate(repository, request)
    candidate.storage.push()
    candidate.storage.verify(candidate.models, request.verify_everything)
    same = find_by_fingerprint(repository, candidate.registered, candidate.provenance.encoder_fingerprint)
    if same is not None:
        paths = [*candidate.files, *candidate.records]
        unchanged = [name for name in paths if _same(repository, same.commit, name)]
        repository.follow(candidate.branch, same.commit, unchanged, candidate.records)
        return Registration(same, created=False)
    name = candidate.registered.next_version(request.change or _change(repository, candidate))
    return Registration(_publish(repository, candidate, name), created=True)


def _candidate(repository: Repository, request: Request) -> _Candidate:
    """Check the work tree, the decision and the shared repository; nothing is written."""
    artifact = request.artifact
    branch, storage = require_publishable(repository, request.branch, artifact, request.dvc_remote)
    places = {name: path for name, path in {**storage.places(), **(request.elsewhere or {})}.items() if path}
    path = storage.artifact_path(artifact)
    storage.require_current([path, *(places[name] for name in ("model", "evaluation") if name in places)])
    registered = current(repository, artifact)
    files = owned_files(repository, storage)
    origin = request.origin
    provenance = collect(repository.root, places, origin.image, origin.pipeline_ir_sha256)
    for step, changed in provenance.uncommitted.items():
        log.warning(
            f"{step} ran with changes that were not committed ({', '.join(changed)}): no commit holds what it ran, and "
            "the model card says so"
        )
    if request.elsewhere is None:
        _warn_of_other_params(repository.root / places["params"], provenance)
    if provenance.encoder_fingerprint != read_fingerprint(repository.root / path):
        raise DataError(f"{path}: not the encoder that {places['encoder']} is; give 'artifacts:' its path")
    decision = _decision_about(request.decision, provenance) if request.decision else {}
    return _Candidate(artifact, branch, storage, path, places, files, provenance, decision, registered)


def _publish(repository: Repository, candidate: _Candidate, name: str) -> Version:
    """Commit the candidate's files, and push commit and tags at once."""
    artifact, branch, registered = candidate.artifact, candidate.branch, candidate.registered
    parent, tip = _parent(repository, branch, candidate.files, artifact)
    records = _records(repository.root, candidate, name)
    content = {each: _content(repository.root, each) for each in candidate.files} | records
    content = {
        each: value for each, value in content.items() if value is not None or repository.read(parent, each) is not None
    }
    commit = repository.make_commit(parent, content, f"Register {artifact} {name}")
    tags = {
        version_tag(artifact, name): f"{artifact} {name}",
        next_stage_tag(registered, "challenger"): f"{artifact} {name} is a challenger",
    }
    refs = {f"refs/heads/{branch}": commit} | {
        f"refs/tags/{tag}": repository.make_tag(tag, commit, text, registered.newest_time) for tag, text in tags.items()
    }
    try:
        repository.publish(refs, {f"refs/heads/{branch}": tip or NO_OBJECT})
    except RefsTaken as error:
        raise RefsTaken(_who_was_faster(repository, artifact, registered, error)) from error
    for each, value in content.items():
        if each not in candidate.files:
            _write(repository.root / each, value)
    repository.follow(branch, commit, list(content), candidate.records)
    version = read_registered(repository, artifact).version(name)
    log.info(f"{version.tag}: registered at {commit[:12]} on {branch}", extra={"fields": {"version": name}})
    return version


def _records(root: Path, candidate: _Candidate, name: str) -> dict[str, bytes | None]:
    """The registry's own files about a version by their paths in git; None for those that it has not."""
    places, decision = candidate.places, candidate.decision
    encoder = read_encoder_manifest(root / candidate.path)
    matrix = read_manifest(root / places["matrix"], MatrixManifest)
    facts = CardFacts(
        artifact=candidate.artifact,
        version=name,
        provenance=candidate.provenance,
        encoder=encoder,
        matrix=matrix.with_split(encoder.split or matrix.split),
        model=read_json(root / places["model"] / MANIFEST),
        evaluation=read_results(root / places["evaluation"]) if "evaluation" in places else None,
        decision=Decision.model_validate_json(decision[DECISION_FILE]) if decision else None,
    )
    written: dict[str, bytes | None] = {
        PROVENANCE_FILE: to_json(candidate.provenance.model_dump(mode="json")).encode(),
        CARD_FILE: model_card(facts).encode(),
        DECISION_FILE: None,
        DECISION_RECORD_FILE: None,
        **decision,
    }
    return {record_path(candidate.artifact, each): value for each, value in written.items()}


def require_publishable(
    repository: Repository, branch: str | None, artifact: str = ARTIFACT, dvc_remote: str | None = None
) -> tuple[str, Storage]:
    """Say before any work what would stand in the way of a registration.

    Returns
    -------
    str
        Branch to commit to.

    Raises
    ------
    RegistryError
        HEAD is detached and no branch is given, git knows no name and address, there is no DVC remote or no such
        artifact, or something that the model follows from is in neither git nor DVC.
    """
    branch = branch or repository.branch()
    if branch is None:
        raise RegistryError("HEAD is detached: say which branch to commit to with --branch, or check one out")
    _require_branch_name(repository, branch)
    repository.require_identity()
    repository.head()
    storage = Storage(repository.root, dvc_remote)
    storage.artifact_path(artifact)
    storage.where()
    _require_clean(repository, storage, owned_files(repository, storage), artifact)
    return branch, storage


def give_stages(repository: Repository, registered: Registered, stages: Mapping[str, Stage], reason: str) -> Registered:
    """Give stages to versions, all or none.

    Parameters
    ----------
    registered : Registered
        As it was when this was decided: where another one has given one of these stages since, this does nothing.
    stages : mapping of str to str
        By version.
    reason : str
        Kept in the tags.

    Raises
    ------
    RefsTaken
        Another one was faster.
    """
    refs = {}
    for name, stage in stages.items():
        version = registered.version(name)
        tag = next_stage_tag(registered, stage)
        refs[f"refs/tags/{tag}"] = repository.make_tag(
            tag, version.commit, f"{registered.artifact} {version.name} is {stage}\n\n{reason}", registered.newest_time
        )
    try:
        repository.publish(refs, {})
    except RefsTaken as error:
        raise RefsTaken(_who_was_faster(repository, registered.artifact, registered, error)) from error
    return read_registered(repository, registered.artifact)


def promote(
    repository: Repository,
    wanted: str,
    *,
    artifact: str = ARTIFACT,
    decision: Path | None = None,
    force: str | None = None,
) -> tuple[Registered, bool]:
    """Make a version the champion, and archive the one before.

    Parameters
    ----------
    wanted : str
        Version or stage.
    decision : Path, optional
        ``decision.json`` of the gate about this version; the one that it was registered with if not given.
    force : str, optional
        Reason to do so without, or against, the gate's decision; kept in the tag.

    Returns
    -------
    Registered
        As it is then.
    bool
        Whether anything changed.

    Raises
    ------
    RegistryError
        There is no such version, or the gate did not decide so and no reason is given.
    RefsTaken
        Another one was faster.
    """
    registered = current(repository, artifact)
    version = registered.version(wanted)
    before = registered.champion
    if before is not None and before.name == version.name:
        return registered, False
    if force is not None and not force.strip():
        raise RegistryError("--force needs a reason; it is kept in the registry")
    if force is not None:
        reason = f"forced: {force.strip()}"
    else:
        found = decision_at(repository, version, artifact) if decision is None else read_decision(decision)
        _require_decision(found, version, before, repository, artifact)
        if registered.was_rolled_back(version) and not (found and found.forced):
            raise RegistryError(
                f"{version.tag}: was champion and was rolled back, which the gate does not know; give --force a reason "
                "to make it champion again"
            )
        reason = "\n".join(["the gate decided so:", *(found.reasons if found else [])])
    stages: dict[str, Stage] = {version.name: "champion"}
    if before is not None:
        stages[before.name] = "archived"
    return give_stages(repository, registered, stages, reason), True


def _require_decision(
    decision: Decision | None, version: Version, champion: Version | None, repository: Repository, artifact: str
) -> None:
    remedy = "run the gate ('epilstm promote') and give its --decision, or give --force a reason"
    if decision is None:
        raise RegistryError(f"{version.tag}: has no decision of the gate; {remedy}")
    if decision.challenger.encoder_fingerprint != provenance_at(repository, version, artifact).encoder_fingerprint:
        raise RegistryError(f"{version.tag}: the decision is about another encoder; {remedy}")
    if decision.decision != "promote":
        raise RegistryError(f"{version.tag}: the gate decided to hold it ({'; '.join(decision.reasons)}); {remedy}")
    compared_with = decision.champion.encoder_fingerprint if decision.champion else None
    present = provenance_at(repository, champion, artifact).encoder_fingerprint if champion else None
    if compared_with != present and decision.forced is None:
        raise RegistryError(
            f"{version.tag}: was compared with another champion than the present one "
            f"({champion.name if champion else 'none'}); run the gate again, or give --force a reason"
        )


def rollback(repository: Repository, *, artifact: str = ARTIFACT, reason: str = "rollback") -> Registered:
    """Make the champion before the present one champion again.

    Raises
    ------
    RegistryError
        There is none before.
    RefsTaken
        Another one was faster.
    """
    registered = current(repository, artifact)
    line = registered.champions()
    if len(line) < 2:
        present = f"{line[-1].name} is the first one" if line else "there has been none"
        raise RegistryError(f"{artifact}: no earlier champion to go back to; {present}")
    return give_stages(repository, registered, {line[-2].name: "champion", line[-1].name: "archived"}, reason)


def find_by_fingerprint(repository: Repository, registered: Registered, encoder_fingerprint: str) -> Version | None:
    """The version that an encoder is registered as.

    Raises
    ------
    RegistryError
        A version's tag points to a commit that the registry did not make.
    """
    for version in reversed(registered.versions):
        if provenance_at(repository, version, registered.artifact).encoder_fingerprint == encoder_fingerprint:
            return version
    return None


def read_fingerprint(encoder: Path) -> str:
    """Fingerprint of an encoder folder."""
    from epilstm.files.outputs import fingerprint

    return fingerprint(encoder)


def owned_files(repository: Repository, storage: Storage) -> list[str]:
    """Files that a registration commits as they are in the work tree: locks, params and metrics."""
    metrics = [output.path for output in storage.outputs if output.in_git]
    ignore = [path for path in repository.changed() if Path(path).name == ".gitignore"]
    found = dict.fromkeys([*storage.definitions(), storage.places()["params"], *metrics, *ignore])
    return [path for path in found if (repository.root / path).is_file() or repository.tracked(path)]


def _content(root: Path, path: str) -> bytes | None:
    return (root / path).read_bytes() if (root / path).is_file() else None


def _require_clean(repository: Repository, storage: Storage, files: Sequence[str], artifact: str) -> None:
    own = {*files, *(record_path(artifact, each) for each in _RECORDS)}
    left = [path for path in repository.changed() if path not in own]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise RegistryError(
            f"{left[0]}{more}: changed but not committed, so nobody could make this model again; commit it (and run "
            "'dvc repro'), or restore it"
        )
    for path in storage.sources():
        if path not in own and not repository.tracked(path):
            raise RegistryError(f"{path}: a stage depends on it, but neither git nor DVC has it; add it to one of them")


def _warn_of_other_params(path: Path, provenance: Provenance) -> None:
    """Say where the params file, which is committed too, is no longer what the steps ran with."""
    for step, made in provenance.made.items():
        now = load_section(path, step, SECTIONS[step]).model_dump(mode="json")
        keys = sorted(key for key in {*now, *made.params} if now.get(key) != made.params.get(key))
        if keys:
            named = ", ".join(f"{step}.{key}" for key in keys)
            log.warning(f"{path.name}: {named} changed after {step} ran; the provenance has what it ran with")


_RECORDS = (PROVENANCE_FILE, CARD_FILE, DECISION_FILE, DECISION_RECORD_FILE)


def _require_branch_name(repository: Repository, branch: str) -> None:
    try:
        repository.git("check-ref-format", "--branch", branch)
    except RegistryError as error:
        raise RegistryError(f"--branch {branch}: not a usable branch name") from error


def _parent(repository: Repository, branch: str, files: Sequence[str], artifact: str) -> tuple[str, str | None]:
    """Commit to build on, and where the branch is now (None where it is to be new).

    Others may have registered since this clone's HEAD: then theirs is built on, if the code is the same.
    """
    head = repository.head()
    folder = "refs/heads" if repository.url is None else f"refs/remotes/{repository.remote}"
    tip = repository.commit_of(f"{folder}/{branch}")
    if tip is None or repository.is_ancestor(tip, head):
        return head, tip
    registered = f"{FOLDER}/"
    code = [path for path in repository.differing(head, tip) if path not in files and not path.startswith(registered)]
    if code:
        raise RegistryError(
            f"{branch}: has moved on to other code than what is checked out here ({code[0]}); bring it in and run "
            "'dvc repro' again, or register on a branch of its own with --branch"
        )
    return tip, tip


def _decision_about(path: Path, provenance: Provenance) -> dict[str, bytes]:
    decision = read_decision(path)
    if decision.challenger.encoder_fingerprint != provenance.encoder_fingerprint:
        raise RegistryError(f"{path}: a decision about another encoder; run the gate again")
    files = {DECISION_FILE: path.read_bytes()}
    text = path.with_suffix(".md")
    return files | ({DECISION_RECORD_FILE: text.read_bytes()} if text.is_file() else {})


def _change(repository: Repository, candidate: _Candidate) -> Change:
    versions = candidate.registered.versions
    if not versions:
        return "major"
    before = provenance_at(repository, versions[-1], candidate.artifact)
    return "minor" if before.interface == candidate.provenance.interface else "major"


def _same(repository: Repository, commit: str, path: str) -> bool:
    return repository.read(commit, path) == _content(repository.root, path)


def _who_was_faster(repository: Repository, artifact: str, before: Registered, error: RefsTaken) -> str:
    repository.refresh()
    now = read_registered(repository, artifact)
    known = {tag.tag.name for tag in before.assignments}
    new = [version.name for version in now.versions if version.name not in {each.name for each in before.versions}]
    given = [
        f"{each.version} {each.stage}"
        for each in now.assignments
        if each.tag.name not in known and each.version not in new
    ]
    what = [f"registered {artifact} {name}" for name in new] + [f"made {each}" for each in given]
    return (
        f"another publisher was faster: it has {' and '.join(what) or 'moved the branch on'}; nothing of this one is "
        f"visible, run it again ({error})"
    )


def _write(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as successor:
        successor.write_bytes(content)
