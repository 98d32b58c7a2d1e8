"""Matching of new tracks with the tracks of the reference that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from epilstm.tracks.identity import TrackSet

#: The reference track that it is, those of its assay, or nothing.
Against = Literal["itself", "assay", "nothing"]


@dataclass(frozen=True)
class TrackMatching:
    """New tracks and those of the reference.

    Parameters
    ----------
    tracks, reference : TrackSet
        The new tracks, under the names that the reference has for those that are there (`SignalReader`).
    """

    tracks: TrackSet
    reference: TrackSet

    @property
    def new(self) -> tuple[str, ...]:
        """Names of the new tracks."""
        return self.tracks.names

    @property
    def old(self) -> tuple[str, ...]:
        """Names of the reference tracks."""
        return self.reference.names

    @property
    def new_assays(self) -> tuple[str, ...]:
        """Assay of each new track."""
        return tuple(self.tracks.assays)

    @cached_property
    def old_assays(self) -> tuple[str, ...]:
        """Assay of each reference track; where only names are known there, of those that are also new as it is here."""
        if self.reference.known:
            return tuple(self.reference.assays)
        known = dict(zip(self.new, self.new_assays, strict=True))
        return tuple(known.get(name, assay) for name, assay in zip(self.old, self.reference.assays, strict=True))

    @cached_property
    def own(self) -> list[int | None]:
        """Column of the reference track that each new track is."""
        return self.reference.places_of(self.tracks)

    def members(self, assay: str) -> list[int]:
        """Columns of the reference tracks of an assay."""
        return [place for place, each in enumerate(self.old_assays) if each == assay]

    @cached_property
    def peers(self) -> list[list[int]]:
        """Columns of the reference tracks of the same assay as each reference track, without itself."""
        return [[peer for peer in self.members(assay) if peer != own] for own, assay in enumerate(self.old_assays)]

    def against(self, row: int) -> Against:
        """What a new track is compared with."""
        if self.own[row] is not None:
            return "itself"
        return "assay" if self.new_assays[row] in self.old_assays else "nothing"

    def group(self, row: int) -> list[int]:
        """Columns of the reference tracks that a new track is compared with."""
        own = self.own[row]
        return self.members(self.new_assays[row]) if own is None else [own]

    def likes(self, row: int) -> list[list[int]]:
        """Columns of the reference tracks that show what is usual for a new track, from the closest to the widest."""
        own = self.own[row]
        closest: Sequence[list[int]] = [] if own is None else [[own]]
        return [*closest, self.members(self.new_assays[row]), list(range(len(self.old)))]
