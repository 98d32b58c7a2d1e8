"""The consolidated signal tracks of the Roadmap Epigenomics project (hg19).

Roadmap Epigenomics Consortium, Nature 518, 317-330 (2015), https://doi.org/10.1038/nature14248.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files

from epilstm.errors import ParamsError
from epilstm.tracks.samplesheet import Track

#: Where the -log10 p signal (MACS2, signal over input) of a pair lies.
URL = (
    "https://egg2.wustl.edu/roadmap/data/byFileType/signal/consolidated/macs2signal/pval/"
    "{cell_type}-{assay}.pval.signal.bigwig"
)

#: An assay is of the core if at least so many epigenomes have it: the choice of Avocado (Schreiber et al. 2020,
#: Genome Biology 21, 81) and of Epi-LSTM.
CORE_EPIGENOMES = 5


@dataclass(frozen=True)
class CatalogEntry:
    """One measured (epigenome, assay) pair.

    Parameters
    ----------
    cell_type : str
        Epigenome identifier, ``E001`` to ``E129``.
    assay : str
        Histone mark, histone variant or ``DNase``.
    mnemonic, group, anatomy, name : str
        What the consortium calls the epigenome.
    """

    cell_type: str
    assay: str
    mnemonic: str
    group: str
    anatomy: str
    name: str

    @property
    def track(self) -> Track:
        """The pair as a row of a samplesheet; its signal is continuous, and what it leaves out are gaps."""
        uri = URL.format(cell_type=self.cell_type, assay=self.assay)
        return Track(self.cell_type, self.assay, uri, uncovered="gap")


def load_catalog() -> list[CatalogEntry]:
    """All 1,032 pairs, by assay within epigenome."""
    text = (files("epilstm.tracks") / "roadmap-catalog.csv").read_text(encoding="utf-8")
    return [CatalogEntry(**row) for row in csv.DictReader(text.splitlines())]


def core(entries: Iterable[CatalogEntry]) -> list[CatalogEntry]:
    """Pairs of the assays that at least `CORE_EPIGENOMES` epigenomes have."""
    entries = list(entries)
    epigenomes = Counter(entry.assay for entry in entries)
    return [entry for entry in entries if epigenomes[entry.assay] >= CORE_EPIGENOMES]


def select(
    entries: Sequence[CatalogEntry],
    cell_types: Sequence[str] = (),
    assays: Sequence[str] = (),
    *,
    core_only: bool = False,
) -> list[CatalogEntry]:
    """Pairs of some cell types and assays.

    Parameters
    ----------
    entries : sequence of CatalogEntry
        What there is to choose from.
    cell_types, assays : sequence of str
        Those wanted; none restricts nothing.
    core_only : bool
        Leave out what `core` leaves out.

    Returns
    -------
    list of CatalogEntry
        In the order of `entries`.

    Raises
    ------
    ParamsError
        A cell type or assay that no entry has, an assay outside the core, or no pair has one of each.
    """
    names = {entry.cell_type: f"{entry.mnemonic}, {entry.name}" for entry in entries}
    _check_known("cell type", cell_types, names)
    _check_known("assay", assays, {entry.assay: "" for entry in entries})
    if core_only:
        entries = core(entries)
        outside = sorted(set(assays) - {entry.assay for entry in entries})
        if outside:
            raise ParamsError(
                f"assay {outside[0]} is measured in fewer than {CORE_EPIGENOMES} epigenomes; leave it out, or --core"
            )
    chosen = [
        entry
        for entry in entries
        if (not cell_types or entry.cell_type in cell_types) and (not assays or entry.assay in assays)
    ]
    if not chosen:
        raise ParamsError(f"none of {', '.join(cell_types)} has {' or '.join(assays) or 'a core assay'}; choose others")
    return chosen


def _check_known(what: str, wanted: Iterable[str], known: dict[str, str]) -> None:
    for value in wanted:
        if value not in known:
            alike = _alike(value, known)
            hint = f"did you mean {' or '.join(alike)}?" if alike else f"there are {', '.join(list(known)[:4])}, ..."
            raise ParamsError(f"unknown {what} {value!r}; {hint}")


def _alike(value: str, known: dict[str, str]) -> list[str]:
    by_name = [key for key, name in known.items() if value and value.lower() in name.lower()]
    by_key = get_close_matches(value.lower(), [key.lower() for key in known], n=3)
    keys = by_name[:3] or [key for lower in by_key for key in known if key.lower() == lower]
    return [f"{key} ({known[key]})" if known[key] else key for key in keys]
