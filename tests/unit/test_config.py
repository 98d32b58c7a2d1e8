"""Params files: strict, with one line that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import ParamsError
from epilstm.params import (
    SECTIONS,
    EvaluateParams,
    IngestParams,
    PreprocessParams,
    SimulateParams,
    TrainParams,
    load_section,
    read_yaml,
)
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, section: str = "train") -> str:
    path = write(folder, text)
    with pytest.raises(ParamsError) as caught:
        load_section(path, section, SECTIONS[section])
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_every_step_has_a_section_of_its_name():
    assert list(SECTIONS) == list(STEPS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_parameter_has_a_default_and_a_description(section):
    assert SECTIONS[section]() is not None
    for name, field in nonempty(SECTIONS[section].model_fields.items()):
        is_nested = hasattr(field.annotation, "model_fields")
        assert is_nested or field.description, name


@pytest.mark.parametrize("text", ["", "# nothing\n", "simulate: {seed: 1}\n", "train:\n"])
def test_what_is_not_given_keeps_its_default(tmp_path, text):
    assert load_section(write(tmp_path, text), "train", TrainParams) == TrainParams()


def test_given_values_are_taken(tmp_path):
    text = "train: {hidden_size: 17}\npreprocess: {split: {validation: [chrA], test: [chrB, chrC]}}\n"
    path = write(tmp_path, text)
    assert load_section(path, "train", TrainParams).hidden_size == 17
    assert load_section(path, "preprocess", PreprocessParams).split.test == ["chrB", "chrC"]


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("5E-4", 5e-4), ("1.5e-3", 1.5e-3), ("1e-03", 1e-3), (".5", 0.5), ("1", 1.0)]
)
def test_a_number_is_a_number_in_every_notation(tmp_path, text, value):
    section = load_section(write(tmp_path, f"train: {{learning_rate: {text}}}"), "train", TrainParams)
    assert section.learning_rate == value


@given(st.floats(min_value=1e-300, max_value=1.0))
def test_any_learning_rate_survives_the_file(tmp_path_factory, value):
    path = write(tmp_path_factory.mktemp("params"), f"train:\n  learning_rate: {value!r}\n")
    assert load_section(path, "train", TrainParams).learning_rate == value


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_params_are_read_in_whatever_encoding_an_editor_left_them(tmp_path, encoding):
    path = tmp_path / "params.yaml"
    path.write_bytes("train: {epochs: 3} # Müller\r\n".encode(encoding))
    assert load_section(path, "train", TrainParams).epochs == 3


def test_conflict_markers_of_git_are_named_with_their_line(tmp_path):
    text = "train:\n<<<<<<< HEAD\n  epochs: 3\n=======\n  epochs: 4\n>>>>>>> other\n"
    assert refusal(tmp_path, text).startswith(":2: holds a conflict marker of git (<<<<<<<)")


def test_words_that_look_like_numbers_stay_words(tmp_path):
    assert read_yaml(write(tmp_path, "[e3, chr1e, 1e, e-3, 1e-3x]")) == ["e3", "chr1e", "1e", "e-3", "1e-3x"]


def test_anchors_and_merge_keys_work(tmp_path):
    text = "embed: &shared {threads: 2}\ntrain:\n  <<: *shared\n  epochs: 3\n"
    section = load_section(write(tmp_path, text), "train", TrainParams)
    assert (section.threads, section.epochs) == (2, 3)


def test_an_unknown_section_is_named_with_those_that_exist(tmp_path):
    message = refusal(tmp_path, "trian: {epochs: 3}\n")
    assert message == f": unknown section 'trian'; sections are {', '.join(SECTIONS)}"


def test_an_unknown_key_is_named_with_those_that_exist(tmp_path):
    message = refusal(tmp_path, "train: {hiden_size: 3}\n")
    assert message.startswith(": train.hiden_size: unknown key; keys are kind, architecture, embedding_size")


def test_an_unknown_nested_key_is_named_with_its_path_and_its_siblings(tmp_path):
    message = refusal(tmp_path, "evaluate: {classifier: {tree: 3}}\n", "evaluate")
    assert message == (
        ": evaluate.classifier.tree: unknown key; "
        "keys are kind, penalty, trees, learning_rate, depth, histogram_bins, early_stopping_rounds"
    )


@pytest.mark.parametrize(
    ("text", "section", "expected"),
    [
        ("train: {epochs: many}", "train", ": train.epochs: input should be a valid integer, got 'many'"),
        ("train: {epochs: '3'}", "train", ": train.epochs: input should be a valid integer, got '3'"),
        ("train: {epochs: 2.5}", "train", ": train.epochs: input should be a valid integer, got 2.5"),
        ("train: {epochs: true}", "train", ": train.epochs: input should be a valid integer, got True"),
        ("train: {epochs: null}", "train", ": train.epochs: input should be a valid integer, got None"),
        ("export: {triton: 1}", "export", ": export.triton: input should be a valid boolean, got 1"),
        (
            "preprocess: {split: {test: chr1}}",
            "preprocess",
            ": preprocess.split.test: input should be a valid list, got 'chr1'",
        ),
        ("train: {epochs: 0}", "train", ": train.epochs: input should be greater than or equal to 1, got 0"),
        ("train: {learning_rate: 2}", "train", ": train.learning_rate: input should be less than or equal to 1, got 2"),
        ("train: {learning_rate: .inf}", "train", ": train.learning_rate: input should be a finite number, got inf"),
        ("train: {clip_norm: .nan}", "train", ": train.clip_norm: input should be a finite number, got nan"),
        ("train: {dropout: 1.0}", "train", ": train.dropout: input should be less than 1, got 1.0"),
        ("train: {seed: -1}", "train", ": train.seed: input should be greater than or equal to 0, got -1"),
        ("train: {seed: 4294967296}", "train", ": train.seed: input should be less than 4294967296, got 4294967296"),
        (
            "train: {architecture: transformer}",
            "train",
            ": train.architecture: input should be 'bottleneck', 'published' or 'published_softsign', "
            "got 'transformer'",
        ),
        (
            "simulate: {chromosomes: {chr1: 50}}",
            "simulate",
            ": simulate.chromosomes.chr1: input should be greater than or equal to 100000, got 50",
        ),
        (
            "train: {epochs: 0, streams: 0}",
            "train",
            ": train.streams: input should be greater than or equal to 1, got 0 (and 1 more)",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_the_rule(tmp_path, text, section, expected):
    assert refusal(tmp_path, text, section) == expected


def test_a_section_must_be_a_mapping(tmp_path):
    assert refusal(tmp_path, "train: [1, 2]").startswith(": train: input should be a valid dictionary")


@pytest.mark.parametrize(("text", "kind"), [("[1, 2]", "list"), ("train", "str"), ("3", "int")])
def test_a_file_must_be_a_mapping(tmp_path, text, kind):
    assert refusal(tmp_path, text) == f": expected a mapping of sections, got {kind}"


def test_a_chromosome_twice_in_a_split_is_refused(tmp_path):
    message = refusal(tmp_path, "preprocess: {split: {validation: [chr1, chr1], test: [chr2]}}", "preprocess")
    assert message.startswith(": preprocess.split: chr1 is listed twice")


def test_a_chromosome_both_for_validation_and_test_is_refused(tmp_path):
    message = refusal(tmp_path, "preprocess: {split: {validation: [chr1, chr2], test: [chr2]}}", "preprocess")
    assert message.startswith(": preprocess.split: chr2 is both a validation and a test chromosome")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n  epochs: 3\n  epochs: 4\n", ":3: not valid YAML: key 'epochs' is given twice"),
        ("train: {epochs: 3}\n\ntrain: {}\n", ":3: not valid YAML: key 'train' is given twice"),
        ("train:\n  epochs: [3\n", ":3: not valid YAML: "),
        ("train:\n\tepochs: 3\n", ":2: not valid YAML: "),
        ("train: !!python/object/apply:os.getcwd []\n", ":1: not valid YAML: could not determine a constructor"),
        ("train: \x00\n", ": cannot be read as YAML: line 1 holds a zero byte"),
    ],
)
def test_broken_yaml_is_named_with_its_line(tmp_path, text, expected):
    assert refusal(tmp_path, text).startswith(expected)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match=r"absent\.yaml: no such file"):
        load_section(tmp_path / "absent.yaml", "train", TrainParams)


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match=r"params\.yaml: cannot be read as YAML: its first bytes say UTF-16"):
        load_section(path, "train", TrainParams)


def test_sections_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        IngestParams().bin_size = 50


@pytest.mark.parametrize("model", [SimulateParams, EvaluateParams, TrainParams, PreprocessParams])
def test_a_section_written_out_reads_back_equal(tmp_path, model):
    name = next(name for name, section in SECTIONS.items() if section is model)
    path = write(tmp_path, yaml.safe_dump({name: model().model_dump(mode="json")}))
    assert load_section(path, name, model) == model()
