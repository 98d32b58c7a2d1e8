"""The step table: what each step is called, reads and writes.

The command line, ``dvc.yaml`` (compared with it by a test) and the kfp components all follow from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """A named input or output path of a step, given as ``--name PATH``.

    Parameters
    ----------
    name : str
        Flag and key.
    kind : str
        What lies there: ``file``, ``folder``, ``metrics`` (JSON that DVC, kfp and Prometheus read), ``html``,
        ``csv``, or the dataset kinds ``signal``, ``matrix``, ``model``, ``encoder``, ``embeddings``, ``evaluation``.
    help : str
        One line.
    optional : bool
        May be left out.
    shown_as : str
        Kind of artifact that it is in Kubeflow, where its own kind is none: ``model`` or ``markdown``.
    place : str
        Path under the data root at which every pipeline has it; empty where it is given.
    verdict : str
        Key of a JSON output by whose value pipelines branch.
    """

    name: str
    kind: str
    help: str
    optional: bool = False
    shown_as: str = ""
    place: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Parameters
    ----------
    name : str
        Command, params section and package.
    summary : str
        One line.
    image : str
        Container image that holds what it needs.
    inputs, outputs : tuple of Port
        In the order of the command line. Outputs appear whole or not at all.
    work : tuple of Port
        Folders kept between runs so that a rerun continues; never an output.
    flags : tuple of (name, help)
        Switches; those of a step with work folders are about these.
    distributed : bool
        May be started as several processes by ``torchrun``; the first writes the outputs.
    part : str or None
        Help of ``--part``: the step can do one part of its work, which goes into its work folders and to no output. A
        run without it reuses what is there, does the rest, and writes what one run of everything would write.
    versions : tuple of str
        Versions of files that it reads and that no port names; pipelines pass them, so that a changed file reruns it.
    cached : bool
        Kubeflow may reuse its outputs: what it reads is all among its inputs, and what it writes has a place of its
        own.
    """

    name: str
    summary: str
    image: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    work: tuple[Port, ...] = ()
    flags: tuple[tuple[str, str], ...] = ()
    distributed: bool = False
    part: str | None = None
    versions: tuple[str, ...] = ()
    cached: bool = True

    @property
    def target(self) -> str:
        """``module:function`` that does the work."""
        return f"epilstm.steps.{self.name}.command:run"

    def argv(
        self, params: str, paths: Mapping[str, str], flags: tuple[str, ...] = (), part: str | None = None
    ) -> list[str]:
        """The step's command line.

        Parameters
        ----------
        params : str
            Params file.
        paths : mapping of str to str
            Path of each port by name; optional ports may be absent.
        flags : tuple of str
            Switches to set.
        part : str, optional
            Part to do; outputs are then left out, and work folders are needed.
        """
        if part is not None and self.part is None:
            raise ValueError(f"step {self.name} has no parts")
        line = ["epilstm", self.name, "--params", params]
        for port in (*self.inputs, *(self.outputs if part is None else ()), *self.work):
            if port.name in paths:
                line += [f"--{port.name}", paths[port.name]]
            elif not port.optional or (part is not None and port in self.work):
                raise KeyError(f"step {self.name} needs a path for {port.name}")
        if part is not None:
            line += ["--part", part]
        return line + [f"--{flag}" for flag in flags]


METRICS = Port("metrics", "metrics", "where the step's numbers go (JSON)", optional=True)
PARTS = Port("parts", "folder", "arrays done so far, from which a run resumes", optional=True)

CHROMOSOMES = "only one of N groups of chromosomes of about equal size, as 3/8, or one chromosome, into the parts"

STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step(
            "simulate",
            "Make a small epigenome: bigWig tracks, a samplesheet and labels for every task.",
            "train",
            (),
            (
                Port(
                    "simulated",
                    "folder",
                    "folder to write: bigWigs, samplesheet, regions, tasks and labels",
                    place="data/simulated",
                ),
            ),
            cached=False,  # another seed's data may have taken the place
        ),
        Step(
            "ingest",
            "Read bigWig tracks into mean signal per bin.",
            "train",
            (
                Port(
                    "samplesheet",
                    "file",
                    "CSV with the columns cell_type, assay, uri; optionally replicate, sha256, transform, uncovered",
                ),
                Port("regions", "file", "BED of the regions to read; without it, whole chromosomes", optional=True),
                Port("blacklist", "file", "BED of bins to treat as without data", optional=True),
            ),
            (Port("signal", "signal", "signal dataset to write"), METRICS),
            (Port("cache", "folder", "binned tracks, kept so that none is read twice", optional=True),),
            part="only the tracks of one of N shards, as 3/8, into the cache",
            versions=("data_version",),
        ),
        Step(
            "preprocess",
            "Turn signal into the standardised matrix of bins x tracks.",
            "train",
            (
                Port("signal", "signal", "signal dataset"),
                Port("encoder", "encoder", "encoder whose scaler and tracks to take: fits no new ones", optional=True),
            ),
            (Port("matrix", "matrix", "matrix dataset to write"), METRICS),
            (PARTS,),
            part=CHROMOSOMES,
        ),
        Step(
            "train",
            "Train the LSTM autoencoder.",
            "train",
            (Port("matrix", "matrix", "matrix dataset"),),
            (
                Port("model", "model", "model folder to write"),
                Port("history", "csv", "training curve to write", optional=True),
                METRICS,
            ),
            (Port("checkpoint", "folder", "checkpoints and TensorBoard logs", optional=True),),
            (("resume", "continue from the checkpoint if it belongs to the same params and data"),),
            distributed=True,
        ),
        Step(
            "export",
            "Export the encoder to ONNX and check that it computes the same.",
            "train",
            (Port("model", "model", "model folder"),),
            (Port("encoder", "encoder", "encoder folder to write"), METRICS),
        ),
        Step(
            "embed",
            "Run the encoder over every bin.",
            "train",
            (Port("matrix", "matrix", "matrix dataset"), Port("encoder", "encoder", "encoder folder")),
            (Port("embeddings", "embeddings", "embeddings dataset to write"), METRICS),
            (PARTS,),
            part=CHROMOSOMES,
        ),
        Step(
            "evaluate",
            "Score the embedding and the baselines on held-out data.",
            "train",
            (
                Port("matrix", "matrix", "matrix dataset: the model's own, or another with the same tracks and scaler"),
                Port("model", "model", "model folder"),
                Port(
                    "embeddings", "embeddings", "embeddings of the matrix; without it, the model embeds", optional=True
                ),
                Port("tasks", "file", "tasks file (YAML); without it, only reconstruction is evaluated", optional=True),
                Port("labels", "folder", "folder that the tasks' label files are relative to", optional=True),
            ),
            (Port("evaluation", "evaluation", "evaluation folder to write"), METRICS),
            versions=("labels_version",),
        ),
        Step(
            "report",
            "Write one self-contained HTML page about the run.",
            "train",
            (
                Port("matrix", "matrix", "matrix dataset"),
                Port("model", "model", "model folder"),
                Port("history", "csv", "training curve"),
                Port("embeddings", "embeddings", "embeddings dataset"),
                Port("evaluation", "evaluation", "evaluation folder; without it, no scores are shown", optional=True),
            ),
            (Port("report", "html", "page to write"),),
        ),
        Step(
            "promote",
            "Decide whether the new model replaces the champion.",
            "train",
            (
                Port("matrix", "matrix", "matrix dataset"),
                Port("model", "model", "challenger's model folder"),
                Port("encoder", "encoder", "challenger's encoder folder"),
                Port("evaluation", "evaluation", "challenger's evaluation folder"),
                Port("tasks", "file", "tasks file (YAML) of the evaluation, if it was given one", optional=True),
                Port("labels", "folder", "folder that the tasks' label files are relative to", optional=True),
                Port(
                    "champion",
                    "folder",
                    "champion's encoder folder, empty where there is none",
                    optional=True,
                    shown_as="model",
                ),
            ),
            (
                Port("decision", "file", "decision to write (JSON), with every number compared", verdict="decision"),
                Port(
                    "reasons",
                    "file",
                    "the decision for people to write (Markdown)",
                    optional=True,
                    shown_as="markdown",
                ),
                METRICS,
            ),
            cached=False,  # the champion may be another one
        ),
        Step(
            "monitor",
            "Compare new tracks with those the model was trained on.",
            "train",
            (
                Port("matrix", "matrix", "matrix dataset that the model was trained on"),
                Port("model", "model", "model folder; without it, nothing is reconstructed", optional=True),
                Port("signal", "signal", "signal dataset of the new tracks", optional=True),
                Port("served", "file", "a server's /metrics, to compare the tracks of its requests", optional=True),
            ),
            (
                Port("drift", "file", "verdict to write (JSON), with every number", verdict="verdict"),
                Port("page", "html", "page of plots to write", optional=True),
                METRICS,
            ),
            flags=(("fail-on-drift", "end with exit code 3 where the verdict is drift"),),
        ),
    )
}
