"""Which codes of an embedding are computed: those of all tracks, of all cell types, or of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from epilstm.model.cell_types import code_names, codes_side_by_side, places_of
from epilstm.model.config import ModelConfig


@dataclass(frozen=True)
class ChosenCodes:
    """The numbers of an embedding that are computed.

    Parameters
    ----------
    bin_code, context_code : int
        Numbers from the bin level and from the context level.
    code_columns : dict of str to list of int, or None
        Columns of each cell type's code in what is computed; None where all tracks have one code.
    places : list of int, or None
        Of the cell types that are computed among those of the model; None for all.
    context_columns : list of int, or None
        Of what is computed in the context codes of all cell types; None for all.
    names : list of str, or None
        Of the numbers, by cell type and block; None where all tracks have one code.
    """

    bin_code: int
    context_code: int
    code_columns: dict[str, list[int]] | None
    places: list[int] | None = None
    context_columns: list[int] | None = None
    names: list[str] | None = None

    @property
    def size(self) -> int:
        """Numbers per bin."""
        return self.bin_code + self.context_code


def choose_codes(config: ModelConfig, cell_types: Sequence[str] | None, key: str) -> ChosenCodes:
    """The codes of some cell types, in the order in which they are named.

    Parameters
    ----------
    config : ModelConfig
    cell_types : sequence of str, or None
        None for everything that the model computes.
    key : str
        What named them, for messages.

    Raises
    ------
    ParamsError
        The model has one code of all tracks, a cell type is not known, or one is named twice.
    """
    code, context = config.bin_code_size // config.groups, config.context_size // config.groups
    places = None if cell_types is None else places_of(config.cell_types, cell_types, key)
    if cell_types is None or places is None or places == list(range(config.groups)):
        every = None if config.cell_types is None else code_names(config.cell_types.names, code, config.context_blocks)
        return ChosenCodes(config.bin_code_size, config.context_size, config.code_columns, names=every)
    return ChosenCodes(
        code * len(places),
        context * len(places),
        codes_side_by_side(cell_types, code, context),
        places,
        [place * context + number for place in places for number in range(context)],
        code_names(cell_types, code, config.context_blocks),
    )
