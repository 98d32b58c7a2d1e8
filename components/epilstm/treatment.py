"""How the signal of a track is treated: the choices of a samplesheet, row by row."""

from __future__ import annotations

from typing import Literal, get_args

#: What is done to a track's signal before it is standardised: arcsinh(x), log(1 + x), or nothing.
Transform = Literal["arcsinh", "log1p", "none"]
TRANSFORMS: tuple[Transform, ...] = get_args(Transform)

#: What a base that a track does not cover is: a signal of 0, as in coverage and -log10 p, or no measurement, as in
#: methylation between CpGs. Where it is `missing`, a bin is the mean over its covered bases alone, and one without any
#: is the track's mean in the matrix.
Uncovered = Literal["zero", "missing"]
UNCOVERED: tuple[Uncovered, ...] = get_args(Uncovered)


def usual_uncovered(transform: Transform) -> Uncovered:
    """What uncovered bases are unless the samplesheet says otherwise."""
    return "missing" if transform == "none" else "zero"
