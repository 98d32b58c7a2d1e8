"""What the model makes of the new data as a whole."""

from __future__ import annotations

import numpy as np

from epilstm.params import MonitorParams
from epilstm.steps.monitor.drift import STATISTICS, Finding, ModelDrift, finding, rounded
from epilstm.steps.monitor.embedding_drift import frechet_distance, together
from epilstm.steps.monitor.measurement import Measurement, Tally
from epilstm.steps.monitor.track_matching import TrackMatching
from epilstm.steps.monitor.track_scores import long_enough, unexplained
from epilstm.store.moments import Moments


def evaluate_model(
    done: Measurement, matching: TrackMatching, same_bins: bool, params: MonitorParams
) -> ModelDrift | None:
    """What the model makes of the new data; None where it could not be run."""
    new = {chrom: tally for chrom, tally in long_enough(done.new).items() if tally.embedding is not None}
    old = {chrom: tally for chrom, tally in long_enough(done.old).items() if tally.embedding is not None}
    if not new or not old:
        return None
    own = [place for place in matching.own if place is not None]

    def median_unexplained(tallies: dict[str, Tally]) -> dict[str, float]:
        return {chrom: rounded(float(np.median(unexplained(tally)[own]))) for chrom, tally in tallies.items()}

    return ModelDrift(
        mse={chrom: rounded(tally.error.mse) for chrom, tally in new.items() if tally.error is not None},
        unexplained=median_unexplained(new),
        reference_unexplained=median_unexplained(old),
        embedding=evaluate_embedding(_embeddings(new), _embeddings(old), same_bins, params),
    )


def _embeddings(tallies: dict[str, Tally]) -> dict[str, Moments]:
    return {chrom: tally.embedding for chrom, tally in tallies.items() if tally.embedding is not None}


def evaluate_embedding(
    new: dict[str, Moments], old: dict[str, Moments], same_bins: bool, params: MonitorParams
) -> Finding:
    """Distance of the embeddings to the reference's; elsewhere, compared with that of its chromosomes to each other."""
    size = len(next(iter(old.values())).sums)
    everything = together(list(old.values()), size)
    by_chromosome = {
        chrom: frechet_distance(moments, old[chrom] if same_bins else everything) for chrom, moments in new.items()
    }
    null = np.empty(0)
    if not same_bins and len(old) > 1:
        null = np.array(
            [
                frechet_distance(moments, together([each for name, each in old.items() if name != chrom], size))
                for chrom, moments in old.items()
            ]
        )
    value = float(np.median(list(by_chromosome.values())))
    found = finding(STATISTICS["embedding"], value, params.embedding, null, params.false_alarms, by_chromosome)
    assert found is not None
    return found
