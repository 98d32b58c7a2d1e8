"""The trained and the untrained network of a model folder, as representations of what they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.model.chosen_codes import choose_codes
from epilstm.model.chunks import CONTEXT_BINS, context_bins
from epilstm.model.folder import load_model, untrained_model
from epilstm.model.networks import Autoencoder, bin_level_of
from epilstm.model.windows import encode_bins, reconstruct_bins
from epilstm.representations.features import Network, Transform
from epilstm.steps.evaluate.cross_cell import Encoders
from epilstm.steps.evaluate.imputation import NetworkImputer
from epilstm.store.matrix import Matrix


class Networks:
    """A model, and the same network with its initial weights.

    Parameters
    ----------
    matrix : Matrix
    folder : Path
        Model folder.
    cell_types : sequence of str, optional
        Of a model that cell types share, those that are embedded; all if not given.
    """

    def __init__(self, matrix: Matrix, folder: Path, cell_types: Sequence[str] | None = None) -> None:
        self.matrix = matrix
        self.trained, self.model = load_model(folder)
        self.untrained = untrained_model(self.model)
        self.chosen = choose_codes(self.model.config, cell_types, "embeddings")

    @property
    def bin_code(self) -> int:
        """Numbers of a bin's own code, all that the decoder reads: no more are fair to compare it with."""
        return self.model.config.bin_code_size

    @property
    def distances(self) -> list[int]:
        """Base pairs on either side whose means the context code was trained on; none without a context level."""
        context = self.model.training.context
        return [] if context is None else context.surroundings_bp

    def encoders(self) -> Encoders:
        """Both networks, as embeddings of tracks of which some may be hidden."""
        chosen = self.chosen
        trained, untrained = (self._encoder(network) for network in (self.trained, self.untrained))
        return Encoders(trained, untrained, chosen.size, chosen.bin_code, self.trained.hidden_value)

    @property
    def own_codes(self) -> dict[str, NDArray[np.intp]]:
        """Cell type -> columns of its code; empty where all tracks have one code."""
        columns = self.chosen.code_columns or {}
        return {name: np.array(of, np.intp) for name, of in columns.items()}

    def _encoder(self, network: Autoencoder) -> Callable[[Transform], Network]:
        margin, frame, chosen = context_bins(self.model.config), self.model.frame_bins, self.chosen
        return lambda shown: Network(
            self.matrix, lambda rows: encode_bins(network, shown(rows), chosen=chosen), chosen.size, margin, frame
        )

    def untrained_code(self) -> Network:
        """Bin code of the untrained network."""
        bins = bin_level_of(self.untrained)
        return Network(self.matrix, lambda rows: encode_bins(bins, rows), self.bin_code, CONTEXT_BINS)

    def reconstructed(self) -> Network:
        """Tracks as the trained network reconstructs them."""
        return Network(self.matrix, lambda rows: reconstruct_bins(self.trained, rows), self.matrix.tracks, CONTEXT_BINS)

    def imputer(self) -> NetworkImputer:
        """The trained network as an imputer of hidden tracks."""
        return NetworkImputer(
            lambda rows: reconstruct_bins(self.trained, rows),
            CONTEXT_BINS,
            self.model.scaler,
            self.trained.hidden_value,
        )
