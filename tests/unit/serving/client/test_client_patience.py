"""Overload, restarts and strange answers: tried again as the server asks, or reported in one line."""

from __future__ import annotations

import numpy as np
import pytest

from epilstm.errors import ParamsError
from epilstm.serving.client.connection import (
    Access,
    Address,
    NotFound,
    ServerRefused,
    connect,
    pause_before_retry,
    seconds_of,
)
from support.client.stub_server import MODEL, RESULT, SIGNAL, embedding, stub


def infer(url: str, patience: float = 20, token: str | None = None) -> np.ndarray:
    with connect(Access(Address.parse(url), token, timeout=5, patience=patience)) as connection:
        return connection.infer(MODEL, {"signal": SIGNAL})["embedding"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_for_now_is_tried_again_under_the_same_id(status):
    def answer(number):
        return (status, {"retry-after": "0"}, b'{"error": "later"}') if number < 3 else embedding(RESULT)

    with stub(answer) as (url, asked):
        np.testing.assert_array_equal(infer(url), RESULT)
    assert len(asked) == 3
    assert len({request["x-request-id"] for request in asked}) == 1
    assert {request["path"] for request in asked} == {"/v2/models/encoder/versions/v1/infer"}


def test_what_the_server_asks_for_is_waited():
    assert 7 <= pause_before_retry(7, 0.5, 0.3) <= 8
    assert 2 <= pause_before_retry(None, 4, 0.3) <= 4
    assert (seconds_of("12"), seconds_of(None), seconds_of("Wed, 21 Oct 2015 07:28:00 GMT")) == (12, None, None)


def test_a_server_that_asks_for_more_than_ones_patience_is_given_up_at_once():
    with stub(lambda number: (429, {"retry-after": "3600"}, b'{"error": "full"}')) as (url, asked):
        with pytest.raises(ServerRefused, match=r"answers 429 full; given up after 20 s"):
            infer(url)
        assert len(asked) == 1


def test_a_request_that_is_wrong_is_not_tried_again():
    with stub(lambda number: (400, {}, b'{"error": "no such\\ntrack"}')) as (url, asked):
        with pytest.raises(ServerRefused, match=r"answers 400 no such track \(request id \w+-1\)"):
            infer(url)
        assert len(asked) == 1


def test_another_model_meanwhile_ends_the_run():
    with stub(lambda number: (404, {}, b'{"error": "no version"}')) as (url, _):
        with pytest.raises(ServerRefused, match="version v1 of model encoder is gone"):
            infer(url)
        with connect(Access(Address.parse(url), patience=1)) as connection, pytest.raises(NotFound):
            connection.describe("encoder")


def test_a_token_is_not_carried_to_where_a_redirection_leads():
    with stub(lambda number: embedding(RESULT)) as (other, stolen):
        with (
            stub(lambda number: (307, {"location": f"{other}/x"}, b"")) as (url, asked),
            pytest.raises(ServerRefused, match="answers 307"),
        ):
            infer(url, token="s3cret")
        assert asked[0]["authorization"] == "Bearer s3cret"
        assert not stolen


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>"),
        (200, {"Inference-Header-Content-Length": "7"}, b"garbage"),
        (200, {"Inference-Header-Content-Length": "-3"}, b"{}"),
        (200, {"Inference-Header-Content-Length": "2"}, b"[]"),
        (200, {"Inference-Header-Content-Length": "14"}, b'{"outputs":[]}'),
        embedding(RESULT, shape=[1, 4, 1]),
        embedding(RESULT, shape=[-1, -3, 1]),
        embedding(RESULT, shape="x"),
        embedding(RESULT, name="other"),
        embedding(RESULT, parameters={}),
    ],
)
def test_strange_answers_are_reported_in_one_line(answer):
    with stub(lambda number: answer) as (url, _), pytest.raises(ServerRefused) as caught:
        infer(url, patience=0)
    assert "\n" not in str(caught.value)


def test_a_connection_that_breaks_is_tried_again():
    def answer(number):
        if number == 1:
            raise ConnectionAbortedError
        return embedding(RESULT)

    with stub(answer) as (url, asked):
        np.testing.assert_array_equal(infer(url), RESULT)
    assert len(asked) == 2


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "http://h:99999", "grpc://h:1/v2", "http://h/?x=1", ""])
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(ParamsError, match="--url"):
        Address.parse(url)


def test_a_server_may_lie_behind_a_path_and_on_ipv6():
    assert str(Address.parse("https://host/models/")) == "https://host/models"
    assert Address.parse("grpc://[::1]:8081").netloc == "[::1]:8081"
