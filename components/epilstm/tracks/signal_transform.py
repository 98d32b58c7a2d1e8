"""How the signal of a track is treated: the choices of a samplesheet, row by row."""

from __future__ import annotations

from typing import Literal, get_args

#: What is done to a track's signal before it is standardised: arcsinh(x), log(1 + x), or nothing.
Transform = Literal["arcsinh", "log1p", "none"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)

#: What a base that a track does not cover is.
#:
#: - `zero`: a signal of 0 everywhere in the regions, as in peaks and coverage, whose files leave zeros out.
#: - `gap`: a signal of 0 in a bin that the track covers in part, and in a bin that another track covers. A bin that no
#:   track covers has no data. For continuous signal, which leaves out nothing but gaps of the assembly.
#: - `missing`: no measurement, as in methylation between CpGs. A bin is the mean over its covered bases alone, and one
#:   without any is the track's mean in the matrix.
Uncovered = Literal["zero", "gap", "missing"]
UNCOVERED: tuple[Uncovered, ...] = get_args(Uncovered)


def usual_uncovered(transform: Transform) -> Uncovered:
    """What uncovered bases are unless the samplesheet says otherwise."""
    return "missing" if transform == "none" else "zero"


def binned_alike(one: Uncovered, other: Uncovered) -> bool:
    """Whether a bin's value is the same mean under both: `zero` and `gap` differ in which bins have data only."""
    return (one == "missing") == (other == "missing")
