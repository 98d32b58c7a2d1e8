"""The model card says what the numbers of an embedding are."""

from __future__ import annotations

import pytest

from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import EncoderManifest
from epilstm.registry.card import CardFacts, model_card
from epilstm.registry.provenance import Provenance
from epilstm.store.evaluation_results import EvaluationResults, FoldsUsed, Reconstruction, ReconstructionScore
from epilstm.store.manifests import MatrixManifest, Scaler, Split

TRACKS = ["A-DNase", "A-H3K4me3", "B-DNase"]
CONTEXT = {"epochs": 9, "best_epoch": 7, "frames": 1234, "train_mse": 0.1, "validation_mse": 0.2, "validation_r2": 0.5}


def facts(context_size: int) -> CardFacts:
    made = dict.fromkeys(("encoder", "model", "matrix", "signal"), "0" * 64)
    config = ModelConfig(
        architecture="bottleneck", tracks=3, embedding_size=6, hidden_size=8, context_size=context_size
    )
    encoder = EncoderManifest(
        config=config, scaler=Scaler(tracks=TRACKS, mean=[0, 0, 0], scale=[1, 1, 1]), scaler_sha256="0",
        assembly="toy", bin_size=25, model_fingerprint="0", matrix_fingerprint="0", package_version="1", opset=17,
        parity={"encoder.onnx": 1e-6}, files={},
    )  # fmt: skip
    split = Split(train=["chr1"], validation=["chr2"], test=["chr3"])
    matrix = MatrixManifest(
        assembly="toy", bin_size=25, chromosome_sizes={}, regions=[], tracks=TRACKS, frame_bins=100, split=split,
        bins_with_data={}, signal_fingerprint="0", scaler_sha256="0",
    )  # fmt: skip
    training = dict.fromkeys(("epochs", "best_epoch", "steps"), 1)
    training |= dict.fromkeys(("train_mse", "validation_mse", "validation_r2", "weights_moved"), 0.5)
    training |= {"rotation": "varimax", "context": CONTEXT if context_size else None}
    score = ReconstructionScore(r2=0.8, mse=0.2, track_r2={})
    results = EvaluationResults(
        embedding_size=6, representation_sizes={}, pooling=["mean"], task_order=[], tasks={}, confidence=0.95,
        bootstrap=10, folds=FoldsUsed(by="chromosome", count=5, leaky=False),
        reconstruction=Reconstruction(
            chromosomes=["chr3"], bins=9, size=6 - context_size, pca_curve=[],
            models=dict.fromkeys(("model", "pca", "untrained"), score),
        ),
    )  # fmt: skip
    provenance = Provenance(
        **{f"{name}_fingerprint": value for name, value in made.items()}, evaluation_fingerprint=None,
        samplesheet="sheet.csv", samplesheet_sha256=None, assembly="toy", bin_size=25, embedding_size=6, tracks=[],
        files={}, params={}, package_version="1", code_revision="0", image=None, pipeline_ir_sha256=None,
    )  # fmt: skip
    return CardFacts("encoder", "v1.0.0", provenance, encoder, matrix, {"seed": 1, "training": training}, results, None)


def test_a_model_with_a_context_level_is_described_in_its_two_parts():
    card = model_card(facts(context_size=2))
    assert "6 numbers per 25-bp bin out. The first 4 are the bin's own code, the last 2 a code of its context" in card
    assert "seen in frames of 100 bins. Axes are varimax-rotated" in card
    assert "| context level: frames | 1,234 |" in card
    assert "| context level: validation r2 of frames | 0.5000 |" in card
    assert "from the 4 numbers of the bin code (PCA and the untrained encoder have as many)" in card


@pytest.mark.parametrize("absent", ["context level", "seen in frames", "bin code"])
def test_a_model_without_one_is_not(absent):
    card = model_card(facts(context_size=0))
    assert absent not in card
    assert "from 6 numbers per bin (PCA and the untrained encoder have as many)" in card


def test_a_model_that_no_task_was_evaluated_with_has_no_table_of_scores():
    card = model_card(facts(context_size=0))
    assert "No tasks were evaluated." in card
    assert "Average precision" not in card
