"""Ranges of consecutive bins of a chromosome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BinRange:
    """Consecutive bins: ``first`` up to but not including ``last``.

    Parameters
    ----------
    region : (int, int), optional
        First and one-past-last bin of the region that the range lies in, over which a recurrent state is carried;
        ranges are equal whatever it is.
    """

    chrom: str
    first: int
    last: int
    region: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.last - self.first

    @property
    def region_first(self) -> int:
        """First bin of its region; its own where the region is not known."""
        return self.first if self.region is None else self.region[0]

    @property
    def region_last(self) -> int:
        """One-past-last bin of its region; its own where the region is not known."""
        return self.last if self.region is None else self.region[1]

    @property
    def begins_region(self) -> bool:
        """Whether it is the first of its region, where a recurrent state starts from zero."""
        return self.first == self.region_first

    @property
    def slice(self) -> slice:
        """The bins as an index of an array whose first row is bin 0."""
        return slice(self.first, self.last)

    def cut(self, size: int) -> list[BinRange]:
        """Consecutive ranges that end at multiples of `size` bins, the last where this one does.

        With whole chunks of a stored array as size, each chunk is in one range and so decompressed once.
        """
        ends = [*range((self.first // size + 1) * size, self.last, size), self.last]
        firsts = [self.first, *ends[:-1]]
        return [BinRange(self.chrom, first, last, self.region) for first, last in zip(firsts, ends, strict=True)]

    def widened(self, regions: Iterable[BinRange], margin: int, frame: int = 1) -> BinRange:
        """The range with `margin` bins more on either side, as far as the region that it lies in goes.

        It begins at a multiple of `frame` bins from the region's first, for which the margin may be a little wider.

        Raises
        ------
        ValueError
            None of the regions holds the range.
        """
        for region in regions:
            if region.chrom == self.chrom and region.first <= self.first and self.last <= region.last:
                first = max(region.first, self.first - margin)
                first -= (first - region.first) % frame
                return BinRange(self.chrom, first, min(region.last, self.last + margin))
        raise ValueError(f"{self} is not inside a region")
