"""Which tracks are drawn, and how tracks are grouped by assay."""

from __future__ import annotations

from collections.abc import Sequence

from epilstm.errors import ParamsError
from epilstm.tracks.identity import TrackSet, select_tracks

#: Tracks drawn when none are named.
TRACKS_DRAWN = 6


def by_assay(tracks: TrackSet) -> dict[str, list[str]]:
    """Names of the tracks of each assay, in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for name, assay in zip(tracks.names, tracks.assays, strict=True):
        groups.setdefault(assay, []).append(name)
    return groups


def choose_tracks(tracks: TrackSet, wanted: Sequence[str], option: str = "report.tracks") -> list[str]:
    """Names of the tracks to draw: those that are wanted, else one of each assay, from cell type to cell type.

    Parameters
    ----------
    tracks : TrackSet
        All of the matrix.
    wanted : sequence of str
        As for `epilstm.tracks.identity.select_tracks`. If empty, the assays with the most tracks come first.
    option : str
        Where they are given, for messages.

    Raises
    ------
    ParamsError
        A wanted track is not in the matrix, or is wanted twice.
    """
    for position, token in enumerate(wanted):
        if token in wanted[:position]:
            raise ParamsError(f"{option}: {token!r} is given twice; name each track once")
    if wanted:
        chosen = [place for token in wanted for place in select_tracks(tracks, [token], option)]
        return [tracks.names[place] for place in dict.fromkeys(chosen)]
    groups = by_assay(tracks)
    common = sorted(groups.values(), key=len, reverse=True)[:TRACKS_DRAWN]
    taken: dict[str, None] = {}
    for turn in range(max(map(len, common))):
        for number, names in enumerate(common):
            taken[names[(number + turn) % len(names)]] = None
    return sorted(list(taken)[:TRACKS_DRAWN], key=tracks.names.index)
