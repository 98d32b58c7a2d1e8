"""A model folder's encoder in onnxruntime: the same embedding as the network's, without torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ModelError
from epilstm.model.chosen_codes import ChosenCodes
from epilstm.model.chunks import CHUNK_BINS, CHUNKS, filled_by_chunks
from epilstm.model.core_encoder import ContextEncoder, CoreEncoder, context_encoder, core_encoder
from epilstm.model.encoder_graph import build_encoder
from epilstm.model.folder import ModelManifest, unfitting
from epilstm.model.onnx_layers import Weights
from epilstm.runtime.cores import available_cores


@dataclass
class OnnxEncoding:
    """Encodes consecutive bins on the CPU; graphs are built at their first use.

    Parameters
    ----------
    manifest : ModelManifest
    weights : mapping of str to array
        Named as in the network's ``state_dict``.
    path : Path
        File that they were read from, for messages.
    """

    manifest: ModelManifest
    weights: Weights
    path: Path
    _sessions: dict[tuple[int, ...] | None, tuple[CoreEncoder, ContextEncoder | None]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __call__(self, block: NDArray[np.floating], chosen: ChosenCodes) -> NDArray[np.float32]:
        """Embedding (bins, dim) of consecutive bins; see `epilstm.model.windows.encode_bins`."""
        if not len(block):
            return np.empty((0, chosen.size), np.float32)
        core, context = self._sessions_of(chosen)
        rows = np.asarray(block, np.float16)
        if len(rows) <= CHUNKS * CHUNK_BINS:
            codes = filled_by_chunks(rows, chosen.bin_code, core)
        else:
            with ThreadPoolExecutor(available_cores()) as threads:
                codes = filled_by_chunks(rows, chosen.bin_code, core, threads.map)
        return codes if context is None else np.concatenate([codes, context.of_bins(rows)], axis=1)

    def with_weights(self, weights: Weights) -> OnnxEncoding:
        """Return itself where the weights are the same, else an encoding with these."""
        same = all(np.array_equal(values, self.weights[name]) for name, values in weights.items())
        return (
            self
            if same
            else OnnxEncoding(self.manifest, {name: np.array(weights[name]) for name in weights}, self.path)
        )

    def _sessions_of(self, chosen: ChosenCodes) -> tuple[CoreEncoder, ContextEncoder | None]:
        key = None if chosen.places is None else tuple(chosen.places)
        if key not in self._sessions:
            self._sessions[key] = self._new_sessions(chosen)
        return self._sessions[key]

    def _new_sessions(self, chosen: ChosenCodes) -> tuple[CoreEncoder, ContextEncoder | None]:
        try:
            encoder = build_encoder(self.manifest.config, self.weights, self.manifest.scaler)
            core = core_encoder(encoder, "cpu", chosen)
            return core, context_encoder(encoder, "cpu", self.manifest.frame_bins, chosen)
        except ModelError:
            raise
        except Exception as error:  # the exceptions of onnx and onnxruntime share no base but this
            raise unfitting(self.path) from error
