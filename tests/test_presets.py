"""Presets are params files, and what they say is what they are named for."""

from pathlib import Path

import pytest

from epilstm.config import SECTIONS, TrainParams, load_section, read_sections
from epilstm.train.command import model_config

PRESETS = sorted((Path(__file__).parents[1] / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_section_of_a_preset_is_valid(preset):
    assert PRESETS
    for name in read_sections(preset):
        load_section(preset, name, SECTIONS[name])


def test_the_published_preset_is_the_published_configuration():
    (preset,) = (path for path in PRESETS if path.stem == "published")
    params = load_section(preset, "train", TrainParams)
    config = model_config(params, 1_014, 100)
    assert (config.architecture, config.hidden_size, config.embedding_size) == ("published_softsign", 24, 24)
    assert (config.layers, config.directions, config.context_size, params.frames_per_step) == (1, 1, 0, 1)
