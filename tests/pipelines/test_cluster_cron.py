"""Cron expressions and intervals, as Kubeflow Pipelines reads them."""

import pytest

from epilstm.errors import ParamsError
from pipelines.cron import interval_seconds, six_fields


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("10 10 * * *", "0 10 10 * * *"),
        ("*/15 0-6,20 1 JAN-mar ?", "0 */15 0-6,20 1 JAN-mar ?"),
        ("30 0 9 ? * 2-6", "30 0 9 ? * 2-6"),
        ("  0   3 * *  sun ", "0 0 3 * * sun"),
        ("@daily", "0 0 0 * * *"),
        ("@Weekly", "0 0 0 * * 0"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("0 0 31 2,3 *", "0 0 0 31 2,3 *"),
    ],
)
def test_five_fields_get_seconds_and_six_stay(written: str, sent: str) -> None:
    assert six_fields(written) == sent


def test_a_day_of_month_beside_a_weekday_is_an_alternative_to_it() -> None:
    assert six_fields("0 0 31 2 1") == "0 0 0 31 2 1"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "got 0"),
        ("* * * *", "got 4"),
        ("* * * * * * *", "got 7"),
        ("@fortnightly", "or @hourly"),
        ("60 0 * * *", "minute '60': 60 is not from 0 to 59"),
        ("0 24 * * *", "hour '24': 24 is not from 0 to 23"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 * 13 *", "month '13'"),
        ("0 0 * * 7", "Sunday is 0"),
        ("0 0 * * L", "'L' is no number"),
        ("0 0 L * *", "'L' is no number"),
        ("0 0 * * 1#2", "'1#2' is no number"),
        ("*/0 * * * *", "the step '0'"),
        ("*/x * * * *", "the step 'x'"),
        ("5-1 * * * *", "5 comes after 1"),
        ("1,,2 * * * *", "'' is no number"),
        ("-1 * * * *", "'' is no number"),
        ("٣ * * * *", "is no number"),
        ("0 0 30 2 *", "never fires: day 30 does not occur in month 2"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        ("0 0 31 2 */2", "never fires"),
        ("TZ=Europe/Berlin 0 3 * * *", "TZ=Europe/Berlin is not supported: the server counts in UTC"),
        ("CRON_TZ=UTC 0 0 3 * * *", "leave it out and give the hour in UTC"),
    ],
)
def test_an_impossible_expression_is_refused(written: str, reason: str) -> None:
    with pytest.raises(ParamsError) as told:
        six_fields(written)
    assert reason in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("written", "seconds"), [("60", 60), ("90s", 90), ("30m", 1800), ("6h", 21600), ("7D", 604800), ("2w", 1209600)]
)
def test_an_interval_has_a_unit(written: str, seconds: int) -> None:
    assert interval_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "h", "1.5h", "-6h", "6 hours", "0", "59s", "53w", "9" * 30])
def test_an_impossible_interval_is_refused(written: str) -> None:
    with pytest.raises(ParamsError, match="--interval"):
        interval_seconds(written)
