"""Which tracks of the reference a new track is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from epilstm.report.tracks import split_names

#: The reference track of its name, those of its assay, or nothing.
Against = Literal["itself", "assay", "nothing"]


@dataclass(frozen=True)
class Roster:
    """New tracks and those of the reference.

    Parameters
    ----------
    new, old : tuple of str
        Names, ``cell_type-assay``.
    new_assays : tuple of str
    """

    new: tuple[str, ...]
    old: tuple[str, ...]
    new_assays: tuple[str, ...]

    @cached_property
    def old_assays(self) -> tuple[str, ...]:
        """Assay of each reference track; of those that are also new, as there."""
        known = dict(zip(self.new, self.new_assays, strict=True))
        split = split_names([*self.old, *self.new])[: len(self.old)]
        return tuple(known.get(name, assay) for name, (_, assay) in zip(self.old, split, strict=True))

    @cached_property
    def own(self) -> list[int | None]:
        """Column of the reference track of each new track's name."""
        places = {name: place for place, name in enumerate(self.old)}
        return [places.get(name) for name in self.new]

    def members(self, assay: str) -> list[int]:
        """Columns of the reference tracks of an assay."""
        return [place for place, each in enumerate(self.old_assays) if each == assay]

    @cached_property
    def peers(self) -> list[list[int]]:
        """Columns of the reference tracks of the same assay as each reference track, without itself."""
        return [[peer for peer in self.members(assay) if peer != own] for own, assay in enumerate(self.old_assays)]

    def against(self, row: int) -> Against:
        """What a new track is held against."""
        if self.own[row] is not None:
            return "itself"
        return "assay" if self.new_assays[row] in self.old_assays else "nothing"

    def group(self, row: int) -> list[int]:
        """Columns of the reference tracks that a new track is held against."""
        own = self.own[row]
        return self.members(self.new_assays[row]) if own is None else [own]

    def likes(self, row: int) -> list[list[int]]:
        """Columns of the reference tracks that tell what is usual for a new track, from the closest to the widest."""
        own = self.own[row]
        closest: Sequence[list[int]] = [] if own is None else [[own]]
        return [*closest, self.members(self.new_assays[row]), list(range(len(self.old)))]
