"""When a schedule fires: cron expressions as Kubeflow Pipelines reads them, and intervals.

Kubeflow Pipelines reads six fields, seconds first, the last of them optional: it takes the usual five for seconds to
months, without a word, and fires every hour instead of once a day. Its grammar (robfig/cron, version 1) knows
``* ? , - /``, names of months and weekdays, and weekdays from 0 (Sunday) to 6; none of ``L W #``.
"""

from __future__ import annotations

import calendar
import re

from epilstm.errors import ParamsError

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
#: Name, smallest, largest, names of values.
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 6, WEEKDAYS),
)
DAYS_IN_MONTH = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST_INTERVAL = 366 * 86400


def six_fields(expression: str) -> str:
    """A cron expression as Kubeflow Pipelines reads it.

    Parameters
    ----------
    expression : str
        The usual five fields, six with seconds first, or a shorthand such as ``@daily``; in UTC.

    Raises
    ------
    ParamsError
        Not a cron expression, or one that never fires; the message names the field.
    """
    text = SHORTHANDS.get(expression.strip().lower(), expression)
    fields = text.split()
    zone = next((field for field in fields if field.upper().startswith(("TZ=", "CRON_TZ="))), None)
    if zone is not None:
        raise ParamsError(
            f"--cron {expression!r}: {zone} is not supported: the server counts in UTC; leave it out and give the "
            "hour in UTC (03:00 in Berlin is hour 2 in winter and 1 in summer)"
        )
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        known = f" or {', '.join(SHORTHANDS)}" if text.startswith("@") else ""
        raise ParamsError(
            f"--cron {expression!r}: expected five fields (minute hour day month weekday) or six with seconds first"
            f"{known}, got {len(fields)}"
        )
    values = [
        _values(field, name, low, high, names, expression)
        for field, (name, low, high, names) in zip(fields, FIELDS, strict=True)
    ]
    days, months = values[3], values[4]
    # A day of month and a weekday that are both given are alternatives: one of them is enough.
    any_weekday = any(item.startswith(("*", "?")) for item in fields[5].split(","))
    if any_weekday and not any(day <= DAYS_IN_MONTH[month] for day in days for month in months):
        raise ParamsError(f"--cron {expression!r}: never fires: day {fields[3]} does not occur in month {fields[4]}")
    return " ".join(fields)


def interval_seconds(text: str, option: str = "--interval") -> int:
    """Length of an interval in seconds.

    Parameters
    ----------
    text : str
        A number and a unit, such as ``6h``, ``30m`` or ``7d``; without a unit, seconds.
    option : str
        Named in messages.

    Raises
    ------
    ParamsError
        Not an interval, shorter than a minute, or longer than a year.
    """
    found = re.fullmatch(r"([0-9]{1,12})([smhdw]?)", text.strip().lower())
    if found is None:
        raise ParamsError(f"{option} {text!r}: expected a whole number and a unit, such as 30m, 6h, 7d or 2w")
    seconds = int(found.group(1)) * UNITS[found.group(2) or "s"]
    if not 60 <= seconds <= LONGEST_INTERVAL:
        raise ParamsError(f"{option} {text!r}: expected from one minute to 366 days")
    return seconds


def _values(field: str, name: str, low: int, high: int, names: dict[str, int], expression: str) -> set[int]:
    values: set[int] = set()
    for item in field.split(","):
        span, slash, step_text = item.partition("/")
        step = 1
        if slash:
            if not _is_number(step_text) or int(step_text) == 0:
                raise ParamsError(
                    f"--cron {expression!r}: {name} {field!r}: the step {step_text!r} is no number above 0"
                )
            step = int(step_text)
        if span in {"*", "?"}:
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _value(start, name, low, high, names, field, expression)
            # A start with a step and no end goes on to the largest value.
            last = _value(end, name, low, high, names, field, expression) if dash else high if slash else first
        if first > last:
            raise ParamsError(f"--cron {expression!r}: {name} {field!r}: {first} comes after {last}")
        values.update(range(first, last + 1, step))
    return values


def _value(text: str, name: str, low: int, high: int, names: dict[str, int], field: str, expression: str) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not _is_number(text):
        raise ParamsError(f"--cron {expression!r}: {name} {field!r}: {text!r} is no number")
    value = int(text)
    if not low <= value <= high:
        sunday = "; Sunday is 0" if name == "day of week" else ""
        raise ParamsError(f"--cron {expression!r}: {name} {field!r}: {value} is not from {low} to {high}{sunday}")
    return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
