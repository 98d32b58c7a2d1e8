"""Which tracks are drawn, and how tracks are grouped by assay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from epilstm.errors import ParamsError

#: Tracks drawn when none are named.
TRACKS_DRAWN = 6


def split_names(tracks: Sequence[str]) -> list[tuple[str, str]]:
    """Cell type and assay of tracks named ``cell_type-assay``.

    Where a name has more than one hyphen, the cut is taken whose two parts occur most often among all tracks.

    Parameters
    ----------
    tracks : sequence of str

    Returns
    -------
    list of (str, str)
    """
    cuts = {name: _cuts(name) for name in tracks}
    cells = Counter(cell for each in cuts.values() for cell, _ in each)
    assays = Counter(assay for each in cuts.values() for _, assay in each)
    return [max(cuts[name], key=lambda cut: cells[cut[0]] * assays[cut[1]]) for name in tracks]


def _cuts(name: str) -> list[tuple[str, str]]:
    parts = name.split("-")
    return [("-".join(parts[:at]), "-".join(parts[at:])) for at in range(1, len(parts))] or [(name, name)]


def by_assay(tracks: Sequence[str]) -> dict[str, list[str]]:
    """Tracks of each assay, in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for name, (_, assay) in zip(tracks, split_names(tracks), strict=True):
        groups.setdefault(assay, []).append(name)
    return groups


def choose_tracks(tracks: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Tracks to draw: those that are wanted, else one of each assay, from cell type to cell type.

    Parameters
    ----------
    tracks : sequence of str
        All of the matrix.
    wanted : sequence of str
        From ``report.tracks``; empty leaves the choice open. Then the assays with the most tracks come first.

    Raises
    ------
    ParamsError
        A wanted track is not in the matrix, or is wanted twice.
    """
    for position, name in enumerate(wanted):
        if name not in tracks:
            raise ParamsError(f"report.tracks: no track {name!r} in the matrix; {_hint(name, tracks)}")
        if name in wanted[:position]:
            raise ParamsError(f"report.tracks: {name!r} is given twice; name each track once")
    if wanted:
        return list(wanted)
    groups = by_assay(tracks)
    common = sorted(groups.values(), key=len, reverse=True)[:TRACKS_DRAWN]
    chosen: dict[str, None] = {}
    for turn in range(max(map(len, common))):
        for number, names in enumerate(common):
            chosen[names[(number + turn) % len(names)]] = None
    return sorted(list(chosen)[:TRACKS_DRAWN], key=list(tracks).index)


def _hint(name: str, tracks: Sequence[str]) -> str:
    lowered = {track.lower(): track for track in tracks}
    close = [lowered[match] for match in get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"it has {len(tracks)}, such as {', '.join(tracks[:3])}"
