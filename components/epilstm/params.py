"""Parameters: one strict model per section of ``params.yaml``.

Every step reads its own section and nothing else. Unknown keys, wrong types and impossible values are errors
that name the key, the value and what is allowed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from epilstm.errors import ParamsError
from epilstm.files.text import read_text
from epilstm.representation_names import PARTS, Part, RepresentationName, parse_name

PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
ChromosomeName = Annotated[str, Field(pattern=r"^[^\s/#]+$")]
Codec = Literal["none", "lz4", "zstd"]
#: An interval of a chromosome, 0-based and half-open; commas may group the digits.
INTERVAL = re.compile(r"(?P<chrom>[^\s/#]+):(?P<start>[0-9,]+)-(?P<end>[0-9,]+)")
#: A statistic of a window's bins.
Pooling = Annotated[str, Field(pattern=r"^(mean|max|std|context|q[1-9][0-9]?)$")]

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """Base of all parameter models: strict types, no unknown keys, finite numbers, immutable.

    A model's checks are built at its first use: a step uses one section of ten.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class SimulateParams(Section):
    """The simulated epigenome."""

    seed: Seed = Field(7, description="seed of every random draw; same seed, same bytes")
    chromosomes: dict[ChromosomeName, Annotated[int, Field(ge=100_000, le=1_000_000_000)]] = Field(
        default={"chr1": 2_000_000, "chr2": 1_500_000, "chr3": 1_200_000, "chr4": 1_000_000},
        min_length=1,
        description="name and length (bp) of each chromosome",
    )
    cell_types: Annotated[int, Field(ge=1, le=16)] = Field(4, description="number of cell types")
    assays: list[str] = Field(
        default=["DNase", "H3K4me1", "H3K4me3", "H3K27ac", "H3K27me3", "H3K36me3"],
        description="assays measured in every cell type",
        min_length=1,
    )


class IngestParams(Section):
    """From bigWig files to mean signal per bin."""

    samplesheet: str = Field(
        "data/simulated/samplesheet.csv", description="read by dvc.yaml: the data set's samplesheet"
    )
    regions: str = Field("data/simulated/regions.bed", description="read by dvc.yaml: BED of the regions to ingest")
    blacklist: str = Field("regions/no-blacklist.bed", description="read by dvc.yaml: BED of bins to leave out")
    assembly: str = Field("hg19", description="hg19, hg38, mm10 or the path of a chrom.sizes file")
    bin_size: Annotated[int, Field(ge=1, le=100_000)] = Field(25, description="bin size (bp)")
    workers: NonNegativeInt = Field(0, description="worker processes; 0 takes one per available core")
    codec: Codec = Field("lz4", description="compression of the signal store")
    retries: NonNegativeInt = Field(4, description="further attempts at a remote read that failed")


def _held_out(value: Any) -> list[str] | float:
    """Check places that are held out: a list of them, or their share."""
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, int | float):
        raise ValueError("a share should be above 0 and below 1")
    if not isinstance(value, list):
        raise ValueError("input should be a valid list")
    if not value:
        raise ValueError("list should have at least 1 item")
    if not all(isinstance(each, str) for each in value):
        raise ValueError("every item of the list should be a valid string")
    return value


#: Chromosomes, intervals of them, or a share of the data.
HeldOut = Annotated[list[str] | float, PlainValidator(_held_out)]


class SplitParams(Section):
    """What is held out of training; all else trains."""

    by: Literal["chromosome", "region"] = Field(
        "chromosome", description="hold out whole chromosomes, or intervals of them where there are one or two"
    )
    validation: HeldOut = Field(
        default=["chr3"],
        description="chromosomes for early stopping; by region: intervals as chr1:0-5000000, or a share as 0.1",
    )
    test: HeldOut = Field(
        default=["chr4"], description="chromosomes that training never sees; by region: intervals, or a share"
    )
    seed: Seed = Field(1, description="of the draw, where a share of the data is held out")

    @model_validator(mode="after")
    def _disjoint(self) -> SplitParams:
        if isinstance(self.validation, float) and isinstance(self.test, float):
            if self.by == "chromosome":
                raise ValueError("shares need by: region; by chromosome, name the chromosomes")
            if self.validation + self.test >= 1:
                raise ValueError("the shares of validation and test should leave something to train on")
            return self
        if isinstance(self.validation, float) or isinstance(self.test, float):
            raise ValueError("give validation and test both as lists, or both as shares")
        for names in (self.validation, self.test):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)} is listed twice")
        both = sorted(set(self.validation) & set(self.test))
        if both:
            raise ValueError(f"{', '.join(both)} is both a validation and a test chromosome")
        interval = next((name for name in [*self.validation, *self.test] if INTERVAL.fullmatch(name)), None)
        if interval is not None and self.by == "chromosome":
            raise ValueError(f"{interval} is an interval of a chromosome, which needs by: region")
        return self


class PreprocessParams(Section):
    """From signal to the standardised matrix."""

    split: SplitParams = SplitParams()
    clip: Annotated[float, Field(ge=1, le=60_000)] = Field(
        50.0,
        description="largest standardised value, either way (standard deviations); the rest is cut off there",
    )
    frame_bins: Annotated[int, Field(ge=2, le=10_000)] = Field(
        200, description="bins per frame, which is what a token of the context level summarises"
    )
    codec: Codec = Field("lz4", description="compression of the matrix store")
    workers: NonNegativeInt = Field(
        0, description="worker processes; 0 takes one per available core, as far as 1 GB of memory allows"
    )


Architecture = Literal["bottleneck", "published", "published_softsign"]

#: Numbers of the bin code and of the context code at most, where the number of tracks chooses them.
MAX_CODE_SIZE = 12

#: Distances around its frame at which the context level's code is trained to predict the mean signal (bp), by kind of
#: model.
CONTEXT_TARGETS_BP = {"tracks": [5_000, 20_000, 100_000], "cell_types": [20_000, 100_000, 500_000, 1_000_000]}


def _listed(numbers: list[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)


class TrainSplitParams(Section):
    """What one model is trained without, in place of the matrix's split; as it is where both lists are empty."""

    validation: list[ChromosomeName] = Field(default=[], description="chromosomes for early stopping")
    test: list[ChromosomeName] = Field(default=[], description="chromosomes that training never sees")

    @model_validator(mode="after")
    def _both_or_neither(self) -> TrainSplitParams:
        if bool(self.validation) != bool(self.test):
            raise ValueError("name chromosomes of both validation and test, or leave both empty")
        if self.validation:
            SplitParams(validation=self.validation, test=self.test)
        return self


class ImputerParams(Section):
    """The imputer of a model by cell type: a small network beside the autoencoder."""

    enabled: bool = Field(
        False, description="train a network that imputes assays of cell types it has never seen (kind cell_types only)"
    )
    window: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default=[1, 5, 20], description="distances in bins, before and after a bin, over which it sees means"
    )
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = Field(96, description="units of each of its hidden layers")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(2, description="its hidden layers")
    bins: PositiveInt = Field(
        200_000, description="training examples at most, each a bin of one cell type, spread over the training places"
    )
    steps: PositiveInt = Field(3000, description="steps of its optimiser")
    batch: PositiveInt = Field(1024, description="examples of a step")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(2e-3, description="its peak learning rate")


class TrainParams(Section):
    """The LSTM autoencoder and how it is trained."""

    kind: Literal["tracks", "cell_types"] = Field(
        "tracks",
        description="tracks: one code per bin of all tracks; cell_types: one code per bin and cell type, by a network "
        "that all cell types share",
    )
    architecture: Architecture = Field("bottleneck", description="name in the registry of architectures")
    embedding_size: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        "auto",
        description="numbers per bin in the embedding (of each cell type, where kind is cell_types); auto is a bin "
        f"code of half as many numbers as tracks, at most {MAX_CODE_SIZE}, and a context code of as many: together "
        "fewer than tracks",
    )
    hidden_size: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="recurrent width of encoder and decoder")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(1, description="stacked recurrent layers")
    directions: Literal[1, 2] = Field(1, description="directions of the encoder; one can stream along a chromosome")
    dropout: Fraction = Field(0.0, description="share of hidden units dropped between layers in training")
    layer_norm: bool = Field(False, description="normalise the output of each recurrent layer")
    rotation: Literal["varimax", "none"] = Field(
        "varimax", description="turn the code's axes so that each says something of few tracks (bottleneck only)"
    )
    context_size: Literal["auto"] | Annotated[int, Field(ge=0, le=4096)] = Field(
        "auto",
        description="numbers of the embedding that describe the frames around a bin; 0 has no context level; auto is "
        f"half of the embedding, at most {MAX_CODE_SIZE}",
    )
    linear_size: Literal["auto"] | Annotated[int, Field(ge=0, le=4096)] = Field(
        "auto",
        description="numbers of the context code that are principal components of the cell type's own means in a frame "
        "and around it (kind cell_types only)",
    )
    consensus_size: Literal["auto"] | Annotated[int, Field(ge=0, le=4096)] = Field(
        "auto",
        description="numbers of the context code that are principal components of the other cell types' means (kind "
        "cell_types only)",
    )
    context_hidden: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="recurrent width of the context level")
    context_epochs: PositiveInt = Field(100, description="passes over the training frames at most (context level)")
    context_track_dropout: Fraction = Field(
        0.3, description="share of tracks hidden from the context level, drawn per sequence of frames; all are targets"
    )
    context_surroundings_bp: Literal["auto"] | list[Annotated[int, Field(gt=0, le=100_000_000)]] = Field(
        "auto",
        description="the context level's code also predicts the mean signal so far on either side of its frame (bp); "
        f"auto is {_listed(CONTEXT_TARGETS_BP['tracks'])}, or {_listed(CONTEXT_TARGETS_BP['cell_types'])} where kind "
        "is cell_types",
    )
    imputation: ImputerParams = ImputerParams()
    streams: PositiveInt = Field(32, description="contiguous intervals of genome trained on in parallel")
    frames_per_step: PositiveInt = Field(1, description="frames that a gradient is propagated back through")
    carry_state: bool = Field(True, description="start a step from the state the last one ended with, not from zero")
    track_dropout: Fraction = Field(
        0.05, description="share of tracks hidden from the encoder, drawn per stream and step; all are reconstructed"
    )
    peak_weight: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.0, description="further weight in the loss of a bin where any track is far above its mean"
    )
    neighbour_bins: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="also predict the tracks so many bins ahead and behind, in training; 0 does not"
    )
    train_bins: NonNegativeInt = Field(
        0,
        description="train on about so many bins, chosen by the seed; 0 takes all; where kind is "
        "cell_types, the context level takes all in any case",
    )
    split: TrainSplitParams = TrainSplitParams()
    epochs: PositiveInt = Field(60, description="passes over the training chromosomes at most")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="optimiser")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(5e-3, description="peak learning rate")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="weight decay")
    warmup_steps: NonNegativeInt = Field(50, description="steps of linear warm-up; the schedule follows")
    schedule: Literal["cosine", "constant", "trapezoid"] = Field(
        "trapezoid", description="learning rate after the warm-up; trapezoid is constant and falls over the last steps"
    )
    clip_norm: Annotated[float, Field(ge=1e-3)] = Field(1.0, description="largest gradient norm")
    patience: PositiveInt = Field(
        4, description="epochs without a better validation loss before stopping; a trapezoid is run to its end"
    )
    checkpoint_steps: PositiveInt = Field(200, description="optimiser steps between checkpoints")
    seed: Seed = Field(1, description="seed of the initial weights, the data order and dropout")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU where there is one")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of matrix products; auto is bfloat16 on a GPU (LSTMs in TF32), float32 on a CPU"
    )
    threads: NonNegativeInt = Field(0, description="CPU threads; 0 takes one per available core")
    memory_gb: Annotated[float, Field(ge=0)] = Field(
        2.0, description="a training matrix up to this size is held in memory; a larger one is streamed from disk"
    )

    @property
    def context_targets_bp(self) -> list[int]:
        """Distances on either side of a frame at which the context level is trained to predict the mean signal (bp)."""
        given = self.context_surroundings_bp
        return CONTEXT_TARGETS_BP[self.kind] if given == "auto" else given


class ExportParams(Section):
    """From the trained model to ONNX encoders."""

    parity_tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-4, description="largest difference to torch, relative to the embedding's standard deviation"
    )
    triton: bool = Field(True, description="write a Triton model repository beside the encoders")


class EmbedParams(Section):
    """From the matrix to an embedding per bin."""

    chunk_bins: Annotated[int, Field(ge=10)] = Field(2000, description="bins embedded by one run of the encoder")
    warmup_bins: NonNegativeInt = Field(200, description="bins of context run before each chunk and thrown away")
    warmup_frames: NonNegativeInt = Field(
        128, description="frames of context on either side of each interval of the context level, where there is one"
    )
    batch: NonNegativeInt = Field(0, description="chunks per call of the encoder; 0 chooses, by tracks and provider")
    threads: NonNegativeInt = Field(0, description="CPU threads; 0 takes one per available core")
    provider: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the encoder runs")
    codec: Codec = Field("lz4", description="compression of the embeddings store")
    cell_types: Literal["all"] | Annotated[list[str], Field(min_length=1)] = Field(
        "all",
        description="cell types that are embedded, in this order, by a model that they share (train.kind: cell_types); "
        "all embeds every one of them",
    )

    @property
    def chosen_cell_types(self) -> list[str] | None:
        """Cell types that are named; None for all."""
        return None if self.cell_types == "all" else self.cell_types


class FoldParams(Section):
    """How labelled examples are held out."""

    by: Literal["chromosome", "region", "random"] = Field(
        "chromosome", description="what a fold holds out whole; random leaks neighbours and is labelled so"
    )
    count: Annotated[int, Field(ge=2, le=50)] = Field(5, description="folds")


ClassifierKind = Literal["xgboost", "logistic", "random_forest"]


def _kinds(value: Any) -> ClassifierKind | list[ClassifierKind]:
    """Check one kind of classifier, or a list of several."""
    allowed, listed = get_args(ClassifierKind), value if isinstance(value, list) else [value]
    if not listed or any(each not in allowed for each in listed):
        raise ValueError(f"input should be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, or a list of these")
    if len(set(listed)) < len(listed):
        raise ValueError("a kind is listed twice")
    return value  # type: ignore[no-any-return]


class ClassifierParams(Section):
    """What learns from features, the same for every representation; levels are learnt by the regressor of its kind."""

    kind: Annotated[ClassifierKind | list[ClassifierKind], PlainValidator(_kinds)] = Field(
        "xgboost",
        description="boosted trees, a linear model on standardised features (logistic; ridge for levels), or a forest; "
        "or a list of several, of which the first makes the main tables and the gate",
    )
    penalty: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="strength of the linear model's L2 penalty; auto chooses it in each fold by whole groups held back "
        "from training, which is fair to representations of any size",
    )
    trees: PositiveInt = Field(100, description="boosting rounds at most; trees of a forest")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="shrinkage of boosting")
    depth: Annotated[int, Field(ge=1, le=16)] = Field(4, description="depth of a boosted tree; a forest's are full")
    histogram_bins: Annotated[int, Field(ge=2, le=1024)] = Field(64, description="bins per feature of boosting")
    early_stopping_rounds: NonNegativeInt = Field(
        0, description="rounds of boosting without a better loss on held-back groups before stopping; 0 never stops"
    )

    @property
    def kinds(self) -> list[ClassifierKind]:
        """The kinds asked for, the main one first."""
        return self.kind if isinstance(self.kind, list) else [self.kind]

    def of_kind(self, kind: ClassifierKind) -> ClassifierParams:
        """The same settings with one kind."""
        return self.model_copy(update={"kind": kind})


class CrossFitParams(Section):
    """Groups of chromosomes, each scored by what was fitted and trained without it, so that all labels count."""

    groups: NonNegativeInt | list[Annotated[list[ChromosomeName], Field(min_length=1)]] = Field(
        0,
        description="groups of chromosomes: lists of names, or how many groups of about equal size to make (as many as "
        "there are chromosomes leaves each out once); PCA, NMF and probes are fitted without the group that they "
        "score; 0 does not cross-fit",
    )
    models: list[str] = Field(
        default=[],
        description="model folders, one per group, each trained without its chromosomes; without them, all groups are "
        "embedded by --model, and the results say which chromosomes it was trained on",
    )
    embeddings: list[str] = Field(
        default=[],
        description="in place of models: embeddings folders, one per group, each made of this matrix by a model that "
        "was trained without the group's chromosomes",
    )

    @model_validator(mode="after")
    def _groups_apart(self) -> CrossFitParams:
        if isinstance(self.groups, list):
            names = [name for group in self.groups for name in group]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"groups: {twice[0]} is listed twice")
        count = self.groups if isinstance(self.groups, int) else len(self.groups)
        if count == 1 or self.groups == []:
            raise ValueError("groups: at least two are needed: each is scored by what the others teach")
        for key, given in (("models", self.models), ("embeddings", self.embeddings)):
            if given and len(given) != count:
                raise ValueError(f"{key}: {len(given)} {key} for {count} groups; give one per group, in their order")
        if self.models and self.embeddings:
            raise ValueError("models and embeddings both say how groups are embedded; give one of them")
        return self


#: What is compared unless the params say otherwise: the embedding, and baselines of equal size and reach.
COMPARED = ("embedding", "raw", "raw+means", "pca", "pca(raw+means)", "nmf", "untrained", "majority")

#: What evaluate can compare, by name; read once here, written as it was given.
Compared = Annotated[RepresentationName, PlainValidator(parse_name), PlainSerializer(str, return_type=str)]


class FactorisationParams(Section):
    """The Avocado-style factorisation that imputation is compared with."""

    training_bins: Annotated[int, Field(ge=1_000)] = Field(
        16_000, description="bins of the training chromosomes that cell types, assays and network are learnt on"
    )
    epochs: PositiveInt = Field(15, description="passes over them; many more fit what was seen and nothing else")
    steps: PositiveInt = Field(80, description="steps in which genome factors are fitted to the bins to impute")
    shrinkage: Annotated[float, Field(ge=0)] = Field(
        0.3, description="weight of the squared genome factors (mean over bins) beside the mean squared error"
    )


class TreesParams(Section):
    """The boosted trees that imputation is compared with."""

    count: PositiveInt = Field(200, description="trees of each track")
    depth: Annotated[int, Field(ge=1, le=16)] = Field(6, description="depth of a tree")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="learning rate")
    features: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="share of the features that a tree sees")


#: What imputation is compared with.
ImputationBaseline = Literal["assay_mean", "pca", "linear", "ridge", "trees", "factorisation"]


class ImputationParams(Section):
    """Imputation of tracks that are hidden at the network's input, on chromosomes that training never saw."""

    enabled: bool = Field(False, description="hide tracks, impute them and compare (minutes)")
    split: Literal["test", "validation"] = Field(
        "test", description="chromosomes to impute; those of validation are there to choose params on"
    )
    tracks: NonNegativeInt = Field(100, description="tracks to impute at most, evenly spaced; 0 for all")
    folds: NonNegativeInt = Field(5, description="groups in which tracks are hidden together; 0 hides each alone")
    bins: Annotated[int, Field(ge=1_000)] = Field(
        60_000, description="bins of these chromosomes to impute, about, in intervals spread over them"
    )
    baselines: list[ImputationBaseline] = Field(
        default=list(get_args(ImputationBaseline)),
        description="what the network is compared with: assay_mean (mean of the assay in other cell types), pca, "
        "linear (from the other tracks at the bin), ridge and trees (per track, neighbouring bins, too), factorisation "
        "(Avocado-style)",
    )
    training_bins: Annotated[int, Field(ge=100)] = Field(
        60_000, description="bins drawn from the training chromosomes that ridge and trees learn from"
    )
    window: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default=[1, 5, 20],
        min_length=1,
        description="ridge and trees see the tracks' means over so many bins before and after each bin",
    )
    ridge_penalty: Annotated[float, Field(gt=0)] = Field(
        100.0, description="weight of the squared coefficients of ridge beside the summed squared error"
    )
    trees: TreesParams = TreesParams()
    factorisation: FactorisationParams = FactorisationParams()

    @model_validator(mode="after")
    def _baselines_once(self) -> ImputationParams:
        for key, given in (("baselines", list(map(str, self.baselines))), ("window", list(map(str, self.window)))):
            twice = sorted({each for each in given if given.count(each) > 1})
            if twice:
                raise ValueError(f"{key}: {twice[0]} is listed twice")
        return self


class EvaluateParams(Section):
    """What the embedding is worth downstream."""

    tasks: str = Field("data/simulated/tasks.yaml", description="read by dvc.yaml: the tasks file")
    labels: str = Field("data/simulated/labels", description="read by dvc.yaml: folder of the label files")
    representations: list[Compared] = Field(
        default=[parse_name(each) for each in COMPARED],
        min_length=1,
        description="what is compared: embedding, bin_code, context_code, raw, means, pca, pca_varimax, nmf, "
        "untrained, majority; pca, pca_varimax and nmf have the size of the embedding, or their own; means are over so "
        "many base pairs on either side (means:20k,1M), or as far as the context level's targets; pca and nmf are of "
        "the tracks, or of what is in brackets (pca:24(raw+means)); own(raw+means) is of the tracks of the task's own "
        "cell type, own(embedding) its code of a model by cell type; + puts numbers side by side (pca:12+context_code)",
    )
    also: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(
        default={}, description="other models' embeddings of the same matrix to compare: name and dataset folder"
    )
    pooling: list[Pooling] = Field(
        default=["mean", "max", "std"],
        min_length=1,
        description="how the bins of a window become features, for every representation: mean, max, std, quantiles "
        "(q10 is the tenth percentile), context (mean of the widened window)",
    )
    context_bp: PositiveInt = Field(10_000, description="how far context widens a window on either side (bp)")
    pair_distance: bool = Field(False, description="the distance between a pair's windows is a feature, too")
    folds: FoldParams = FoldParams()
    score_on: Literal["all", "validation", "test"] = Field(
        "all",
        description="which labelled examples are scored: all, or those on the validation or test chromosomes of the "
        "matrix's split; probes learn from the examples of all other folds in any case",
    )
    cross_fit: CrossFitParams = CrossFitParams()
    classifier: ClassifierParams = ClassifierParams()
    label_budgets: list[PositiveInt] = Field(
        default=[], description="also learn from so many labelled examples only, drawn at random, as [100, 1000]"
    )
    label_draws: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="draws of the examples of each label budget; scores are means over them"
    )
    blocks_bp: Annotated[int, Field(ge=10_000)] = Field(
        500_000,
        description="length of the blocks of genome that the bootstrap resamples, and within which scores within "
        "blocks are taken (bp)",
    )
    reconstruction_bins: Annotated[int, Field(ge=1_000)] = Field(
        2_000_000,
        description="bins of the test chromosomes that reconstruction is scored on, and of the training chromosomes "
        "that PCA and NMF are fitted on, at most, spread over them",
    )
    bootstrap: Annotated[int, Field(ge=10, le=100_000)] = Field(1000, description="bootstrap resamples")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="confidence of the intervals")
    leak: bool = Field(False, description="show by how much random folds would flatter the embedding and raw tracks")
    missing_tracks: Fraction = Field(
        0.0, description="share of tracks hidden from trained classifiers, to show what it costs; 0 leaves it out"
    )
    missing_draws: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="draws of the hidden tracks, over which falls are averaged; each takes a pass of the network"
    )
    cross_cell_type: bool = Field(
        False, description="also learn from all labelled cell types but one, and predict that one"
    )
    imputation: ImputationParams = ImputationParams()
    seed: Seed = Field(1, description="seed of folds, classifiers and bootstrap")
    threads: NonNegativeInt = Field(0, description="CPU threads; 0 takes one per available core")

    @model_validator(mode="after")
    def _consistent(self) -> EvaluateParams:
        names = list(map(str, self.representations))
        budgets = list(map(str, self.label_budgets))
        for key, listed in {"representations": names, "pooling": self.pooling, "label_budgets": budgets}.items():
            twice = sorted({name for name in listed if listed.count(name) > 1})
            if twice:
                raise ValueError(f"{key}: {twice[0]} is listed twice")
        first: dict[frozenset[Part], RepresentationName] = {}
        for name in self.representations:
            same = first.setdefault(frozenset(name.parts), name)
            if same != name:
                raise ValueError(f"representations: {same} and {name} are the same; leave one out")
        if "embedding" not in names:
            raise ValueError("representations: embedding is what is evaluated; list it, too")
        taken = sorted(set(self.also) & set(PARTS))
        if taken:
            raise ValueError(f"also: {taken[0]} is the name of a representation of evaluate's own; choose another")
        if self.cross_fit.groups and (self.folds.by != "chromosome" or self.leak):
            raise ValueError(
                "cross_fit holds out its groups of chromosomes; set folds.by to chromosome and leak to false"
            )
        if self.cross_fit.embeddings and self.missing_tracks:
            raise ValueError(
                "missing_tracks encodes with hidden tracks, which stored embeddings do not have; give cross_fit.models "
                "in place of cross_fit.embeddings"
            )
        if self.score_on != "all" and (self.leak or self.cross_cell_type):
            raise ValueError("score_on: leak and cross_cell_type score all examples; set score_on to all")
        if self.leak and self.folds.by == "random":
            raise ValueError("leak compares random folds with grouped ones; set folds.by to chromosome or region")
        return self


class ReportParams(Section):
    """The HTML report."""

    title: str = Field("Epi-LSTM report", min_length=1, description="title of the page")
    window: str = Field("", description="region to draw, chrom:start-end; empty takes one of the test chromosomes")
    tracks: list[str] = Field(
        default=[], max_length=24, description="tracks to draw, cell_type-assay; empty takes one each of a few assays"
    )


class PromoteParams(Section):
    """The promotion gate: what a challenger must show to follow the champion."""

    min_r2_gain: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="held-out reconstruction R2 that the challenger must have over PCA and the untrained encoder"
    )
    max_task_fall: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1,
        description="average precision that a task may lose to the champion where the interval includes 0, and that it "
        "may lose in one of its cell types",
    )
    min_mean_gain: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="average precision over all tasks that the challenger must have over the champion"
    )
    stale: Literal["incomparable", "other_data"] = Field(
        "incomparable",
        description="when a champion need not be surpassed: it cannot take the data, or was trained on other data",
    )
    parity_tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-4, description="largest difference of the ONNX encoder to the model, in standard deviations"
    )
    max_megabytes: Annotated[float, Field(gt=0)] = Field(100.0, description="largest size of encoder.onnx")
    max_milliseconds: Annotated[float, Field(gt=0)] = Field(
        50.0, description="longest median time of a call of 1 x 100 bins on one CPU thread"
    )
    min_weights_moved: Annotated[float, Field(ge=0)] = Field(
        1e-3, description="least relative change of the weights in training"
    )
    threads: NonNegativeInt = Field(0, description="CPU threads; 0 takes one per available core")
    force: str = Field("", description="reason to promote whatever the gate finds; kept in the decision")


#: A mild and a severe limit.
Limits = Annotated[list[float], Field(min_length=2, max_length=2)]


class MonitorParams(Section):
    """Drift: how far new data may be from those that the model was trained on, as [warn, drift]."""

    bins_per_chromosome: Annotated[int, Field(ge=1_000)] = Field(
        100_000, description="bins compared on each chromosome, in long blocks spread over it"
    )
    false_alarms: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.05, description="share of untouched tracks that may warn where limits follow from the reference itself"
    )
    psi: Limits = Field([0.1, 0.25], description="population stability index of a track's values")
    kolmogorov_smirnov: Limits = Field([0.1, 0.2], description="Kolmogorov-Smirnov distance of a track's values")
    scale: Limits = Field([0.35, 0.55], description="log2 of the factor on a track's high values, either way")
    signal_to_noise: Limits = Field([0.4, 0.6], description="log2 of the factor on signal to noise, either way")
    transformed: Limits = Field(
        [0.05, 0.12],
        description="log2 by which its values fit the reference's transformed signal better than its signal",
    )
    zeros: Limits = Field([0.05, 0.2], description="difference in the share of bins without signal, either way")
    missing: Limits = Field([0.02, 0.1], description="share of bins without data where the reference has signal")
    correlation: Limits = Field(
        [0.6, 0.4], description="correlation with the reference track of the same name, at the same bins; low is bad"
    )
    other_track: Limits = Field([0.0, 0.1], description="lead of another track's correlation over that of its name")
    other_assay: Limits = Field([0.05, 0.1], description="lead of another assay's mean correlation over its own")
    same_assay: Limits = Field(
        [0.5, 0.75], description="share lost of the correlation with its assay, where no track of its name is there"
    )
    reconstruction: Limits = Field([3.0, 6.0], description="factor on the share of a track that the model misses")
    embedding: Limits = Field([0.05, 0.2], description="Frechet distance of the embeddings, as a share of variance")
    served_mean: Limits = Field(
        [0.25, 0.5], description="shift of the mean of a server's inputs, in standard deviations, either way"
    )
    served_spread: Limits = Field([0.35, 0.55], description="log2 of the factor on their spread, either way")
    threads: NonNegativeInt = Field(0, description="CPU threads; 0 takes one per available core")

    @model_validator(mode="after")
    def _ordered(self) -> MonitorParams:
        for name, limits in self:
            low_is_bad = name == "correlation"
            if isinstance(limits, list) and limits != sorted(limits, reverse=low_is_bad):
                order = "below" if low_is_bad else "above"
                raise ValueError(f"{name}: the first limit, to warn, lies {order} the second, of drift")
        return self


SECTIONS: dict[str, type[Section]] = {
    "simulate": SimulateParams,
    "ingest": IngestParams,
    "preprocess": PreprocessParams,
    "train": TrainParams,
    "export": ExportParams,
    "embed": EmbedParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
    "promote": PromoteParams,
    "monitor": MonitorParams,
}


class _Loader(yaml.SafeLoader):
    """YAML as DVC reads it: ``1e-3`` is a number, a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


#: What git leaves in a file where it could not merge two sides.
_CONFLICT = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises
    ------
    ParamsError
        The file is missing or not YAML; the message names the line.
    """
    return parse_yaml(read_text(path, "YAML", ParamsError), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Content of YAML text.

    Raises
    ------
    ParamsError
        Not YAML; the message names `where` and the line.
    """
    marker = _CONFLICT.search(text)
    if marker is not None:
        line = text.count("\n", 0, marker.start()) + 1
        raise ParamsError(f"{where}:{line}: holds a conflict marker of git ({marker[1]}); settle the merge in the file")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ParamsError(f"{place}: not valid YAML: {problem}") from error


def read_sections(path: Path) -> dict[str, Any]:
    """Sections of a params file as they stand there; only their names are checked.

    Raises
    ------
    ParamsError
        Not YAML, not a mapping, or an unknown section.
    """
    content = read_yaml(path)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    unknown = [str(key) for key in content if key not in SECTIONS]
    if unknown:
        raise ParamsError(f"{path}: unknown section {unknown[0]!r}; sections are {', '.join(SECTIONS)}")
    return content


def load_section(path: Path, name: str, model: type[M]) -> M:
    """One section of a params file; keys that are absent keep their defaults.

    Parameters
    ----------
    path : Path
        YAML file with one mapping per step. Sections of other steps are checked for their name only.
    name : str
        Section to read.
    model : type
        Its model.

    Raises
    ------
    ParamsError
        Not YAML, an unknown section or key, a wrong type, or a value out of range.
    """
    section = read_sections(path).get(name)
    return validate(model, {} if section is None else section, f"{path}: {name}")


def validate(model: type[M], content: Any, where: str) -> M:
    """Build a model from parsed content, turning the first violation into one line.

    Raises
    ------
    ParamsError
        Names the key as ``where.key``, the rule and the value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ParamsError(_describe(error, model, where)) from error


def _describe(error: ValidationError, model: type[BaseModel], where: str) -> str:
    first = error.errors()[0]
    key = ".".join([where, *(str(part) for part in first["loc"])])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; keys are {', '.join(_keys_at(model, first['loc'][:-1]))}{more}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower() + message[1:]}, got {first['input']!r}{more}"


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
