"""``epilstm retrain``: one round of retraining on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from epilstm import console
from epilstm.errors import RegistryError


@click.command(short_help="Refresh the data, run the pipeline and the gate, register, roll out.")
@click.option("--repo", default=".", show_default=True, metavar="PLACE", help="Folder of the git repository.")
@click.option(
    "--git-remote", default="origin", show_default=True, metavar="NAME", help="Git remote that is the shared registry."
)
@click.option("--remote", metavar="NAME", help="DVC remote; the default one if not given.")
@click.option("--branch", metavar="NAME", help="Branch to commit to; the one that is checked out if not given.")
@click.option("--force", metavar="REASON", help="Promote whatever the gate finds; the reason is kept.")
@click.option(
    "--rollout",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Roll-out file to write: what serving is to run.",
)
@click.option(
    "--canary",
    type=click.IntRange(1, 100),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="Share of the traffic for a new champion, in the roll-out file.",
)
def retrain(
    repo: str,
    git_remote: str,
    remote: str | None,
    branch: str | None,
    force: str | None,
    rollout: Path | None,
    canary: int,
) -> None:
    """Run one round of retraining: data, pipeline, gate, registry, roll-out.

    Imported tracks are brought in again where their source has changed; then 'dvc repro', the gate against the present
    champion, registration with the decision, and promotion or not. A round that finds nothing new ends early. Run it
    again after a failure: it resumes.
    """
    from epilstm.registry import retraining
    from epilstm.registry.repository import Repository

    console.set_up("retrain", 0)
    if not Path(repo).is_dir():
        raise RegistryError(f"--repo {repo}: not a folder; retraining needs a clone")
    settings = retraining.Settings(
        branch=branch,
        dvc_remote=remote,
        rollout=rollout,
        canary_percent=canary,
        force=retraining.require_force_reason(force),
    )
    done = retraining.retrain(Repository.around(Path(repo), git_remote), settings)
    if done.outcome == "nothing new":
        click.echo(f"nothing new: data, params and code are those of {done.version.tag}")
    elif done.outcome == "held":
        click.echo(f"{done.version.tag} is held back: {done.decision.reasons[0] if done.decision else ''}")
    else:
        click.echo(f"{done.version.tag} is champion")
