"""Cron expressions and intervals, as Kubeflow Pipelines reads them."""

import pytest

from epilstm.errors import ParamsError
from epilstm.pipelines.submit.cron import interval_seconds, six_fields


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
        ("0 0 30 2 *", "never fires: day 30 does not occur in month 2"),
        ("TZ=Europe/Berlin 0 3 * * *", "TZ=Europe/Berlin is not supported: the server counts in UTC"),
        ("CRON_TZ=UTC 0 0 3 * * *", "leave it out and give the hour in UTC"),
    ],
)
def test_what_the_server_would_misread_or_never_run_is_refused(written: str, reason: str) -> None:
    with pytest.raises(ParamsError) as refused:
        six_fields(written)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("written", ["60 0 * * *", "0 0 * * L", "5-1 * * * *"])
def test_whether_a_field_is_valid_is_left_to_the_server(written: str) -> None:
    assert six_fields(written) == f"0 {written}"


@pytest.mark.parametrize(
    ("written", "seconds"), [("60", 60), ("90s", 90), ("30m", 1800), ("6h", 21600), ("7D", 604800), ("2w", 1209600)]
)
def test_an_interval_has_a_unit(written: str, seconds: int) -> None:
    assert interval_seconds(written) == seconds


@pytest.mark.parametrize("written", ["", "h", "1.5h", "-6h", "6 hours", "0", "59s", "53w", "9" * 30])
def test_an_impossible_interval_is_refused(written: str) -> None:
    with pytest.raises(ParamsError, match="--interval"):
        interval_seconds(written)
