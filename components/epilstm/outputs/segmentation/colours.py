"""Colours of states that nothing is known of but their number: each is distinct, none says what a state holds."""

from __future__ import annotations

from colorsys import hls_to_rgb

Colour = tuple[int, int, int]

#: Paul Tol's "muted" palette and two further hues: distinct to the colour-blind, without the reds, greens and greys
#: in which browsers show active promoters, transcription and repression.
PALETTE: tuple[Colour, ...] = (
    (51, 34, 136),
    (136, 204, 238),
    (68, 170, 153),
    (170, 68, 153),
    (221, 204, 119),
    (102, 153, 204),
    (153, 153, 51),
    (136, 34, 85),
    (204, 102, 119),
    (17, 119, 51),
    (238, 136, 102),
    (119, 170, 221),
)

#: Of the state with the least signal.
QUIET: Colour = (220, 220, 220)


def arbitrary_colours(states: int, quiet: int | None) -> list[Colour]:
    """A colour per state, in order; the quiet one is grey.

    Parameters
    ----------
    quiet : int or None
        State with the least signal, if it is known.
    """
    coloured = [state for state in range(states) if state != quiet]
    palette = PALETTE if len(coloured) <= len(PALETTE) else tuple(_hue(i / len(coloured)) for i in range(len(coloured)))
    colours = dict(zip(coloured, palette, strict=False))
    return [colours.get(state, QUIET) for state in range(states)]


def _hue(place: float) -> Colour:
    red, green, blue = hls_to_rgb(place, 0.45 + 0.15 * (round(place * 1000) % 2), 0.55)
    return round(255 * red), round(255 * green), round(255 * blue)
