"""The simulate step."""

from __future__ import annotations

from epilstm.console import progress
from epilstm.params import SimulateParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.simulate.core import simulate


def run(params: SimulateParams, context: StepContext) -> StepResult:
    """Write a simulated epigenome into the output ``simulated``."""
    tracks = params.cell_types * len(params.assays)
    with progress("tracks simulated", tracks) as bar:
        simulate(context.outputs["simulated"], params, bar.advance)
    megabases = sum(params.chromosomes.values()) / 1e6
    return StepResult(
        f"simulated {tracks} tracks: {params.cell_types} cell types x {len(params.assays)} assays, {megabases:.1f} Mb",
        tracks=tracks,
        threads=1,
    )
