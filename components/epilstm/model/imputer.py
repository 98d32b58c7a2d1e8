"""The imputer: all assays of a cell type, with their uncertainty, from those that it has and from other cell types.

It looks at the cell type's own assays at a bin and in means before and after it, and at the mean and spread of each
assay over the reference cell types. No weight belongs to a cell type, so it takes one that training never saw.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from epilstm.errors import ModelError
from epilstm.model.folder import IMPUTER, WEIGHTS, ModelManifest
from epilstm.model.imputer_config import ImputerConfig
from epilstm.model.neighbourhood import neighbour_features

#: Least standard deviation, of standardised values.
LEAST_DEVIATION = 1e-2

#: Bins that are imputed at a time.
BLOCK_BINS = 20_000


@dataclass(frozen=True)
class ImputerInputs:
    """What bins are imputed from.

    Parameters
    ----------
    own : Tensor (bin, position, assay)
        The cell type's own values at the bin and around it; of any value where the assay is hidden.
    observed : Tensor (bin, assay)
        1 where the assay is there and not hidden, else 0.
    around : Tensor (bin, position, assay)
        Means over the reference cell types, likewise.
    spread, known : Tensor (bin, assay)
        Standard deviation over the reference cell types at the bin, and whether any of them has the assay.
    """

    own: Tensor
    observed: Tensor
    around: Tensor
    spread: Tensor
    known: Tensor

    def select(self, bins: Tensor) -> ImputerInputs:
        """Some of the bins."""
        return ImputerInputs(*(getattr(self, each.name)[bins] for each in fields(self)))

    def showing(self, observed: Tensor) -> ImputerInputs:
        """The same with other assays hidden; what is not there stays so."""
        return ImputerInputs(self.own, self.observed * observed, self.around, self.spread, self.known)


def imputer_inputs(
    own: NDArray[np.float32], reference: NDArray[np.float32], keep: slice, config: ImputerConfig
) -> ImputerInputs:
    """Inputs of consecutive bins.

    Parameters
    ----------
    own : (bins + context, assay) float32 array
        The imputer's values of one cell type; NaN in assays that it does not have.
    reference : (bins + context, 3 * assay) float32 array
        As `epilstm.model.imputer_config.reference_of` gives it.
    keep : slice
        The bins wanted.
    config : ImputerConfig
    """
    assays = len(config.assays)
    observed = ~np.isnan(own)
    shape = (-1, config.positions, assays)
    return ImputerInputs(
        torch.from_numpy(neighbour_features(np.where(observed, own, 0), keep, config.window).reshape(shape)),
        torch.from_numpy(observed[keep].astype(np.float32)),
        torch.from_numpy(neighbour_features(reference[:, :assays], keep, config.window).reshape(shape)),
        torch.from_numpy(reference[keep, assays : 2 * assays].copy()),
        torch.from_numpy(reference[keep, 2 * assays :].copy()),
    )


class Imputer(nn.Module):
    """Mean and standard deviation of every assay at a bin.

    The mean is the reference's, to which a linear map and a small network add what the inputs say.

    Parameters
    ----------
    config : ImputerConfig
    """

    def __init__(self, config: ImputerConfig) -> None:
        super().__init__()
        self.config = config
        assays = len(config.assays)
        inputs = assays * (2 * config.positions + 3)
        widths = [inputs, *[config.hidden_size] * config.layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.linear, self.mean, self.deviation = (
            nn.Linear(width, assays) for width in (inputs, config.hidden_size, config.hidden_size)
        )
        for layer in (self.linear, self.mean, self.deviation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: ImputerInputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (bin, assay), in the imputer's values, not yet widened by `config.spread`."""
        shown = inputs.own * inputs.observed[:, None]
        parts = [shown, inputs.around, inputs.spread, inputs.observed, inputs.known]
        x = torch.cat([part.flatten(1) for part in parts], dim=1)
        hidden = x
        for layer in self.hidden:
            hidden = functional.gelu(layer(hidden))
        mean: Tensor = inputs.around[:, 0] + self.linear(x) + self.mean(hidden)
        # The deviation is fitted to the errors of the mean, and does not pull at what the mean is made of.
        return mean, functional.softplus(self.deviation(hidden.detach())) + LEAST_DEVIATION


def impute(
    imputer: Imputer, own: NDArray[np.float32], reference: NDArray[np.float32], keep: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of every assay of consecutive bins, (bin, assay); parameters as `imputer_inputs`."""
    config = imputer.config
    margin, first, last = max(config.window, default=0), *keep.indices(len(own))[:2]
    found = []
    with torch.inference_mode():
        for begin in range(first, last, BLOCK_BINS):
            end = min(begin + BLOCK_BINS, last)
            start, stop = max(0, begin - margin), min(len(own), end + margin)
            kept = slice(begin - start, end - start)
            found.append(imputer(imputer_inputs(own[start:stop], reference[start:stop], kept, config)))
    mean, deviation = (torch.cat(part).numpy() for part in zip(*found, strict=True))
    return mean, deviation * np.array(config.spread, np.float32)


def require_imputer(imputer: Imputer | None, what: str) -> Imputer:
    """The imputer, if there is one.

    Raises
    ------
    ModelError
        The model has none.
    """
    if imputer is None:
        raise ModelError(
            f"{what} does not impute cell types that it was not trained on; train it with train.kind: cell_types and "
            "train.imputation.enabled: true"
        )
    return imputer


def load_imputer(folder: Path, manifest: ModelManifest) -> Imputer:
    """The trained imputer of a model folder, whose weights `epilstm.model.folder.load_model` has checked.

    Raises
    ------
    ModelError
        The model has none, or its weights are of another shape.
    """
    imputer = require_imputer(None if manifest.imputer is None else Imputer(manifest.imputer), str(folder))
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    try:
        imputer.load_state_dict(
            {name.removeprefix(IMPUTER): values for name, values in weights.items() if name.startswith(IMPUTER)}
        )
    except RuntimeError as error:
        raise ModelError(
            f"{folder / WEIGHTS}: the imputer's weights have another shape than the manifest says; train or pull again"
        ) from error
    return imputer.eval()
