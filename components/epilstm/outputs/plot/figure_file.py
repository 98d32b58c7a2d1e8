"""A figure as a file: PNG, SVG or PDF, whole or not at all; and the numbers behind it as CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import METADATA, Layout, Plot, Rows, render
from epilstm.files.outputs import staging_path

#: Narrower figures (inches) are laid out as for a phone.
NARROW_BELOW = 6.0


@dataclass(frozen=True)
class FigureFile:
    """Where a figure goes, and how large.

    Parameters
    ----------
    path : Path
        Ends with .png, .svg or .pdf.
    width : float
        In inches; the height follows from what is drawn.
    dpi : int
        Dots per inch of a PNG, and of what is not drawn as lines in the others.
    caption : bool
        Whether the caption stands below the figure.
    numbers : Path or None
        CSV for the numbers behind the figure.
    """

    path: Path
    width: float
    dpi: int
    caption: bool
    numbers: Path | None = None

    def check(self) -> None:
        """Refuse before anything is computed.

        Raises
        ------
        ParamsError
            The name does not end as a figure's.
        DataError
            A file cannot stand there.
        """
        if self._form not in METADATA:
            endings = ", ".join(f".{form}" for form in METADATA)
            raise ParamsError(f"--to {self.path}: not a figure's name; end it with {endings}")
        for path in (self.path, self.numbers):
            if path is not None and path.is_dir():
                raise DataError(f"{path}: a folder stands there; give a file's name")
            if path is not None and not path.parent.is_dir():
                raise DataError(f"{path}: there is no folder {path.parent}; make it first")

    def write(self, plot: Plot) -> None:
        """Draw the figure and put it, and its numbers, in place.

        Raises
        ------
        DataError
            The disk refuses.
        """
        layout = Layout(self.width, self.width < NARROW_BELOW)
        form: Any = self._form
        content, _ = render(plot.draw, layout, form, self.dpi, plot.caption if self.caption else "")
        self._put(self.path, lambda path: path.write_bytes(content))
        if self.numbers is not None:
            text = numbers_text(plot.rows)
            self._put(self.numbers, lambda path: path.write_text(text, encoding="utf-8"))

    @property
    def _form(self) -> str:
        return self.path.suffix.lower()[1:]

    @staticmethod
    def _put(path: Path, write: Callable[[Path], Any]) -> None:
        staged = staging_path(path)
        try:
            write(staged)
            os.replace(staged, path)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):  # a read-only file system refuses this, too
                staged.unlink(missing_ok=True)


def numbers_text(rows: Rows) -> str:
    """Rows as CSV; what is undefined stays empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if value is None or value != value else value for key, value in row.items()} for row in rows
    )
    return stream.getvalue()
