"""A small finished run: every folder and file that the report reads."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from epilstm.files.outputs import fingerprint, sha256_file, to_json
from epilstm.model.config import ModelConfig
from epilstm.model.folder import ModelManifest, TrainingSummary, load_model, save_model, save_weights
from epilstm.model.networks import build
from epilstm.model.windows import encode_bins
from epilstm.store.arrays import create_bin_array, create_group, create_mask
from epilstm.store.evaluation_results import (
    BASELINES,
    EMBEDDING,
    PREDICTIONS_FILE,
    REPRESENTATIONS,
    SCORES_FILE,
    CellTypeResult,
    Difference,
    EvaluationManifest,
    EvaluationResults,
    FoldsUsed,
    Interval,
    PcaPoint,
    Reconstruction,
    ReconstructionScore,
    Scores,
    Summary,
    TaskResult,
)
from epilstm.store.manifests import (
    EmbeddingsManifest,
    MatrixManifest,
    ReferenceHistograms,
    Scaler,
    Split,
    scaler_digest,
    write_manifest,
)

BIN = 25
TRACKS = [f"{cell}-{assay}" for cell in ("E003", "E116") for assay in ("H3K4me1", "H3K4me3", "DNase")]
SIZES = {"chr1": 60_000, "chr2": 30_000, "chr3": 50_000}
REGIONS = [("chr1", 0, 60_000), ("chr2", 0, 30_000), ("chr3", 5_000, 45_000)]
SIZE = 4
#: Bins of chr3 without data.
MISSING = slice(600, 700)

TASKS = {"gene_expression": ["E003", "E116"], "fire": ["E116"]}


def paths_of_run(root: Path) -> dict[str, Path]:
    """Where `write_run` writes the report's inputs, by port name."""
    paths = {name: root / name for name in ("matrix", "model", "embeddings", "evaluation")}
    return {**paths, "history": root / "history.csv"}


def write_run(root: Path) -> dict[str, Path]:
    """Write everything; returns the report's inputs by port name."""
    paths = paths_of_run(root)
    write_matrix(paths["matrix"])
    write_model(paths["model"], fingerprint(paths["matrix"]))
    paths["history"].write_text(
        "epoch,steps,learning_rate,train_mse,validation_mse,validation_r2\n"
        "1,10,0.005,0.9,0.8,0.2\n2,20,0.004,0.7,0.6125,0.387\n3,30,0.001,0.6,0.65,0.35\n"
    )
    write_embeddings(paths["embeddings"], paths["matrix"], paths["model"])
    write_evaluation(paths["evaluation"], paths)
    return paths


def raw_signal() -> dict[str, np.ndarray]:
    """Chromosome -> (bins, tracks) raw signal: smooth bumps over a noisy floor, never negative."""
    rng = np.random.default_rng(3)
    signal = {}
    for chrom, size in SIZES.items():
        bins = size // BIN
        factors = np.repeat(rng.gamma(0.6, 2.0, size=(bins // 20 + 1, 3)), 20, axis=0)[:bins]
        signal[chrom] = factors @ rng.random((3, len(TRACKS))) + rng.random((bins, len(TRACKS)))
    return signal


def scaler() -> Scaler:
    """Statistics of the training chromosome."""
    training = np.arcsinh(raw_signal()["chr1"])
    return Scaler(tracks=TRACKS, mean=training.mean(axis=0).tolist(), scale=training.std(axis=0).tolist())


def write_matrix(folder: Path) -> None:
    """Write the matrix dataset."""
    folder.mkdir(parents=True)
    values, masks = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    bins_with_data = {}
    for chrom, signal in raw_signal().items():
        array = create_bin_array(values, chrom, len(signal), len(TRACKS), "float16", "lz4", float("nan"))
        mask_array = create_mask(masks, chrom, len(signal))
        start, end = next((start // BIN, end // BIN) for name, start, end in REGIONS if name == chrom)
        mask = np.zeros(len(signal), dtype=bool)
        mask[start:end] = True
        if chrom == "chr3":
            mask[MISSING] = False
        signal = np.where(mask[:, None], signal, 0)
        standardised = (np.arcsinh(signal) - scaler().mean) / scaler().scale
        array[start:end] = standardised[start:end].astype(np.float16)
        mask_array[:] = mask
        bins_with_data[chrom] = int(mask.sum())
    (folder / "scaler.json").write_text(to_json(scaler().model_dump()))
    edges = np.arange(-12, 12 + 1 / 16, 1 / 16)
    counts = [np.histogram(column, edges)[0].tolist() for column in np.arcsinh(raw_signal()["chr1"]).T]
    histograms = ReferenceHistograms(tracks=TRACKS, edges=edges.tolist(), counts=counts)
    (folder / "histograms.json").write_text(to_json(histograms.model_dump()))
    write_manifest(
        folder,
        MatrixManifest(
            assembly="toy",
            bin_size=BIN,
            chromosome_sizes=SIZES,
            regions=REGIONS,
            tracks=TRACKS,
            frame_bins=100,
            split=Split(train=["chr1"], validation=["chr2"], test=["chr3"]),
            bins_with_data=bins_with_data,
            signal_fingerprint="5" * 64,
            scaler_sha256=scaler_digest(scaler()),
        ),
    )


def write_model(folder: Path, matrix_fingerprint: str) -> None:
    """Write a model with the weights it starts from."""
    config = ModelConfig(architecture="bottleneck", tracks=len(TRACKS), embedding_size=SIZE, hidden_size=8)
    weights_sha256 = save_weights(folder, build(config, seed=11))
    summary = TrainingSummary(
        epochs=3, best_epoch=2, steps=20, bins_seen=4321, train_mse=0.7, validation_mse=0.6125, validation_r2=0.387,
        validation_mse_per_track={}, validation_r2_per_track=dict.fromkeys(TRACKS, 0.387), weights_moved=0.5,
        device="cpu",
    )  # fmt: skip
    save_model(
        folder,
        ModelManifest(
            config=config, scaler=scaler(), assembly="toy", bin_size=BIN, frame_bins=100, seed=11,
            split=Split(train=["chr1"], validation=["chr2"], test=["chr3"]), matrix_fingerprint=matrix_fingerprint,
            weights_sha256=weights_sha256, training=summary,
        ),
    )  # fmt: skip


def write_embeddings(folder: Path, matrix: Path, model: Path) -> None:
    """Write the model's embeddings; NaN where there is no data."""
    torch.set_num_threads(1)
    network, _ = load_model(model)
    folder.mkdir()
    group = create_group(folder / "embeddings.zarr")
    for chrom, signal in raw_signal().items():
        array = create_bin_array(group, chrom, len(signal), SIZE, "float32", "lz4", float("nan"))
        values = encode_bins(network, (np.arcsinh(signal) - scaler().mean) / scaler().scale)
        if chrom == "chr3":
            values[MISSING] = np.nan
        array[:] = values
    write_manifest(
        folder,
        EmbeddingsManifest(
            assembly="toy",
            bin_size=BIN,
            chromosome_sizes=SIZES,
            regions=REGIONS,
            size=SIZE,
            matrix_fingerprint=fingerprint(matrix),
            model_fingerprint=fingerprint(model),
            encoder_fingerprint="e" * 64,
        ),
    )


def predictions(task: str, cell: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels and, for each representation, scores of 200 examples."""
    rng = np.random.default_rng(sum(map(ord, task + cell)))
    labels = rng.random(200) < 0.3
    skill = {"embedding": 1.2, "raw": 1.4, "pca": 0.9, "nmf": 0.8, "untrained": 0.5}
    scores = {
        name: (1 / (1 + np.exp(-by * labels - rng.normal(size=200)))).astype(np.float32) for name, by in skill.items()
    }
    return labels, {**scores, "majority": np.full(200, labels.mean(), np.float32)}


def task_result(task: str, cells: list[str]) -> TaskResult:
    """Scores of the predictions; intervals are made up."""
    results = {}
    for cell in cells:
        labels, scores = predictions(task, cell)
        results[cell] = CellTypeResult(
            cell_type=cell,
            n=len(labels),
            positives=int(labels.sum()),
            base_rate=float(labels.mean()),
            n_outside=1234,
            n_unusable=7,
            groups=5,
            clusters=40,
            representations={name: _scores(labels, each) for name, each in scores.items()},
            differences=_differences(),
        )
    summary = {}
    for name in REPRESENTATIONS:
        mean = float(np.mean([cell.representations[name].average_precision for cell in results.values()]))
        summary[name] = Summary(average_precision=mean, average_precision_ci=_around(mean))
    return TaskResult(
        name=task,
        kind="region",
        windows=["region"],
        label_format="bed",
        cell_types=results,
        summary=summary,
        differences=_differences(),
        sentence=f"{task}: the embedding beats <nothing> & is beaten by the raw tracks.",
    )


def _around(value: float) -> Interval:
    return Interval(low=max(0.0, value - 0.05), high=min(1.0, value + 0.07))


def _scores(labels: np.ndarray, scores: np.ndarray) -> Scores:
    precision = float(average_precision_score(labels, scores))
    return Scores(
        average_precision=precision,
        average_precision_ci=_around(precision),
        average_precision_pooled=precision,
        auroc=float(roc_auc_score(labels, scores)),
        f1=float(f1_score(labels, scores >= 0.5, zero_division=0)),
        accuracy=float(accuracy_score(labels, scores >= 0.5)),
        n=len(labels),
        positives=int(labels.sum()),
        folds_scored=5,
    )


def _differences() -> list[Difference]:
    return [
        Difference(
            baseline=name, delta=-0.0415, ci=Interval(low=-0.1017, high=0.0203), verdict="is indistinguishable from"
        )
        for name in BASELINES
    ]


def reconstruction(tracks: list[str], r2: float = 0.8125) -> Reconstruction:
    """Scores that fall from model to PCA to untrained; the last track is constant."""

    def score(by: float) -> ReconstructionScore:
        per_track: dict[str, float | None] = {name: r2 - by - 0.001 * rank for rank, name in enumerate(tracks)}
        return ReconstructionScore(r2=r2 - by, mse=0.1875 + by, track_r2={**per_track, tracks[-1]: None})

    return Reconstruction(
        chromosomes=["chr3"],
        bins=1500,
        size=SIZE,
        models={"model": score(0), "pca": score(0.1), "untrained": score(0.4)},
        pca_curve=[PcaPoint(size=size, r2=1 - 0.8**size) for size in range(1, 7)],
    )


def write_evaluation(folder: Path, paths: dict[str, Path], leaky: bool = False, with_tasks: bool = True) -> None:
    """Write the evaluation folder."""
    folder.mkdir(exist_ok=True)
    tasks = TASKS if with_tasks else {}
    results = EvaluationResults(
        embedding_size=SIZE,
        representation_sizes={EMBEDDING: SIZE, "raw": len(TRACKS), "pca": SIZE, "nmf": SIZE, "untrained": SIZE},
        representation_order=list(REPRESENTATIONS),
        pooling=["mean"],
        folds=FoldsUsed(by="random" if leaky else "chromosome", count=5, leaky=leaky),
        confidence=0.95,
        bootstrap=100,
        task_order=list(tasks),
        tasks={name: task_result(name, cells) for name, cells in tasks.items()},
        reconstruction=reconstruction(TRACKS),
    )
    (folder / SCORES_FILE).write_text(to_json(results.model_dump(mode="json")))
    rows: dict[str, list] = {name: [] for name in ("task", "cell_type", "representation", "label", "score")}
    for task, cells in tasks.items():
        for cell in cells:
            labels, scores = predictions(task, cell)
            for name, each in scores.items():
                rows["task"] += [task] * len(labels)
                rows["cell_type"] += [cell] * len(labels)
                rows["representation"] += [name] * len(labels)
                rows["label"] += labels.tolist()
                rows["score"] += each.tolist()
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / PREDICTIONS_FILE)
    write_manifest(
        folder,
        EvaluationManifest(
            matrix_fingerprint=fingerprint(paths["matrix"]),
            model_fingerprint=fingerprint(paths["model"]),
            embeddings_fingerprint=fingerprint(paths["embeddings"]),
            tasks_sha256="a" * 64 if with_tasks else None,
            labels_sha256={"fire.bed.gz": "b" * 64} if with_tasks else {},
            params_sha256="c" * 64,
            scores_sha256=sha256_file(folder / SCORES_FILE),
            predictions_sha256=sha256_file(folder / PREDICTIONS_FILE),
        ),
    )
