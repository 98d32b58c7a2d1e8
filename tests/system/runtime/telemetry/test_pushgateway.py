"""Metrics of steps in a real Pushgateway."""

from __future__ import annotations

import pytest

from epilstm import errors
from epilstm.runtime.telemetry.step_run import observed
from support.monitoring_stack import Pushgateway, get
from support.watching import wait_until


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch):
    for name in ("EPILSTM_PUSHGATEWAY", "EPILSTM_TEXTFILE_DIR", "EPILSTM_PIPELINE", "RANK"):
        monkeypatch.delenv(name, raising=False)


def succeed(step: str = "ingest", part: str | None = None, **known: object) -> None:
    with observed(step, part) as run:
        for name, value in known.items():
            setattr(run, name, value)


def fail(error: BaseException, step: str = "ingest") -> None:
    with pytest.raises(type(error)), observed(step):
        raise error


def test_a_real_gateway_keeps_one_group_per_step_and_part(programs, tmp_path, monkeypatch):
    with Pushgateway(programs, tmp_path / "gateway") as gateway:
        monkeypatch.setenv("EPILSTM_PUSHGATEWAY", gateway.url)
        succeed(bins=7)
        succeed(bins=8)
        succeed(bins=9, part="3/8")
        fail(errors.TrackError("gone"))
        found = gateway.samples()
        assert found['epilstm_step_bins{pipeline="local",step="ingest"}'] == 8
        assert found['epilstm_step_bins{part="3/8",pipeline="local",step="ingest"}'] == 9
        assert found['epilstm_step_success{pipeline="local",step="ingest"}'] == 0
        assert found['epilstm_step_last_success_timestamp_seconds{pipeline="local",step="ingest"}'] > 1e9
        assert sum("epilstm_step_failure_info" in name for name in found) == 1
        fail(errors.DataError("other"))
        assert sum("epilstm_step_failure_info" in name for name in gateway.samples()) == 1

        path = "/metrics/job/epilstm-steps/pipeline/local/step/ingest"
        import urllib.request

        urllib.request.urlopen(urllib.request.Request(gateway.url + path, method="DELETE"), timeout=10)
        wait_until(lambda: not any('{pipeline="local",step="ingest"}' in name for name in gateway.samples()))
        assert any('part="3/8"' in name for name in gateway.samples())
        assert get(gateway.url + "/-/ready")[0] == 200
