"""``python -m epilstm.pipelines.lifecycle``: the tasks of a pipeline around the registry."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from epilstm import console
from epilstm.console import log
from epilstm.errors import RETRIED, EpilstmError, error_line
from epilstm.files.outputs import fingerprint, write_json
from epilstm.pipelines.lifecycle import FILES, METRICS, RUN_SECTIONS, VERDICT
from epilstm.pipelines.task.command import TERMINATION_LOG
from epilstm.pipelines.task.data_root import open_data_root
from epilstm.pipelines.task.executor import Executor
from epilstm.pipelines.task.secret_variables import set_variables
from epilstm.runtime.step_table import Port

PATH = click.Path(path_type=Path)

executor_input = click.option("--executor-input", required=True, metavar="JSON", help="kfp's placeholder {{$}}.")
registry = click.option("--registry", required=True, metavar="URL", help="Git repository of the registry.")
branch = click.option("--branch", required=True, metavar="NAME", help="Branch that it commits to.")
data_root = click.option(
    "--data-root", required=True, metavar="ROOT", help="Folder of a volume, or s3://bucket/prefix."
)


def run_inputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a run is made from."""
    for name in reversed(RUN_SECTIONS):
        command = click.option(f"--{name}", metavar="JSON", help=f"Params of {name}.")(command)
    for name in reversed(FILES):
        command = click.option(f"--{name}", default="", metavar="PATH", help="May be relative to the data root.")(
            command
        )
    for name in ("code", "labels-version", "data-version"):
        command = click.option(f"--{name}", required=True, metavar="TEXT", help="As the plan reported it.")(command)
    return data_root(command)


def metrics_of_steps(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the metrics file of each step."""
    for step in reversed(METRICS):
        command = click.option(f"--{step}-metrics", type=PATH, required=True, metavar="PATH")(command)
    return command


@click.group()
def lifecycle() -> None:
    """Read the registry, publish to it, roll out from it (what the compiled pipelines call)."""
    set_variables()
    os.environ[RETRIED] = "1"


@lifecycle.command()
@executor_input
@registry
@click.option("--max-age-days", type=click.IntRange(0), default=0, help="Age at which to retrain; 0 for never.")
@click.option("--reasons", type=PATH, required=True, metavar="PATH", help="Why, to write (Markdown).")
@run_inputs
def changed(executor_input: str, registry: str, max_age_days: int, reasons: Path, **given: Any) -> None:
    """Report whether a run would make something else than the champion: changed or unchanged."""
    from epilstm.pipelines.lifecycle.provenance import changes

    executor = Executor.parse(executor_input)
    found = changes(registry, _run_inputs(given), max_age_days)
    for reason in found:
        log.info(reason)
    if not found:
        log.info(
            "nothing new: data, labels, params and code are those of the champion or of one rolled back; it ends here"
        )
    text = (
        "\n".join(f"- {reason}" for reason in found)
        or "Nothing new: the champion, or one rolled back, was made from the same."
    )
    reasons.parent.mkdir(parents=True, exist_ok=True)
    reasons.write_text(f"{text}\n", encoding="utf-8")
    executor.set_output(VERDICT, "changed" if found else "unchanged")
    executor.write()


@lifecycle.command()
@executor_input
@click.option("--registry", default="", metavar="URL", help="Git repository of the registry; empty for none.")
@click.option("--champion", "target", type=PATH, required=True, metavar="PATH", help="Encoder folder to write.")
def champion(executor_input: str, registry: str, target: Path) -> None:
    """Fetch the champion's encoder; an empty folder where there is none."""
    from epilstm.pipelines.lifecycle.champion import fetch_champion

    executor = Executor.parse(executor_input)
    version = fetch_champion(registry, target)
    executor.describe("champion", {"version": version, "fingerprint": fingerprint(target)} if version else {})
    executor.write()


@lifecycle.command()
@executor_input
@registry
@branch
@click.option("--model", type=PATH, required=True, metavar="PATH")
@click.option("--encoder", type=PATH, required=True, metavar="PATH")
@click.option("--evaluation", type=PATH, required=True, metavar="PATH")
@click.option("--signal-manifest", type=PATH, required=True, metavar="PATH")
@click.option("--matrix-manifest", type=PATH, required=True, metavar="PATH")
@click.option("--embeddings-manifest", type=PATH, required=True, metavar="PATH")
@click.option("--decision", type=PATH, required=True, metavar="PATH", help="The gate's decision.json.")
@click.option("--reasons", type=PATH, required=True, metavar="PATH", help="The gate's decision.md.")
@metrics_of_steps
@click.option("--image", required=True, metavar="REF", help="Image that ran the steps.")
@click.option("--ir-sha256", default="", metavar="HEX", help="SHA-256 of the compiled pipeline; empty if not known.")
@run_inputs
def publish(executor_input: str, registry: str, branch: str, **given: Any) -> None:
    """Register what a run made, and make it champion if the gate decided so."""
    from epilstm.pipelines.lifecycle.publishing import Made, known_sha256, publish, records_of

    executor = Executor.parse(executor_input)
    with open_data_root(given["data_root"]) as root:
        port = Port("samplesheet", "file", "samplesheet")
        sheet, _ = root.bring_small(port, given["samplesheet"])
        made = Made(
            folders={name: given[name] for name in ("model", "encoder", "evaluation")},
            manifests={name: given[f"{name}_manifest"] for name in ("signal", "matrix", "embeddings")},
            metrics={step: given[f"{step}_metrics"] for step in METRICS},
            samplesheet=root.local(sheet),
            decision=given["decision"],
            reasons=given["reasons"],
            run=_run_inputs(given),
            image=given["image"],
            ir_sha256=known_sha256(given["ir_sha256"]),
            records=records_of(executor.given),
        )
        version = publish(registry, branch, made)
    executor.set_output("version", version)
    executor.write()


@lifecycle.command()
@executor_input
@registry
@branch
@data_root
@click.option("--data-claim", default="", metavar="NAME", help="Volume claim that the data root is on.")
@click.option("--inference-service", default="", metavar="NAME", help="InferenceService to patch; empty for none.")
@click.option("--canary-percent", type=click.IntRange(1, 100), default=100, help="Traffic of a new champion.")
@click.option("--rollback", default="", metavar="REASON", help="Go back to the champion before; empty to stay.")
@click.option("--run", default="", metavar="ID", help="Identifier of the run.")
@click.option("--rollout", "target", type=PATH, metavar="PATH", help="Roll-out file to write.")
@click.option("--after", metavar="TEXT", help="Output of a task that this one waits for; not read.")
def rollout(executor_input: str, registry: str, branch: str, **given: Any) -> None:
    """Let serving follow the registry: encoders to where they are served from, the service, and git."""
    from epilstm.pipelines.lifecycle.serving import Order, Place, roll_out

    executor = Executor.parse(executor_input)
    order = Order(given["canary_percent"], given["rollback"].strip(), given["run"])
    with open_data_root(given["data_root"]) as root:
        content = roll_out(registry, branch, Place(root, given["data_claim"]), given["inference_service"], order)
    if given["target"] is not None:
        write_json(given["target"], content.model_dump(mode="json"))
    executor.describe("rollout", content.model_dump(mode="json", exclude_none=True))
    executor.write()


def _run_inputs(given: dict[str, Any]) -> Any:
    from epilstm.pipelines.lifecycle.provenance import RunInputs, code_of_steps, known_sections, run_sections

    files = {name: given[name] for name in FILES}
    sections = run_sections(given["data_root"], known_sections({name: given[name] for name in RUN_SECTIONS}), files)
    return RunInputs(given["data_version"], given["labels_version"], sections, code_of_steps(given["code"]))


def main() -> None:
    """Run a command; a user's error is one line, for Kubernetes too."""
    from epilstm.pipelines.lifecycle.clone import prepare_environment

    console.set_up(" ".join(["lifecycle", *sys.argv[1:2]]), 0)
    prepare_environment()
    try:
        lifecycle.main(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except EpilstmError as error:
        if os.access(TERMINATION_LOG, os.W_OK):
            TERMINATION_LOG.write_text(f"{error_line(error)}\n", encoding="utf-8")
        click.echo(error_line(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
