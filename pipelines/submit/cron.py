"""When a schedule starts runs: cron expressions as Kubeflow Pipelines reads them, and intervals.

Kubeflow Pipelines reads six fields, seconds first, the last of them optional: it reads the usual five as
seconds to months, silently, and fires every hour instead of once a day. The server checks each field.
"""

from __future__ import annotations

import calendar
import re

from epilstm.errors import ParamsError

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
#: Days that a month can have.
MONTHS = {str(number): calendar.monthrange(2024, number)[1] for number in range(1, 13)}


def six_fields(expression: str) -> str:
    """A cron expression in UTC, with seconds: of five fields, six, or a shorthand such as ``@daily``.

    Raises
    ------
    ParamsError
        It has another number of fields, names a time zone, or never fires.
    """
    text = SHORTHANDS.get(expression.strip().lower(), expression)
    fields = text.split()
    zone = next((field for field in fields if field.upper().startswith(("TZ=", "CRON_TZ="))), None)
    if zone is not None:
        raise ParamsError(
            f"--cron {expression!r}: {zone} is not supported: the server counts in UTC; leave it out and give the "
            "hour in UTC (03:00 in Berlin is hour 2 in winter and 1 in summer)"
        )
    if len(fields) not in {5, 6}:
        known = f" or {', '.join(SHORTHANDS)}" if text.startswith("@") else ""
        raise ParamsError(
            f"--cron {expression!r}: expected five fields (minute hour day month weekday) or six with seconds first"
            f"{known}, got {len(fields)}"
        )
    day, month, weekday = fields[-3:]
    if day.isdecimal() and month in MONTHS and weekday in {"*", "?"} and int(day) > MONTHS[month]:
        # Which the server would accept.
        raise ParamsError(f"--cron {expression!r}: never fires: day {day} does not occur in month {month}")
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def interval_seconds(text: str, option: str = "--interval") -> int:
    """Seconds of an interval such as ``6h``, ``30m`` or ``7d``; `option` is named in messages.

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
