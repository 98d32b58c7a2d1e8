"""A figure as a file: PNG, SVG or PDF, whole or not at all; and the numbers behind it as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import METADATA, Layout, Plot, Rows, render
from epilstm.files.outputs import check_replaceable, require_free, written_whole

#: Narrower figures (inches) are laid out as for a phone.
NARROW_BELOW = 6.0


def require_figure_paths(figure: Path, numbers: Path | None, overwrite: bool) -> None:
    """Refuse unusable paths before anything is computed.

    Raises
    ------
    ParamsError
        The figure's name ends otherwise than a figure's.
    DataError
        A file is there already, or cannot be written there.
    """
    if _form(figure) not in METADATA:
        endings = ", ".join(f".{form}" for form in METADATA)
        raise ParamsError(f"--to {figure}: not a figure's name; end it with {endings}")
    for path in (figure, numbers):
        if path is None:
            continue
        check_replaceable(path, folder=False)
        if not path.parent.is_dir():
            raise DataError(f"{path}: there is no folder {path.parent}; make it first")
        require_free(path, overwrite)


def write_figure(plot: Plot, figure: Path, width: float, dpi: int, caption: bool, numbers: Path | None) -> None:
    """Draw a figure of some width (inches) and write it, and its numbers where a path is given.

    Raises
    ------
    DataError
        A file cannot be written.
    """
    layout = Layout(width, width < NARROW_BELOW)
    content, _ = render(plot.draw, layout, _form(figure), dpi, plot.caption if caption else "")
    with written_whole(figure, folder=False) as staged:
        staged.write_bytes(content)
    if numbers is not None:
        with written_whole(numbers, folder=False) as staged:
            staged.write_text(numbers_text(plot.rows), encoding="utf-8")


def _form(path: Path) -> Any:
    return path.suffix.lower()[1:]


def numbers_text(rows: Rows) -> str:
    """Rows as CSV; what is undefined stays empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if value is None or value != value else value for key, value in row.items()} for row in rows
    )
    return stream.getvalue()
