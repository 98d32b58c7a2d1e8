"""An Avocado-style factorisation: cell type x assay x place in the genome, and a small network from them to signal.

After Avocado (Schreiber, Durham, Bilmes and Noble 2020, Genome Biology 21:81): each cell type, each assay and each
place has factors, those of a place at three scales (a bin, 250 bp and 5 kb), and a network of two hidden layers turns
the three into signal. As there, cell types, assays and network are learnt on one part of the genome and then fixed,
and what is imputed gets genome factors fitted to the observed tracks *of the very bins that are imputed*. It is smaller
than the published one, as befits tens of tracks rather than thousands, and its genome factors are shrunk towards zero:
a bin has more of them than tracks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from epilstm.params import FactorisationParams

#: Base pairs that share a factor at each scale (the first is one bin), and factors at each.
SCALES_BP = (0, 250, 5_000)
GENOME_FACTORS = (8, 10, 12)
CELL_FACTORS, ASSAY_FACTORS, HIDDEN = 8, 16, 32

#: Bins that learn together.
BATCH_BINS = 1_000

NETWORK_RATE, GENOME_RATE = 4e-3, 3e-2


@dataclass(frozen=True)
class Pairs:
    """Cell type and assay of each track, as numbers.

    Parameters
    ----------
    cells, assays : (tracks,) int64 arrays
    """

    cells: NDArray[np.int64]
    assays: NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[tuple[str, str]]) -> Pairs:
        """Of tracks given by cell type and assay."""
        cells, assays = (list(dict.fromkeys(part)) for part in zip(*names, strict=True))
        return cls(
            np.array([cells.index(cell) for cell, _ in names]), np.array([assays.index(assay) for _, assay in names])
        )


class GenomeFactors:
    """Factors of consecutive bins at the three scales, and what makes them learn.

    Parameters
    ----------
    bins : int
    bin_size : int
        Base pairs.
    """

    def __init__(self, bins: int, bin_size: int) -> None:
        places = [np.arange(bins) // max(1, scale // bin_size) for scale in SCALES_BP]
        self.places = [torch.from_numpy(place) for place in places]
        self.factors = [
            torch.zeros(int(place[-1]) + 1, size, requires_grad=True)
            for place, size in zip(places, GENOME_FACTORS, strict=True)
        ]
        self.optimiser = torch.optim.Adam(self.factors, lr=GENOME_RATE)

    def of_bins(self) -> Tensor:
        """(bins, factors) of all scales side by side."""
        return torch.cat([each[place] for each, place in zip(self.factors, self.places, strict=True)], dim=1)


class Factorisation(nn.Module):
    """Cell types' and assays' factors and the network that joins them with a place's.

    Parameters
    ----------
    pairs : Pairs
        Of all tracks, observed or not.
    bin_size : int
        Base pairs.
    params : FactorisationParams
    seed : int
        Of the initial values and of the order of training; torch's global random state is left as it was.
    """

    def __init__(self, pairs: Pairs, bin_size: int, params: FactorisationParams, seed: int) -> None:
        super().__init__()
        self.bin_size, self.params, self.seed = bin_size, params, seed
        self.cells, self.assays = torch.from_numpy(pairs.cells), torch.from_numpy(pairs.assays)
        with _seeded(seed):
            self.cell = nn.Embedding(int(pairs.cells.max()) + 1, CELL_FACTORS)
            self.assay = nn.Embedding(int(pairs.assays.max()) + 1, ASSAY_FACTORS)
            self.from_genome = nn.Linear(sum(GENOME_FACTORS), HIDDEN)
            self.from_pair = nn.Linear(CELL_FACTORS + ASSAY_FACTORS, HIDDEN, bias=False)
            self.second = nn.Linear(HIDDEN, HIDDEN)
            self.out = nn.Linear(HIDDEN, 1)
        self.mean, self.scale = 0.0, 1.0

    def forward(self, genome: Tensor, tracks: Tensor) -> Tensor:
        """(bins, tracks) signal, in units of the training signal's deviation, from (bins, factors)."""
        pair = torch.cat([self.cell(self.cells[tracks]), self.assay(self.assays[tracks])], dim=1)
        # The first layer of a concatenation is a sum, one part per bin and one per track.
        first = torch.relu(self.from_genome(genome)[:, None] + self.from_pair(pair)[None])
        return self.out(torch.relu(self.second(first))).squeeze(2)  # type: ignore[no-any-return]

    def fit(self, blocks: Sequence[NDArray[np.float32]], observed: NDArray[np.int64]) -> None:
        """Learn cell types, assays and network, with genome factors that are then thrown away.

        Parameters
        ----------
        blocks : sequence of (bins, tracks) float32 array
            Consecutive bins each.
        observed : (n,) int64 array
            Tracks that may be seen.
        """
        tracks = torch.from_numpy(observed)
        batches = [
            torch.from_numpy(np.ascontiguousarray(block[start : start + BATCH_BINS, observed]))
            for block in blocks
            for start in range(0, len(block), BATCH_BINS)
        ]
        together = torch.cat(batches).double()
        self.mean, self.scale = float(together.mean()), max(float(together.std()), 1e-6)
        places = [GenomeFactors(len(batch), self.bin_size) for batch in batches]
        optimiser = torch.optim.Adam(self.parameters(), lr=NETWORK_RATE)
        steps = self.params.epochs * len(batches)
        # OneCycleLR divides by the steps of its warm-up: it needs one at least.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, NETWORK_RATE, total_steps=steps + 1, pct_start=max(0.1, 2 / (steps + 1))
        )
        order = np.random.default_rng(self.seed)
        with torch.enable_grad():
            for _ in range(self.params.epochs):
                for number in order.permutation(len(batches)):
                    optimiser.zero_grad()
                    self._step(places[number], batches[number], tracks)
                    optimiser.step()
                    schedule.step()
        self.requires_grad_(False)

    def impute(
        self, signal: NDArray[np.float32], observed: NDArray[np.int64], hidden: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Fit genome factors of consecutive bins to the observed tracks, and give the hidden ones.

        Parameters
        ----------
        signal : (bins, tracks) float32 array
            Hidden tracks are not looked at.
        observed, hidden : int64 arrays
            Tracks.

        Returns
        -------
        (bins, hidden) float32 array
        """
        found = np.empty((len(signal), len(hidden)), np.float32)
        tracks, wanted = torch.from_numpy(observed), torch.from_numpy(hidden)
        for start in range(0, len(signal), BATCH_BINS):
            rows = slice(start, start + BATCH_BINS)
            target = torch.from_numpy(np.ascontiguousarray(signal[rows][:, observed]))
            places = GenomeFactors(len(target), self.bin_size)
            with torch.enable_grad():
                for _ in range(self.params.steps):
                    self._step(places, target, tracks)
            with torch.inference_mode():
                found[rows] = (self(places.of_bins(), wanted) * self.scale + self.mean).numpy()
        return found

    def _step(self, places: GenomeFactors, signal: Tensor, tracks: Tensor) -> None:
        """One step of the genome factors, which leaves its gradient in whatever else learns."""
        places.optimiser.zero_grad()
        error = (self(places.of_bins(), tracks) - (signal - self.mean) / self.scale).square().mean()
        size = torch.stack([each.square().sum() for each in places.factors]).sum() / len(signal)
        (error + self.params.shrinkage * size).backward()
        places.optimiser.step()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
