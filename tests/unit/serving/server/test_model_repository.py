"""Models change under a running server: the old one answers until the new one is known to be good."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from epilstm.errors import EpilstmError
from epilstm.serving.server.refusal import Refusal, Status
from epilstm.serving.server.repository import Repository
from epilstm.tracks.identity import TrackIdentity
from support.export.small_model import SCALER
from support.serve.server_process import export_encoder


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    return export_encoder(tmp_path_factory.mktemp("other"), scale=2.0)


@pytest.fixture(scope="module")
def other_tracks(tmp_path_factory):
    scaler = SCALER.model_copy(update={"tracks": SCALER.tracks[::-1]})
    return export_encoder(tmp_path_factory.mktemp("tracks"), scaler=scaler)


class Watched:
    """A repository over a symbolic link, and the messages that it sent."""

    def __init__(self, link, target) -> None:
        self.link = link
        link.symlink_to(target)
        self.loaded: list[str] = []
        self.refused = 0
        self.repository = Repository(
            link, "cpu", on_loaded=lambda new: self.loaded.append(new.version), on_refused=self.count
        )
        self.repository.load()

    def count(self) -> None:
        self.refused += 1

    def turn(self, target) -> None:
        """Turn the link, as one rename."""
        staged = self.link.with_name("staged")
        staged.symlink_to(target)
        os.replace(staged, self.link)

    def watch_until(self, condition) -> None:
        async def run():
            task = asyncio.create_task(self.repository.watch(0.01))
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.005)
                    assert not task.done()
            task.cancel()

        asyncio.run(run())


def test_another_model_takes_the_place_of_the_first(tmp_path, encoder_folder, other_folder):
    watched = Watched(tmp_path / "champion", encoder_folder)
    first = watched.repository.current
    watched.turn(other_folder)
    watched.watch_until(lambda: len(watched.loaded) == 2)
    assert watched.repository.current.version == watched.loaded[1] != first.version
    with pytest.raises(Refusal, match="is served"):
        watched.repository.encoder("encoder", first.version)


def spoilt(encoder_folder, folder):
    shutil.copytree(encoder_folder, folder)
    (folder / "encoder.onnx").write_bytes(b"no")
    return folder


def test_a_bad_model_is_refused_once_and_the_old_one_stays(tmp_path, encoder_folder, other_folder):
    watched = Watched(tmp_path / "champion", encoder_folder)
    first = watched.repository.current
    watched.turn(spoilt(other_folder, tmp_path / "spoilt"))
    watched.watch_until(lambda: watched.refused > 0)
    assert watched.repository.current is first
    watched.turn(other_folder)
    watched.watch_until(lambda: len(watched.loaded) == 2)
    assert watched.refused == 1


def test_a_model_of_other_tracks_is_refused_for_clients_rely_on_their_order(tmp_path, encoder_folder, other_tracks):
    watched = Watched(tmp_path / "champion", encoder_folder)
    watched.turn(other_tracks)
    watched.watch_until(lambda: watched.refused == 1)
    assert len(watched.loaded) == 1


def test_a_model_of_tracks_that_only_their_names_share_is_refused(tmp_path):
    """`cell-A` + `DNase` and `cell` + `A-DNase` are both named `cell-A-DNase`; an older encoder has names alone."""

    def encoder(name: str, fields: list[tuple[str, str]] | None, scale: float):
        identities = None if fields is None else [TrackIdentity(*each) for each in fields]
        scaler = SCALER.model_copy(update={"tracks": names, "identities": identities})
        return export_encoder(tmp_path / name, scale=scale, scaler=scaler)

    names = [f"cell-{letter}-DNase" for letter in "ABCDEFG"]
    cells = [(f"cell-{letter}", "DNase") for letter in "ABCDEFG"]
    served = encoder("served", cells, 3.0)
    watched = Watched(tmp_path / "champion", served)
    watched.turn(encoder("others", [*cells[:3], ("cell", "D-DNase"), *cells[4:]], 2.0))
    watched.watch_until(lambda: watched.refused == 1)
    assert len(watched.loaded) == 1
    watched.turn(encoder("same", cells, 2.0))
    watched.watch_until(lambda: len(watched.loaded) == 2)
    watched.turn(encoder("older", None, 2.5))
    watched.watch_until(lambda: len(watched.loaded) == 3)
    assert watched.refused == 1


def test_the_same_model_anew_is_not_loaded_twice(tmp_path, encoder_folder, other_folder):
    watched = Watched(tmp_path / "champion", encoder_folder)
    shutil.copytree(encoder_folder, tmp_path / "copy")
    watched.turn(tmp_path / "copy")
    watched.watch_until(lambda: watched.repository._seen[0] == str((tmp_path / "copy").resolve()))
    assert len(watched.loaded) == 1


def test_nothing_in_the_models_place_is_waited_out(tmp_path, encoder_folder, other_folder):
    watched = Watched(tmp_path / "champion", encoder_folder)
    watched.link.unlink()
    looks = iter(range(10))
    watched.watch_until(lambda: next(looks, None) is None)
    watched.turn(other_folder)
    watched.watch_until(lambda: len(watched.loaded) == 2)
    assert watched.refused == 0


@pytest.mark.parametrize("name", ["", "no-such", "../encoder", "encoder\n", "é" * 1000])
def test_models_that_are_not_served_are_not_found(encoder_folder, name):
    repository = Repository(encoder_folder, "cpu")
    repository.load()
    with pytest.raises(Refusal, match="no model") as refused:
        repository.encoder(name)
    assert refused.value.status == Status.NOT_FOUND
    assert len(refused.value.message) < 200


def test_before_a_model_is_loaded_there_is_none():
    with pytest.raises(Refusal) as refused:
        Repository(None).encoder("encoder")
    assert refused.value.status == Status.UNAVAILABLE


def test_a_path_of_nothing_is_reported(tmp_path):
    with pytest.raises(EpilstmError, match="no such file or folder"):
        Repository(tmp_path / "none").load()
