"""The request parameter ``dimensions``: which numbers of an embedding are returned."""

from __future__ import annotations

from collections.abc import Sequence

#: Name of the parameter.
DIMENSIONS = "dimensions"


def chosen_dimensions(names: Sequence[str], wanted: str) -> list[int]:
    """Columns of the numbers that are asked for.

    Parameters
    ----------
    names : sequence of str
        Of all numbers, in order.
    wanted : str
        Names separated by commas: of a number (``e3``, ``E116.linear.01``), of a cell type (``E116``) or of a block of
        one (``E116.linear``).

    Returns
    -------
    list of int
        In the order in which they are named.

    Raises
    ------
    ValueError
        One is unknown, or names a number a second time.
    """
    columns: list[int] = []
    for asked in (part.strip() for part in wanted.split(",")):
        found = [column for column, name in enumerate(names) if name == asked or name.startswith(f"{asked}.")]
        if not asked or not found:
            raise ValueError(f"no number {asked!r}; there are {_shortened(names)}")
        if set(found) & set(columns):
            raise ValueError(f"{asked!r} is named twice")
        columns += found
    return columns


def _shortened(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(names) if len(names) <= limit else f"{', '.join(names[: limit - 1])}, ..., {names[-1]}"
