"""What every HTML page shares: its style sheet, and how numbers are written."""

from __future__ import annotations

from importlib.resources import files

from markupsafe import Markup

from epilstm.store.evaluation_results import Interval

STYLE_SHEET = "style.css"

#: Rows from which a table is folded away until the reader asks for it.
LONG_TABLE = 30

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def style() -> Markup:
    """The style sheet that every page has inside."""
    return Markup((files("epilstm.figures") / STYLE_SHEET).read_text(encoding="utf-8"))


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals and a real minus sign; "undefined" for None."""
    if value is None:
        return "undefined"
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.removeprefix("-")


def span(interval: Interval) -> str:
    """An interval as ``low to high``."""
    return f"{number(interval.low)} to {number(interval.high)}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    text = number(value)
    return text if text.startswith(MINUS) else f"+{text}"


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share in percent; one that only rounds to 0% or 100% is "below" or "above" it."""
    if 0 < share < 0.0005:
        return "below 0.1%"
    return "above 99.9%" if 0.9995 < share < 1 else f"{share:.1%}"
