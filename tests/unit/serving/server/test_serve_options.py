"""The server's command line becomes its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from epilstm.errors import ParamsError
from epilstm.serving.server.command import serve
from epilstm.serving.server.options import ServeOptions


def options(*words: str) -> ServeOptions:
    given = serve.make_context("serve", list(words)).params
    return ServeOptions(**{name: value for name, value in given.items() if name not in ("verbose", "quiet")})


def test_units_of_the_command_line_become_those_of_the_settings():
    given = options("--model=m", "--max-delay-ms=5", "--max-body-mb=2", "--timeout-s=7", "--threads=3", "--queue=9")
    settings = given.settings(Path("m"))
    assert settings.batching.max_delay == 0.005
    assert (settings.batching.workers, settings.batching.queue) == (3, 9)
    assert (settings.http.max_body, settings.http.body_budget) == (2 << 20, 512 << 20)
    assert (settings.requests.seconds, settings.http.body_seconds, settings.http.write_seconds) == (7, 7, 7)


def test_the_budget_of_all_bodies_holds_the_largest_one():
    settings = options("--model=m", "--max-body-mb=64", "--max-pending-mb=8").settings(Path("m"))
    assert settings.http.body_budget == settings.http.max_body == 64 << 20


def test_without_threads_there_is_one_call_per_core(monkeypatch):
    monkeypatch.setattr("epilstm.serving.server.options.available_cores", lambda: 5)
    assert options("--model=m").settings(Path("m")).batching.workers == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --model PATH or --registry REPO"),
        (("--model=m", "--tls-cert=c"), "--tls-cert and --tls-key go together"),
        (("--model=m", "--rollout=r"), "need --registry REPO"),
        (("--model=m", "--canary"), "need --registry REPO"),
        (("--registry=r", "--canary"), "--canary needs --rollout FILE"),
    ],
)
def test_options_that_need_each_other_are_given_together(words, message):
    with pytest.raises(ParamsError, match=message):
        options(*words)
