"""The model card: what a registered encoder is, what it was made from, how good it is and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from epilstm.genome.name_matching import listed
from epilstm.model.encoder_folder import EncoderManifest
from epilstm.registry.provenance import Provenance
from epilstm.steps.promote.decision import Decision
from epilstm.store.evaluation_results import EvaluationResults, Interval
from epilstm.store.manifests import MatrixManifest, Use

CARD_FILE = "MODEL_CARD.md"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Parameters
    ----------
    model : mapping
        Content of the model's manifest.
    """

    artifact: str
    version: str
    provenance: Provenance
    encoder: EncoderManifest
    matrix: MatrixManifest
    model: Mapping[str, Any]
    evaluation: EvaluationResults | None
    decision: Decision | None


def model_card(facts: CardFacts) -> str:
    """The card, as Markdown."""
    sections = [
        _head(facts),
        _use(facts),
        _data(facts),
        _training(facts),
        _evaluation(facts.evaluation, facts.encoder),
        _parity(facts.encoder),
        _decision(facts.decision),
        _provenance(facts),
    ]
    return "\n\n".join(section.rstrip() for section in sections if section) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """A number as a card shows it."""
    return "undefined" if value is None else f"{value:.{digits}f}"


def _interval(value: float, ci: Interval) -> str:
    return f"{number(value)} ({number(ci.low)} to {number(ci.high)})"


def _head(facts: CardFacts) -> str:
    config = facts.encoder.config
    tracks = len(facts.encoder.tracks)
    layers = f"{config.layers} layer{'s' if config.layers > 1 else ''}"
    directions = f"{config.directions} direction{'s' if config.directions > 1 else ''}"
    return (
        f"# {facts.artifact} {facts.version}\n\n"
        f"An LSTM autoencoder's encoder (`{config.architecture}`, {config.hidden_size} units, {layers}, {directions}) "
        f"as ONNX: raw signal of {tracks} tracks in, {config.embedding_size} numbers per {facts.encoder.bin_size}-bp "
        f"bin out.{_parts(facts)}"
    )


def _parts(facts: CardFacts) -> str:
    config = facts.encoder.config
    rotation = facts.model["training"].get("rotation", "none")
    rotated = "" if rotation == "none" else f" Axes are {rotation}-rotated, each with variance 1 on the training bins."
    if not config.context_size:
        return rotated
    return (
        f" The first {config.bin_code_size} are the bin's own code, the last {config.context_size} a code of its "
        f"context, seen in frames of {config.frame_bins} bins.{rotated}"
    )


def _use(facts: CardFacts) -> str:
    leaky = facts.evaluation is not None and facts.evaluation.folds.leaky
    limits = [
        f"The input is the {len(facts.encoder.tracks)} tracks below, in that order, of the assembly "
        f"`{facts.encoder.assembly}` in bins of {facts.encoder.bin_size} bp. Other assays, cell types, assemblies or "
        "signal scales (fold change in place of -log10 p) are not what it was trained on.",
        "No local embedding is claimed to beat the raw tracks; the table below says what this one does.",
        "It has no notion of sequence, of individuals or of disease; it is not for clinical use.",
    ]
    if leaky:
        limits.append(
            "The scores below come from random folds, which put neighbours on both sides: they are flattered."
        )
    return (
        "## Intended use and limits\n\nCompact features of the epigenome, for models of gene expression, "
        "promoter-enhancer contacts, chromatin interaction hubs and replication timing, and for exploring signal "
        "along a genome.\n\n" + "\n".join(f"- {limit}" for limit in limits)
    )


def _data(facts: CardFacts) -> str:
    names: dict[Use, str] = {"train": "training", "validation": "validation", "test": "test"}
    rows = [
        [name, listed(getattr(facts.matrix.split, use), most=30), f"{facts.matrix.bins_used_for(use):,}"]
        for use, name in names.items()
    ]
    where = "regions" if facts.matrix.bins_by_use else "chromosomes"
    tracks = [
        [f"`{name}`", each.cell_type, each.assay, each.replicate or ""]
        for name, each in zip(facts.encoder.tracks, facts.encoder.track_set.identities, strict=True)
    ]
    return (
        f"## Data\n\nVersion of the data set (its matrix): `{facts.provenance.matrix_fingerprint}`\n\n"
        + table(["split", where, "bins with data"], rows)
        + "\n\nTracks, in input order:\n\n"
        + table(["track", "cell type", "assay", "replicate"], tracks)
    )


def _training(facts: CardFacts) -> str:
    training = facts.model["training"]
    rows = [
        [key.replace("_", " "), number(training[key], 4) if isinstance(training[key], float) else str(training[key])]
        for key in ("epochs", "best_epoch", "steps", "train_mse", "validation_mse", "validation_r2", "weights_moved")
    ]
    context = training.get("context")
    if context is not None:
        rows += [
            ["context level: frames", f"{context['frames']:,}"],
            ["context level: epochs", f"{context['epochs']} (best: {context['best_epoch']})"],
            ["context level: validation r2 of frames", number(context["validation_r2"], 4)],
        ]
    params = yaml.safe_dump(facts.provenance.params, sort_keys=False, allow_unicode=True).rstrip()
    return (
        f"## Training\n\nSeed {facts.model['seed']}; errors in the standardised space of the matrix.\n\n"
        + table(["", ""], rows)
        + f"\n\nParameters of the pipeline:\n\n```yaml\n{params}\n```"
    )


def _evaluation(results: EvaluationResults | None, encoder: EncoderManifest) -> str:
    if results is None:
        return "## Evaluation\n\nNot evaluated."
    fits = results.reconstruction.models
    reconstruction = table(
        ["", "R2", "mean squared error"], [[name, number(fit.r2), number(fit.mse)] for name, fit in fits.items()]
    )
    size = results.reconstruction.size
    read = f"from the {size} numbers of the bin code" if encoder.config.context_size else f"from {size} numbers per bin"
    rows = []
    for name, task in results.tasks.items():
        cells = task.cell_types.values()
        counts = f"{sum(cell.n for cell in cells):,} ({sum(cell.positives for cell in cells):,})"
        scores = [
            _interval(task.summary[each].average_precision, task.summary[each].average_precision_ci)
            if each in task.summary
            else ""
            for each in results.representation_order
        ]
        rows.append([name, counts, *scores])
    folds = f"{results.folds.count} folds by {results.folds.by}"
    said = [task.sentence for task in results.tasks.values()]
    said += [task.sentence for task in results.regression.values()]
    sentences = "\n".join(f"- {each}" for each in said)
    as_many = "PCA and the untrained encoder have" if "pca" in fits else "the untrained encoder has"
    reconstructed = (
        f"## Evaluation\n\nReconstruction of {listed(results.reconstruction.chromosomes)}, which training never "
        f"saw, {read} ({as_many} as many):\n\n{reconstruction}\n\n"
    )
    if not said:
        return f"{reconstructed}No tasks were evaluated."
    precision = (
        f"Average precision on held-out labels ({folds}; {100 * results.confidence:g}% interval over "
        f"{results.bootstrap:,} resamples of intervals of genome):\n\n"
        + table(["task", "labels (positive)", *results.representation_order], rows)
        + "\n\n"
    )
    return reconstructed + (precision if rows else "") + sentences


def _parity(encoder: EncoderManifest) -> str:
    rows = [[f"`{name}`", f"{difference:.1e}"] for name, difference in encoder.parity.items()]
    return (
        "## Parity\n\nLargest difference of the ONNX encoder to the trained network, in standard deviations:\n\n"
        + table(["file", "difference"], rows)
    )


def _decision(decision: Decision | None) -> str:
    if decision is None:
        return "## Promotion\n\nNo decision of the gate."
    reasons = "\n".join(f"- {reason}" for reason in decision.reasons)
    return f"## Promotion\n\nThe gate's decision: **{decision.decision}**.\n\n{reasons}"


def _made(provenance: Provenance) -> str:
    """How each step ran when it made what is registered."""
    if not provenance.made:
        return ""
    header = ["step", "commit", "code (SHA-256)", "device", "threads", "started"]
    rows = [
        [step, f"`{made.revision or 'unknown'}`", f"`{made.code}`", made.device, str(made.threads), made.started]
        for step, made in provenance.made.items()
    ]
    text = "\n\n### How it was made\n\n" + table(header, rows)
    for step, changed in provenance.uncommitted.items():
        files = ", ".join(f"`{name}`" for name in changed)
        text += f"\n\n**{step} ran with changes that were not committed**: {files}. No commit holds what it ran."
    packages = {name: version for made in provenance.made.values() for name, version in made.packages.items()}
    return text + "\n\n" + table(["package", "version"], [[name, packages[name]] for name in sorted(packages)])


def _provenance(facts: CardFacts) -> str:
    given = facts.provenance
    # A model from a container is a pipeline's, whether or not its publisher said which.
    no_ir = "unknown: not started by `epilstm pipeline`" if given.image else "none: run by `dvc repro`"
    revision = f"`{given.code_revision}`" if given.code_revision else "not recorded"
    rows = [
        ["code", f"{revision} (epilstm {given.package_version})"],
        ["image", f"`{given.image}`" if given.image else "none: run outside of containers"],
        ["pipeline IR", f"`{given.pipeline_ir_sha256}`" if given.pipeline_ir_sha256 else no_ir],
        ["encoder", f"`{given.encoder_fingerprint}`"],
        ["model", f"`{given.model_fingerprint}`"],
        ["matrix", f"`{given.matrix_fingerprint}`"],
        ["signal", f"`{given.signal_fingerprint}`"],
        ["evaluation", f"`{given.evaluation_fingerprint}`" if given.evaluation_fingerprint else "none"],
        ["samplesheet", f"`{given.samplesheet}` `{given.samplesheet_sha256 or 'not kept'}`"],
    ]
    files = [[f"`{name}`", f"`{digest}`"] for name, digest in given.files.items()]
    tracks = [[track.name, track.origin or track.uri, f"`{track.sha256}`"] for track in given.tracks]
    return (
        "## Provenance\n\n"
        + table(["", "fingerprint (SHA-256)"], rows)
        + _made(given)
        + "\n\n### Checksums\n\n"
        + table(["file", "SHA-256"], files)
        + "\n\n### Tracks\n\n"
        + table(["track", "source", "SHA-256"], tracks)
    )
