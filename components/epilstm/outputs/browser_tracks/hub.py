"""A UCSC track hub, which IGV loads too, and an IGV session.

Settings are those of https://genome.ucsc.edu/goldenPath/help/trackDb/trackDbHub.html: ``hub.txt`` needs hub,
shortLabel, longLabel, genomesFile and email; ``genomes.txt`` genome and trackDb; a track needs track, shortLabel,
longLabel, type and, unless it is a container, bigDataUrl. Paths are relative to the file they are in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import ParamsError
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES
from epilstm.outputs.browser_tracks.colours import Colour, colours_of
from epilstm.outputs.browser_tracks.formats import Format, Layout
from epilstm.tracks.bigwig_columns import BigWigs, BinValues
from epilstm.tracks.identity import TrackSet, symbol

#: UCSC cuts off longer labels.
SHORT_LABEL, LONG_LABEL = 17, 76

#: Bins that the limits of the axes are taken from, at most.
SAMPLE_BINS = 100_000

#: Percentiles between which an axis runs.
LOWEST, HIGHEST = 0.5, 99.5

TITLES = {
    "embedding": ("Epi-LSTM", "Epi-LSTM embedding"),
    "reconstruction": ("Epi-LSTM tracks", "Tracks reconstructed by Epi-LSTM"),
    "imputation": ("Epi-LSTM imputed", "Tracks imputed by Epi-LSTM, each hidden from the encoder"),
}

Stanza = Mapping[str, str]

#: Subgroup of the tracks that are no replicate, where others are.
NO_REPLICATE = "none"


#: Base pairs that a browser shows at most when it opens.
OPENING = 100_000


@dataclass(frozen=True)
class HubSettings:
    """What a hub says of itself beside its tracks.

    Parameters
    ----------
    email : str
        Contact, which UCSC demands.
    genome : str
        UCSC's name of the assembly, or the name of an assembly hub's own.
    two_bit : str or None
        URL, absolute or relative to ``genomes.txt``, of the sequence of an assembly that UCSC does not have.
    locus : str
        Where browsers open, if no bin has data.
    """

    email: str
    genome: str
    two_bit: str | None
    locus: str


def hub_settings(email: str | None, genome: str | None, two_bit: str | None, assembly: str, locus: str) -> HubSettings:
    """Settings of a hub from the command line.

    Raises
    ------
    ParamsError
        The email is missing or none, or the assembly is not known to be one of UCSC's.
    """
    if email is None or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise ParamsError(
            f"--email {email or ''}: a track hub names a contact (UCSC demands it); give an email address"
        )
    if genome is None and assembly not in BUILT_IN_ASSEMBLIES:
        raise ParamsError(
            f"assembly {assembly!r} is not known to be one of UCSC's; give UCSC's name of it (--genome mm39) or, where "
            "UCSC does not have it, a name of its own and the URL of its sequence (--genome NAME --two-bit URL), which "
            "faToTwoBit makes from FASTA"
        )
    name = genome or assembly
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ParamsError(f"--genome {name!r}: the name of an assembly has letters, digits, '_', '.' and '-' only")
    return HubSettings(email, name, two_bit, locus)


class Hub(Format):
    """``hub.txt``, ``genomes.txt``, ``<genome>/trackDb.txt`` with its bigWigs, and ``igv_session.xml``."""

    def __init__(self, folder: Path, layout: Layout, settings: HubSettings) -> None:
        super().__init__(folder, layout)
        self.settings = settings
        self.data = folder / settings.genome
        self.data.mkdir()
        self._files = BigWigs(self.data, layout.files, layout.sizes, layout.bin_size)
        self._limits = Limits(len(layout.columns))
        self._locus: str | None = None

    def write(self, piece: BinValues) -> None:
        """Write the next piece."""
        self._files.write(piece)
        self._limits.add(piece.values[piece.there])
        if self._locus is None and piece.there.any():
            self._locus = self._opening(piece)

    def _opening(self, piece: BinValues) -> str:
        """Where browsers open: from a piece's first bin with data to its end, `OPENING` base pairs at most."""
        size = self.layout.bin_size
        start = (piece.first + int(piece.there.argmax())) * size
        end = min((piece.first + len(piece.values)) * size, start + OPENING, self.layout.sizes[piece.chrom])
        return f"{piece.chrom}:{start + 1}-{end}"

    def finish(self) -> None:
        """Write the texts."""
        short, long = TITLES[self.layout.what]
        genome = {"genome": self.settings.genome, "trackDb": f"{self.settings.genome}/trackDb.txt"}
        locus = self._locus or self.settings.locus
        if self.settings.two_bit is not None:
            genome |= {
                "twoBitPath": self.settings.two_bit,
                "organism": self.settings.genome,
                "description": self.settings.genome,
                "scientificName": self.settings.genome,
                "defaultPos": locus,
            }
        hub = {
            "hub": f"epilstm_{self.layout.what}",
            "shortLabel": short,
            "longLabel": f"{long}, {self.layout.bin_size}-bp bins",
            "genomesFile": "genomes.txt",
            "email": self.settings.email,
        }
        limits = self._limits.limits()
        _write_stanzas(self.folder / "hub.txt", [hub])
        _write_stanzas(self.folder / "genomes.txt", [genome])
        _write_stanzas(self.data / "trackDb.txt", track_stanzas(self.layout, limits))
        (self.folder / "igv_session.xml").write_bytes(igv_session(self.layout, self.settings.genome, locus, limits))

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class Limits:
    """Between which values each column mostly lies: percentiles of evenly spread bins, the same on every run."""

    def __init__(self, columns: int) -> None:
        self._rows: NDArray[np.float32] = np.empty((0, columns), np.float32)
        self._stride, self._seen = 1, 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Add rows (bin, column) with data."""
        offset = -self._seen % self._stride
        self._rows = np.concatenate([self._rows, rows[offset :: self._stride]])
        self._seen += len(rows)
        while len(self._rows) > SAMPLE_BINS:
            self._rows, self._stride = self._rows[::2], 2 * self._stride

    def limits(self) -> list[tuple[float, float]]:
        """Lower and upper limit of each column's axis; 0 and 1 where nothing is known."""
        if not len(self._rows):
            return [(0.0, 1.0)] * self._rows.shape[1]
        found = []
        for low, high in np.percentile(self._rows, [LOWEST, HIGHEST], axis=0).T.tolist():
            # 0 is a natural end of an axis that begins a little above it.
            low = 0.0 if 0 <= low < 0.2 * high else low
            found.append((low, high if high > low else low + 1.0))
        return found


def track_stanzas(layout: Layout, limits: Sequence[tuple[float, float]]) -> list[Stanza]:
    """Stanzas of ``trackDb.txt``: a composite of a track per column, and an overlay of all, hidden at first."""
    short, long = TITLES[layout.what]
    names = [symbol(name) for name in layout.columns]
    parent, overlay = f"epilstm_{layout.what}", f"epilstm_{layout.what}_overlay"
    composite = {
        "track": parent,
        "compositeTrack": "on",
        "type": "bigWig",
        "shortLabel": short,
        "longLabel": long,
        "visibility": "full",
        "autoScale": "off",
        "maxHeightPixels": "100:32:8",
        "allButtonPair": "on",
    }
    tags: list[dict[str, str]] = [{} for _ in names]
    if layout.tracks is not None:
        composite |= _groups(layout.tracks)
        tags = _tags(layout.tracks)
    colours = colours_of(layout.kinds)
    stanzas: list[Stanza] = [composite]
    for place, (name, column) in enumerate(zip(names, layout.columns, strict=True)):
        track = _track(
            f"{parent}_{name}", column, layout.files[place], f"{long}: {column}", limits[place], colours[place]
        )
        stanzas.append({**track, "parent": f"{parent} on", "priority": str(place + 1), **tags[place]})
    low, high = min(each[0] for each in limits), max(each[1] for each in limits)
    stanzas.append(
        {
            "track": overlay,
            "container": "multiWig",
            "type": f"bigWig {low:.6g} {high:.6g}",
            "shortLabel": f"{short} all"[:SHORT_LABEL],
            "longLabel": f"{long}, all in one graph"[:LONG_LABEL],
            "visibility": "hide",
            "aggregate": "transparentOverlay",
            "showSubtrackColorOnUi": "on",
            "autoScale": "off",
            "viewLimits": f"{low:.6g}:{high:.6g}",
            "maxHeightPixels": "200:80:8",
        }
    )
    for place, (name, column) in enumerate(zip(names, layout.columns, strict=True)):
        track = _track(
            f"{overlay}_{name}", column, layout.files[place], f"{long}: {column}", limits[place], colours[place]
        )
        stanzas.append({**track, "parent": overlay})
    return stanzas


def _track(
    name: str, column: str, file: str, title: str, limits: tuple[float, float], colour: Colour
) -> dict[str, str]:
    low, high = (f"{limit:.6g}" for limit in limits)
    return {
        "track": name,
        "type": f"bigWig {low} {high}",
        "bigDataUrl": f"{quote(file, safe='~')}.bw",
        "shortLabel": column[:SHORT_LABEL],
        "longLabel": title[:LONG_LABEL],
        "color": ",".join(map(str, colour)),
        "autoScale": "off",
        "viewLimits": f"{low}:{high}",
    }


def _groups(tracks: TrackSet) -> dict[str, str]:
    """Subgroups of the composite: assays by cell types and, where there are any, replicates."""
    groups = {
        "subGroup1": f"assay Assay {_members(tracks.assays)}",
        "subGroup2": f"cell Cell_type {_members(tracks.cell_types)}",
        "dimensions": "dimX=assay dimY=cell",
        "sortOrder": "cell=+ assay=+",
    }
    if any(tracks.replicates):
        groups["subGroup3"] = f"replicate Replicate {_members([each or NO_REPLICATE for each in tracks.replicates])}"
        groups["dimensions"] += " dimA=replicate"
        groups["sortOrder"] += " replicate=+"
    return groups


def _tags(tracks: TrackSet) -> list[dict[str, str]]:
    """Which subgroups each track is in."""
    found = [
        f"assay={symbol(each.assay)} cell={symbol(each.cell_type)}"
        + (f" replicate={symbol(each.replicate or NO_REPLICATE)}" if any(tracks.replicates) else "")
        for each in tracks.identities
    ]
    return [{"subGroups": each} for each in found]


def _members(values: Sequence[str]) -> str:
    """``tag=Label`` of each value; a label's blanks are underscores, which the browser shows as blanks."""
    labels = {value: re.sub(r"[\s=]", "_", value) for value in values}
    return " ".join(f"{symbol(value)}={label}" for value, label in labels.items())


def _write_stanzas(path: Path, stanzas: Sequence[Stanza]) -> None:
    texts = ("".join(f"{key} {value}\n" for key, value in stanza.items()) for stanza in stanzas)
    path.write_text("\n".join(texts), encoding="utf-8")


def igv_session(layout: Layout, genome: str, locus: str, limits: Sequence[tuple[float, float]]) -> bytes:
    """An IGV session (XML) with every track, files relative to it."""
    session = ElementTree.Element("Session", genome=genome, locus=locus, version="8")
    resources = ElementTree.SubElement(session, "Resources")
    panel = ElementTree.SubElement(session, "Panel", name="DataPanel")
    for column, file, (low, high), colour in zip(
        layout.columns, layout.files, limits, colours_of(layout.kinds), strict=True
    ):
        path = f"{genome}/{file}.bw"
        ElementTree.SubElement(resources, "Resource", path=path, type="bigwig")
        track = ElementTree.SubElement(
            panel,
            "Track",
            id=path,
            name=column,
            color=",".join(map(str, colour)),
            autoScale="false",
            renderer="BAR_CHART",
        )
        ElementTree.SubElement(
            track,
            "DataRange",
            minimum=f"{low:.6g}",
            maximum=f"{high:.6g}",
            baseline="0.0",
            drawBaseline="true",
            type="LINEAR",
        )
    ElementTree.indent(session)
    return b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n' + ElementTree.tostring(session) + b"\n"
