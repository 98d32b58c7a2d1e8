"""``epilstm model``: the registry of encoders. What it needs of dvc and gto is imported when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epilstm import console
from epilstm.errors import EpilstmError, RegistryError

if TYPE_CHECKING:
    from epilstm.registry.repository import Repository
    from epilstm.registry.versions import Registered

FolderPath = click.Path(path_type=Path)


def _repository_option(url: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    text = "Git repository: a folder or a URL." if url else "Folder of the git repository."
    return click.option("--repo", default=".", show_default=True, metavar="PLACE", help=text)


_artifact = click.option(
    "--artifact", default="encoder", show_default=True, metavar="NAME", help="Artifact of dvc.yaml."
)
_git_remote = click.option(
    "--git-remote", default="origin", show_default=True, metavar="NAME", help="Git remote that is the shared registry."
)
_dvc_remote = click.option("--remote", metavar="NAME", help="DVC remote; the default one if not given.")
_rollout = click.option(
    "--rollout", type=FolderPath, metavar="FILE", help="Roll-out file to write: what serving is to run."
)


@click.group(short_help="Register, promote, fetch and trace models.")
def model() -> None:
    """Register, promote, fetch and trace models.

    The registry is the git repository with its DVC remote: a version is a git tag (encoder@v1.2.0), a stage
    (challenger, champion, archived) is one too; the content lies in the DVC remote. 'gto show' and 'dvc artifacts get'
    read it as well.
    """


@model.command()
@_repository_option(url=False)
@_artifact
@_git_remote
@_dvc_remote
@click.option("--branch", metavar="NAME", help="Branch to commit to; the one that is checked out if not given.")
@click.option(
    "--bump",
    type=click.Choice(["major", "minor", "patch"]),
    help="What the version counts up; if not given, major where clients would notice, else minor.",
)
@click.option("--decision", type=FolderPath, metavar="FILE", help="The gate's decision.json, to be kept with it.")
@click.option("--image", metavar="REF", help="Container image that ran the pipeline, for the provenance.")
@click.option("--pipeline-ir", type=FolderPath, metavar="FILE", help="Compiled pipeline that ran, for the provenance.")
@click.option(
    "--adopt",
    "adopted",
    multiple=True,
    metavar="PORT=PATH",
    help="Take over what was made elsewhere: encoder, model, evaluation, params, samplesheet, signal and matrix (of "
    "these two the manifest is enough), metrics/NAME.json; repeatable.",
)
@click.option("--verify-everything", is_flag=True, help="Read back every file of the DVC remote, not the models' only.")
def register(
    repo: str,
    artifact: str,
    git_remote: str,
    remote: str | None,
    branch: str | None,
    bump: Any,
    decision: Path | None,
    image: str | None,
    pipeline_ir: Path | None,
    adopted: tuple[str, ...],
    verify_everything: bool,
) -> None:
    """Register the work tree's encoder as the next version, a challenger.

    Pushes the data to the DVC remote and reads the models back, then commits dvc.lock, params.yaml, metrics, a model
    card and the provenance, and pushes commit and tags at once. Run it again after a failure: it resumes.
    """
    from epilstm.files.outputs import sha256_file
    from epilstm.registry import adoption, publication

    console.set_up("model", 0)
    if pipeline_ir is not None and not pipeline_ir.is_file():
        raise RegistryError(f"--pipeline-ir {pipeline_ir}: no such file")
    origin = publication.Origin(image, sha256_file(pipeline_ir) if pipeline_ir else None)
    repository = _local(repo, git_remote)
    request = publication.Request(
        artifact=artifact,
        branch=branch,
        change=bump,
        decision=decision,
        origin=origin,
        dvc_remote=remote,
        verify_everything=verify_everything,
        elsewhere=adoption.adopt(repository.root, _adopted(adopted)) if adopted else None,
    )
    done = publication.register(repository, request)
    click.echo(f"{done.version.tag}{'' if done.created else ' (registered already)'}")


@model.command(name="list")
@_repository_option(url=True)
@_artifact
def list_versions(repo: str, artifact: str) -> None:
    """List the registered versions, the newest first."""
    from epilstm.registry.repository import opened
    from epilstm.registry.versions import read_registered

    console.set_up("model", 0)
    with opened(repo) as repository:
        _refresh(repository)
        registered = read_registered(repository, artifact)
    for version in reversed(registered.versions):
        when = datetime.fromtimestamp(version.time, UTC).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{version.name:<10} {_stage(registered, version.name):<11} {when}  {version.commit[:12]}")
    if not registered.versions:
        click.echo(f"{artifact}: nothing is registered yet", err=True)


@model.command()
@click.argument("version", default="champion")
@_repository_option(url=True)
@_artifact
def show(version: str, repo: str, artifact: str) -> None:
    """Show the model card of VERSION (v1.2.0, a stage, or latest)."""
    from epilstm.registry.card import CARD_FILE
    from epilstm.registry.publication import record_path
    from epilstm.registry.repository import opened
    from epilstm.registry.versions import read_registered

    console.set_up("model", 0)
    with opened(repo) as repository:
        _refresh(repository)
        registered = read_registered(repository, artifact)
        found = registered.version(version)
        card = repository.read(found.commit, record_path(artifact, CARD_FILE))
        if card is None:
            raise RegistryError(f"{found.tag}: its commit has no model card; 'epilstm model register' did not make it")
    click.echo(f"{found.tag}  {_stage(registered, found.name)}  {found.commit}", err=True)
    click.echo(card.decode(), nl=False)


@model.command()
@click.argument("version", default="challenger")
@_repository_option(url=False)
@_artifact
@_git_remote
@click.option("--decision", type=FolderPath, metavar="FILE", help="The gate's decision.json about this version.")
@click.option("--force", metavar="REASON", help="Promote without, or against, the gate; the reason is kept.")
@_rollout
@click.option(
    "--canary",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="Share of the traffic for the new champion, in the roll-out file.",
)
def promote(
    version: str,
    repo: str,
    artifact: str,
    git_remote: str,
    decision: Path | None,
    force: str | None,
    rollout: Path | None,
    canary: int,
) -> None:
    """Make VERSION (the challenger) the champion; the one before is archived."""
    from epilstm.registry import publication

    console.set_up("model", 0)
    repository = _local(repo, git_remote)
    registered, changed = publication.promote(repository, version, artifact=artifact, decision=decision, force=force)
    _report_champion(repository, registered, rollout, canary, "" if changed else " (already)")


@model.command()
@_repository_option(url=False)
@_artifact
@_git_remote
@click.option("--reason", default="rollback", show_default=True, metavar="TEXT", help="Kept in the registry.")
@_rollout
def rollback(repo: str, artifact: str, git_remote: str, reason: str, rollout: Path | None) -> None:
    """Make the champion before the present one champion again."""
    from epilstm.registry import publication

    console.set_up("model", 0)
    repository = _local(repo, git_remote)
    registered = publication.rollback(repository, artifact=artifact, reason=reason)
    _report_champion(repository, registered, rollout, 100, "")


@model.command()
@click.argument("version", default="champion")
@click.option("-o", "--output", type=FolderPath, required=True, metavar="PATH", help="Encoder folder to write.")
@_repository_option(url=True)
@_artifact
@_dvc_remote
@click.option("--allow-none", is_flag=True, help="Where nothing has that stage, write an empty folder.")
def get(version: str, output: Path, repo: str, artifact: str, remote: str | None, allow_none: bool) -> None:
    """Fetch the encoder VERSION (v1.2.0, a stage, or latest) and check it."""
    from epilstm.registry import fetching
    from epilstm.registry.repository import opened
    from epilstm.registry.versions import STAGES, read_registered

    console.set_up("model", 0)
    if allow_none and version in STAGES:
        with opened(repo) as repository:
            repository.refresh()
            if read_registered(repository, artifact).holder(version) is None:
                fetching.write_none(output)
                click.echo(f"{artifact}: no version is {version}", err=True)
                return
    done = fetching.fetch(repo, version, output, artifact=artifact, dvc_remote=remote)
    click.echo(f"{output}: {done.version.tag}{'' if done.downloaded else ' (there already)'}")


@model.command()
@click.argument("version", default="champion")
@_repository_option(url=True)
@_artifact
def lineage(version: str, repo: str, artifact: str) -> None:
    """Print what VERSION was made from, back to the sha256 of each bigWig.

    VERSION is v1.2.0, a stage, latest, or the path of an encoder folder, as served.
    """
    from epilstm.registry import provenance, publication
    from epilstm.registry.repository import opened
    from epilstm.registry.versions import read_registered

    console.set_up("model", 0)
    with opened(repo) as repository:
        _refresh(repository)
        registered = read_registered(repository, artifact)
        if Path(version).is_dir():
            identity = publication.read_fingerprint(Path(version))
            found = publication.find_by_fingerprint(repository, registered, identity)
            if found is None:
                raise RegistryError(f"{version}: no registered version is this encoder ({identity[:12]})")
        else:
            found = registered.version(version)
        lines = provenance.lineage(publication.provenance_at(repository, found, artifact), found.name)
    click.echo(lines)


def _adopted(pairs: tuple[str, ...]) -> dict[str, Path]:
    split = [pair.partition("=") for pair in pairs]
    for name, sign, path in split:
        if not (name and sign and path):
            raise RegistryError(f"--adopt {name}{sign}{path}: write it as PORT=PATH")
    return {name: Path(path) for name, _, path in split}


def _local(place: str, git_remote: str) -> Repository:
    from epilstm.registry.repository import Repository

    if not Path(place).is_dir():
        raise RegistryError(f"--repo {place}: not a folder; this changes the registry, so it needs a clone")
    return Repository.around(Path(place), git_remote)


def _refresh(repository: Repository) -> None:
    try:
        repository.refresh()
    except EpilstmError as error:
        console.log.warning(f"{error}; shown as of the last time")


def _stage(registered: Registered, name: str) -> str:
    return next(version.stage or "" for version in registered.versions if version.name == name)


def _report_champion(
    repository: Repository, registered: Registered, file: Path | None, canary: int, suffix: str
) -> None:
    from epilstm.registry.rollout import rollout, write_rollout

    if file is not None:
        write_rollout(file, rollout(repository, registered, canary))
    click.echo(f"{registered.version('champion').tag} is champion{suffix}")
