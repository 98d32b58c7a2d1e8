"""What kfp's launcher does around a task: an executor input made, placeholders replaced, outputs read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epilstm.pipelines.task.datasets_kept import BULK
from epilstm.runtime.step_table import STEPS

#: Output artifacts and parameters that the components declare.
ARTIFACTS = {
    "simulate": {},
    "ingest": {"metrics": "Metrics", "signal_manifest": "Dataset"},
    "preprocess": {"metrics": "Metrics", "matrix_manifest": "Dataset"},
    "train": {"model": "Model", "history": "Dataset", "metrics": "Metrics"},
    "export": {"encoder": "Model", "metrics": "Metrics"},
    "embed": {"metrics": "Metrics", "embeddings_manifest": "Dataset"},
    "evaluate": {"evaluation": "Artifact", "metrics": "Metrics", "classification": "ClassificationMetrics"},
    "report": {"report": "HTML"},
    "monitor": {"drift": "Artifact", "page": "HTML", "metrics": "Metrics"},
    "plan": {},
}
PARAMETERS = {
    "simulate": ["simulated"],
    "ingest": ["signal"],
    "preprocess": ["matrix"],
    "embed": ["embeddings"],
    "plan": [
        *("ingest_parts", "genome_groups", "data_version", "labels_version", "encoder_version"),
        *("code", "ingest_code", "train_code"),
    ],
    "monitor": ["Output"],
}
WORK = {"ingest": "cache/ingest", "preprocess": "cache/preprocess", "train": "cache/train", "embed": "cache/embed"}


@dataclass
class Finished:
    """A task that has ended."""

    code: int
    stderr: str
    parameters: dict[str, str]
    artifacts: dict[str, Path]
    output: dict[str, Any]

    def metadata(self, artifact: str) -> dict[str, Any]:
        """Metadata of an output artifact in the executor output."""
        return self.output["artifacts"][artifact]["artifacts"][0]["metadata"]


@dataclass
class Launcher:
    """Runs tasks over one data root, each in a folder of its own."""

    data_root: str
    folder: Path
    params: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)
    number: int = 0

    def begin(self, name: str, part: str | None) -> tuple[Path, dict[str, Any]]:
        """The folder of a new task, and its executor input."""
        self.number += 1
        place = self.folder / f"{self.number}-{name}"
        place.mkdir(parents=True)
        parameters = ["done"] if part else PARAMETERS.get(name, [])
        artifacts = {} if part else ARTIFACTS[name]
        return place, {
            "inputs": {},
            "outputs": {
                "parameters": {name: {"outputFile": str(place / "parameters" / name)} for name in parameters},
                "artifacts": {
                    name: {
                        "artifacts": [
                            {
                                "name": name,
                                "uri": str(place / name),
                                "type": {"schemaTitle": f"system.{kind}", "schemaVersion": "0.0.1"},
                                "metadata": {},
                            }
                        ]
                    }
                    for name, kind in artifacts.items()
                },
                "outputFile": str(place / "executor_output.json"),
            },
        }

    def line(
        self, name: str, inputs: dict[str, str], part: str | None = None, options: tuple[str, ...] = ()
    ) -> tuple[list[str], Path]:
        """Arguments of ``epilstm`` for a step's task, and the task's folder."""
        step = STEPS[name]
        place, executor_input = self.begin(name, part)
        values = dict(inputs)
        for port in step.outputs:
            if port.kind in BULK:
                values[port.name] = str(place / "parameters" / port.name)
                if part is None:
                    options = (*options, "--manifest", str(place / f"{port.name}_manifest"))
            elif port.kind == "folder":
                values[port.name] = "data/simulated"
            else:
                values[port.name] = str(place / port.name)
        for port in step.work:
            values[port.name] = WORK[name]
        flags = tuple(flag for flag, _ in step.flags)
        words = step.argv(json.dumps(self.params[name]), values, flags, part)
        root = ["--data-root", self.data_root, "--executor-input", json.dumps(executor_input)]
        return ["task", "run", *root, *options, "--", *words], place

    def run(
        self, name: str, inputs: dict[str, str], part: str | None = None, options: tuple[str, ...] = ()
    ) -> Finished:
        """Run a step's task to its end."""
        arguments, place = self.line(name, inputs, part, options)
        return self.finish(arguments, place)

    def plan(self, values: dict[str, str], shards: int, groups: int = 8) -> Finished:
        """Run the plan."""
        place, executor_input = self.begin("plan", None)
        arguments = ["task", "plan", "--data-root", self.data_root, "--executor-input", json.dumps(executor_input)]
        arguments += ["--params", json.dumps(self.params["ingest"]), "--ingest-shards", str(shards)]
        arguments += ["--genome-parts", str(groups)]
        for name, value in values.items():
            arguments += [f"--{name}", value]
        return self.finish(arguments, place)

    def start(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Start a task."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self.environment}
        command = [sys.executable, "-m", "epilstm", *arguments]
        return subprocess.Popen(command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True)

    def finish(self, arguments: list[str], place: Path) -> Finished:
        """Run a task and read what it wrote."""
        process = self.start(arguments)
        _, stderr = process.communicate()
        return self.outcome(process.returncode, stderr, place)

    def outcome(self, code: int, stderr: str, place: Path) -> Finished:
        """What a task has written."""
        result = place / "parameters"
        output = place / "executor_output.json"
        return Finished(
            code,
            stderr,
            {path.name: path.read_text() for path in result.iterdir()} if result.is_dir() else {},
            {path.name: path for path in place.iterdir() if path.name != "parameters"},
            json.loads(output.read_text()) if output.is_file() else {},
        )


def succeed(finished: Finished) -> Finished:
    """The task, which must not have failed."""
    assert finished.code == 0, finished.stderr
    return finished


DATA = {
    "samplesheet": "data/simulated/samplesheet.csv",
    "regions": "data/simulated/regions.bed",
    "blacklist": "",
}
LABELS = {"tasks": "data/simulated/tasks.yaml", "labels": "data/simulated/labels"}


#: Groups that the chromosomes of the simulated data are done in.
GROUPS = ("1/3", "2/3", "3/3")


def run_chain(tasks: Launcher, parts: int) -> dict[str, Finished]:
    """Every step as the training pipeline runs it, the data simulated before; the whole tasks by name.

    Of the groups of chromosomes only the first `parts` get tasks of their own; the whole task does the others.
    """
    done = {"plan": succeed(tasks.plan({**DATA, **LABELS}, shards=2))}
    # So little is one task's work, unless the tracks have to be fetched: then the network is what takes time.
    remote = "://" in tasks.data_root
    assert json.loads(done["plan"].parameters["ingest_parts"]) == (["1/2", "2/2"] if remote else [])
    for part in ("1/2", "2/2"):
        succeed(tasks.run("ingest", DATA, part))
    done["ingest"] = succeed(tasks.run("ingest", DATA))
    signal = {"signal": done["ingest"].parameters["signal"]}
    for part in GROUPS[:parts]:
        succeed(tasks.run("preprocess", signal, part))
    done["preprocess"] = succeed(tasks.run("preprocess", signal))
    matrix = {"matrix": done["preprocess"].parameters["matrix"]}
    done["train"] = succeed(tasks.run("train", matrix))
    model = {"model": str(done["train"].artifacts["model"])}
    done["export"] = succeed(tasks.run("export", model))
    encoder = {"encoder": str(done["export"].artifacts["encoder"])}
    for part in GROUPS[:parts]:
        succeed(tasks.run("embed", {**matrix, **encoder}, part))
    done["embed"] = succeed(tasks.run("embed", {**matrix, **encoder}))
    embeddings = {"embeddings": done["embed"].parameters["embeddings"]}
    done["evaluate"] = succeed(tasks.run("evaluate", {**matrix, **model, **embeddings, **LABELS}))
    history = {"history": str(done["train"].artifacts["history"])}
    evaluation = {"evaluation": str(done["evaluate"].artifacts["evaluation"])}
    done["report"] = succeed(tasks.run("report", {**matrix, **model, **history, **embeddings, **evaluation}))
    return done


def stop(process: subprocess.Popen[str], how: signal.Signals) -> None:
    """End a task as Kubernetes does: politely, or with all its processes at once."""
    if how == signal.SIGKILL:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            subprocess.run(["kill", "-9", child], check=False)
        process.wait()
        return
    process.terminate()
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1].startswith("error: step train: ")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Content of every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
