"""Presets are params files, and what they say is what they are named for."""

import pytest

from epilstm.model.sizes import choose_sizes
from epilstm.params import SECTIONS, EvaluateParams, PreprocessParams, TrainParams, load_section, read_sections
from epilstm.steps.train.command import model_config
from support.paths import PROJECT

PRESETS = sorted((PROJECT / "presets").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_section_of_a_preset_is_valid(preset):
    for name in read_sections(preset):
        load_section(preset, name, SECTIONS[name])


def test_the_published_preset_is_the_published_configuration():
    (preset,) = (path for path in PRESETS if path.stem == "published")
    params = load_section(preset, "train", TrainParams)
    config = model_config(params, choose_sizes(params, 1_014), 1_014, 100)
    assert (config.architecture, config.hidden_size, config.embedding_size) == ("published_softsign", 24, 24)
    assert (config.layers, config.directions, config.context_size, params.frames_per_step) == (1, 1, 0, 1)


def test_a_change_of_the_defaults_leaves_the_published_preset_as_it_was():
    (preset,) = (path for path in PRESETS if path.stem == "published")
    params = load_section(preset, "train", TrainParams)
    assert (params.schedule, params.track_dropout, params.epochs, params.learning_rate) == ("cosine", 0.0, 12, 0.01)
    assert (params.rotation, params.peak_weight, params.neighbour_bins, params.carry_state) == ("none", 0.0, 0, True)
    assert load_section(preset, "preprocess", PreprocessParams).frame_bins == 100


def test_the_pilot_preset_sets_what_the_data_set_is_and_leaves_the_model_to_the_defaults():
    (preset,) = (path for path in PRESETS if path.stem == "roadmap-pilot")
    assert set(read_sections(preset)) == {"preprocess"}


def test_each_group_of_the_genomes_chromosomes_is_scored_by_the_model_that_was_trained_without_it():
    presets = {path.stem: path for path in PRESETS}
    evaluate = load_section(presets["encode-peaks-cross-fitted"], "evaluate", EvaluateParams)
    whole = load_section(presets["encode-peaks"], "train", TrainParams)
    assert isinstance(evaluate.cross_fit.groups, list)
    for number, group in enumerate(evaluate.cross_fit.groups, start=1):
        train = load_section(presets[f"encode-peaks-group-{number}"], "train", TrainParams)
        assert train.split.test == group
        assert not set(train.split.validation) & set(group)
        assert evaluate.cross_fit.embeddings[number - 1] == f"group-{number}/embeddings"
        assert train.model_copy(update={"split": whole.split, "seed": whole.seed}) == whole
