"""Dashboard of the models' quality over time: evaluation, training, promotion."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from manifests.monitoring.dashboards.frame import PIPELINE, PROCESS, PROMOTIONS, choice, frame, namespace
from manifests.monitoring.dashboards.panels import (
    GREEN,
    ORANGE,
    RED,
    YES_IS_BAD,
    AnyPanel,
    Query,
    Words,
    bars,
    number,
    over_time,
    rows,
    states,
)

TASK = f'{PIPELINE}, task=~"$task"'
COMPARED = f'{TASK}, representation=~"$representation"'
BY_TASK = "namespace, pipeline, task"
PRECISION = "epilstm_evaluation_average_precision_ratio"


def build() -> Dashboard:
    """The dashboard."""
    return frame(
        "quality",
        "Epi-LSTM: model quality",
        "How good the models are, run by run: mean average precision (mAP) per task against the baselines, "
        "reconstruction, training, and which model was promoted.",
        [
            namespace(PRECISION),
            choice("pipeline", "Pipeline", PRECISION, 'namespace=~"$namespace"'),
            choice("task", "Task", PRECISION, PIPELINE),
            choice("representation", "Representation", PRECISION, PIPELINE),
        ],
        [PROMOTIONS],
        [
            ("At a glance", _glance()),
            ("Evaluation", _evaluation()),
            ("Promotion", _promotion()),
            ("Training and export", _training()),
        ],
        "now-30d",
    )


def _glance() -> list[AnyPanel]:
    def last(metric: str) -> str:
        return f"max by (namespace, pipeline) ({metric}{{{PIPELINE}}})"

    return [
        number(
            Words(
                "mAP of the embedding",
                "Mean over the tasks that are chosen, at the last evaluation.",
                "percentunit",
                "EpilstmAveragePrecisionFell",
            ),
            Query(f'avg by (namespace, pipeline) ({PRECISION}{{{TASK}, representation="embedding"}})', "{{pipeline}}"),
            decimals=1,
        ),
        number(
            Words(
                "Above the best baseline",
                "mAP of the embedding less that of the best baseline (raw tracks, PCA, untrained encoder, majority), "
                "in the task where that is least. Below 0 something simpler is better there.",
                "percentunit",
            ),
            Query(f"min({_advantage()})"),
            thresholds=[(-1, RED), (0, GREEN)],
            decimals=1,
        ),
        number(
            Words("R2 of the reconstruction", "Of the model, on the test chromosomes.", "percentunit"),
            Query(
                "max by (namespace, pipeline) "
                f'(epilstm_evaluation_reconstruction_r2_ratio{{{PIPELINE}, representation="model"}})',
                "{{pipeline}}",
            ),
            decimals=1,
        ),
        number(
            Words(
                "Age of the champion",
                "Time since a challenger was last promoted.",
                "s",
                "EpilstmChampionStale",
            ),
            Query(f"time() - {last('epilstm_promotion_last_promoted_timestamp_seconds')}", "{{pipeline}}"),
            thresholds=[(60 * 86400, ORANGE), (90 * 86400, RED)],
            none="none promoted",
        ),
        number(
            Words(
                "Last decision",
                "Whether the last challenger was promoted or the champion held.",
                "short",
            ),
            Query(
                f'max by (namespace, pipeline) (epilstm_promotion_decision{{{PIPELINE}, decision="promote"}})',
                "{{pipeline}}",
            ),
            values={"1": ("promoted", GREEN), "0": ("held", ORANGE)},
            width=3,
        ),
        number(
            Words("Failed checks", "Checks of the gate that failed at the last decision.", "short"),
            Query(last("epilstm_promotion_failed_checks"), "{{pipeline}}"),
            thresholds=[(1, ORANGE)],
            width=3,
        ),
        number(
            Words("Forced", "Whether somebody overrode the gate at the last decision.", "short"),
            Query(last("epilstm_promotion_forced"), "{{pipeline}}"),
            values=YES_IS_BAD,
            width=2,
        ),
    ]


def _advantage() -> str:
    own = f'max by ({BY_TASK}) ({PRECISION}{{{TASK}, representation="embedding"}})'
    return f'{own} - max by ({BY_TASK}) ({PRECISION}{{{TASK}, representation!="embedding"}})'


def _evaluation() -> list[AnyPanel]:
    each = f"max by ({BY_TASK}, representation)"
    return [
        over_time(
            Words(
                "mAP of the embedding, by task",
                "Mean average precision over held-out folds, mean over cell types. The alert compares with the best of "
                "30 days.",
                "percentunit",
                "EpilstmAveragePrecisionFell",
            ),
            Query(f'max by ({BY_TASK}) ({PRECISION}{{{TASK}, representation="embedding"}})', "{{pipeline}} {{task}}"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words(
                "mAP by task and representation",
                "The embedding against raw tracks, PCA of the same size, an untrained encoder and the majority class.",
                "percentunit",
            ),
            Query(f"{each} ({PRECISION}{{{COMPARED}}})", "{{task}} {{representation}}"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words(
                "Above the best baseline, by task",
                "mAP of the embedding less that of the best baseline. Below 0 something simpler is better.",
                "percentunit",
            ),
            Query(_advantage(), "{{pipeline}} {{task}}"),
            steps=True,
            limits=(-0.1, 0.1),
            thresholds=[(0, GREEN)],
        ),
        bars(
            Words("mAP at the last evaluation", "By task and representation.", "percentunit"),
            Query(f"sort_desc({each} ({PRECISION}{{{COMPARED}}}))", "{{task}} {{representation}}"),
            height=10,
            limits=(0, 1),
        ),
        over_time(
            Words(
                "AUROC by task and representation",
                "Area under the ROC curve, likewise; 50% is guessing. Where positives are rare, compare mAP instead.",
                "percentunit",
            ),
            Query(f"{each} (epilstm_evaluation_auroc_ratio{{{COMPARED}}})", "{{task}} {{representation}}"),
            height=10,
            steps=True,
            limits=(0.5, 1),
        ),
        over_time(
            Words(
                "R2 of the reconstruction, by representation",
                "Share of the variance on the test chromosomes that a decoder gives back: the model, PCA of the same "
                "size, the untrained model.",
                "percentunit",
            ),
            Query(
                "max by (namespace, pipeline, representation) "
                f"(epilstm_evaluation_reconstruction_r2_ratio{{{PIPELINE}}})",
                "{{pipeline}} {{representation}}",
            ),
            height=10,
            steps=True,
            limits=(0, 1),
        ),
        rows(
            Words(
                "Examples",
                "Labelled examples at the last evaluation, over all cell types. Scores of tasks with few positives "
                "move by chance.",
                "short",
            ),
            {
                "Examples": f"max by ({BY_TASK}) (epilstm_evaluation_examples{{{TASK}}})",
                "Positives": f"max by ({BY_TASK}) (epilstm_evaluation_positives{{{TASK}}})",
            },
            {"pipeline": "Pipeline", "task": "Task"},
            width=8,
            height=7,
        ),
        rows(
            Words(
                "Models",
                "Version (first digits of the fingerprint) of the model that each step last made or used, and of the "
                "data that it read.",
                "short",
            ),
            {
                "When": f'1000 * epilstm_step_info{{{PIPELINE}, part="", model_version!=""}} '
                "* on (namespace, pipeline, step) group_left () max by (namespace, pipeline, step) "
                f'(epilstm_step_last_success_timestamp_seconds{{{PIPELINE}, part=""}})'
            },
            {
                "pipeline": "Pipeline",
                "step": "Step",
                "model_version": "Model",
                "data_version": "Data",
                "version": "Package",
                "run_id": "Run",
            },
            {"When": "dateTimeAsIso"},
            width=16,
            height=7,
            first="When",
        ),
    ]


def _promotion() -> list[AnyPanel]:
    def precision(contender: str) -> Query:
        return Query(
            f"max by ({BY_TASK}) "
            f'(epilstm_promotion_average_precision_ratio{{{PIPELINE}, task=~"$task|mean", contender="{contender}"}})',
            f"{{{{task}}}}, {contender}",
        )

    return [
        states(
            Words(
                "Decisions",
                "Green after a decision to promote the challenger, orange after one to hold the champion.",
                "short",
            ),
            Query(
                f'max by (namespace, pipeline) (epilstm_promotion_decision{{{PIPELINE}, decision="promote"}})',
                "{{pipeline}}",
            ),
            {"1": ("promote", GREEN), "0": ("hold", ORANGE)},
            width=8,
        ),
        over_time(
            Words(
                "Challenger and champion",
                "mAP of both on the same examples, by task and in the mean over tasks; the champion's is missing where "
                "there was none.",
                "percentunit",
            ),
            precision("challenger"),
            precision("champion"),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words("Failed checks of the gate", "A challenger with a failed check is held, unless forced.", "short"),
            Query(f"max by (namespace, pipeline) (epilstm_promotion_failed_checks{{{PIPELINE}}})", "{{pipeline}}"),
            steps=True,
            limits=(0, 1),
        ),
    ]


def _training() -> list[AnyPanel]:
    def ended(metric: str, legend: str) -> Query:
        # A run in progress exports the same metrics, of a model that is not finished.
        under_way = f"on ({PROCESS}, step) epilstm_run_info{{{PIPELINE}}}"
        return Query(
            f"max by (namespace, pipeline) (epilstm_training_{metric}{{{PIPELINE}}} unless {under_way})",
            f"{{{{pipeline}}}} {legend}",
        )

    def exported(metric: str) -> Query:
        return Query(f"max by (namespace, pipeline) (epilstm_encoder_{metric}{{{PIPELINE}}})", "{{pipeline}}")

    return [
        over_time(
            Words(
                "Loss of trained models",
                "Mean squared error at the best epoch, on the training and on the validation chromosomes.",
                "short",
                "EpilstmLossNotFinite",
            ),
            ended("train_mse", "training"),
            ended("validation_mse", "validation"),
            steps=True,
        ),
        over_time(
            Words("R2 on the validation chromosomes", "Of trained models, at the best epoch.", "percentunit"),
            ended("validation_r2_ratio", ""),
            steps=True,
            limits=(0, 1),
        ),
        over_time(
            Words(
                "Epochs",
                "Epochs done, and the one with the lowest validation error. Where they are the same, train longer.",
                "short",
            ),
            ended("epochs", "done"),
            ended("best_epoch", "best"),
            steps=True,
        ),
        over_time(
            Words(
                "Weights moved",
                "Distance of the weights from where they started, relative to their norm; near 0 nothing was learnt.",
                "percentunit",
            ),
            ended("weights_moved_ratio", ""),
            steps=True,
        ),
        over_time(
            Words(
                "ONNX encoder against the model",
                "Largest difference of their embeddings, in standard deviations; export refuses more than its limit.",
                "sci",
            ),
            exported("difference_ratio"),
            steps=True,
        ),
        over_time(
            Words("Size of the encoder", "Of encoder.onnx, which is what is served.", "bytes"),
            exported("bytes"),
            steps=True,
        ),
    ]
