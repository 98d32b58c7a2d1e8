"""Figures as files: PNG, SVG or PDF, whole or not at all, the same bytes every time; and the numbers behind them."""

from __future__ import annotations

import csv
import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from epilstm.errors import DataError, ParamsError
from epilstm.figures.drawing import QUIET, STYLE, Draw, Layout
from epilstm.files.outputs import staging_path

#: What a file's ending makes of it, and the metadata without which bytes would depend on the day or the machine.
METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

#: Narrower figures (inches) are laid out as for a phone.
NARROW_BELOW = 6.0

CAPTION_SIZE = 7.5


@dataclass(frozen=True)
class Plot:
    """A figure to be written.

    Parameters
    ----------
    draw : callable
        From a layout to the figure.
    caption : str
        What is shown, of how many, measured how; one or two sentences.
    rows : sequence of mapping
        The numbers behind the figure, all with the same keys.
    """

    draw: Draw
    caption: str
    rows: Sequence[Mapping[str, Any]]


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
        if self.path.suffix.lower() not in METADATA:
            raise ParamsError(f"--to {self.path}: not a figure's name; end it with {', '.join(METADATA)}")
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
        content = self.bytes_of(plot)
        self._put(self.path, lambda path: path.write_bytes(content))
        if self.numbers is not None:
            text = numbers_text(plot.rows)
            self._put(self.numbers, lambda path: path.write_text(text, encoding="utf-8"))

    def bytes_of(self, plot: Plot) -> bytes:
        """The figure as the file holds it."""
        suffix = self.path.suffix.lower()
        with mpl.rc_context():
            # A reader's own matplotlibrc must change neither the look nor the bytes.
            mpl.rcdefaults()
            settings: Any = mpl.rcParams
            settings.update(STYLE)
            figure = plot.draw(Layout(self.width, self.width < NARROW_BELOW))
            if self.caption:
                add_caption(figure, plot.caption)
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix[1:], dpi=self.dpi, metadata=METADATA[suffix])
        return stream.getvalue()

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


def add_caption(figure: Figure, caption: str) -> None:
    """Set a caption below a figure, in lines of the figure's width, and make the figure that much higher."""
    width, height = figure.get_size_inches()
    # A letter of DejaVu Sans is on average 0.53 of its size wide.
    kept_together = caption.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(kept_together, max(20, int((width - 0.2) * 72 / (0.53 * CAPTION_SIZE))))
    figure.set_size_inches(width, height + 1.35 * len(lines) * CAPTION_SIZE / 72 + 0.06)
    figure.supxlabel("\n".join(lines), x=0.008, ha="left", fontsize=CAPTION_SIZE, color=QUIET, linespacing=1.25)


def numbers_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; what is undefined stays empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: "" if value is None or value != value else value for key, value in row.items()} for row in rows
    )
    return stream.getvalue()
