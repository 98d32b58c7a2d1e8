"""Colours of states: of the order of states from the most promoter-like to the quietest."""

from __future__ import annotations

from colorsys import hls_to_rgb

Colour = tuple[int, int, int]

#: From active promoters (red) by way of enhancers (orange, yellow) and transcription (green) to repression, in about
#: the colours of the Roadmap project's chromatin states; each can be told from its neighbours.
PALETTE: tuple[Colour, ...] = (
    (255, 0, 0),
    (255, 105, 60),
    (250, 165, 20),
    (230, 215, 0),
    (150, 205, 60),
    (0, 140, 0),
    (0, 170, 150),
    (70, 150, 220),
    (40, 70, 190),
    (120, 80, 190),
    (190, 90, 180),
    (140, 90, 60),
)

#: Of the state with the least signal.
QUIET: Colour = (220, 220, 220)


def state_colours(states: int, quiet: int | None) -> dict[int, Colour]:
    """A colour per state, in order; the quiet one is grey.

    Parameters
    ----------
    states : int
    quiet : int or None
        State with the least signal, if it is known.
    """
    coloured = [state for state in range(states) if state != quiet]
    palette = PALETTE if len(coloured) <= len(PALETTE) else tuple(_hue(i / len(coloured)) for i in range(len(coloured)))
    step = len(palette) / max(len(coloured), 1)
    colours = {state: palette[int(place * step)] for place, state in enumerate(coloured)}
    return colours if quiet is None else {**colours, quiet: QUIET}


def _hue(place: float) -> Colour:
    red, green, blue = hls_to_rgb(0.85 * place, 0.45, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)
