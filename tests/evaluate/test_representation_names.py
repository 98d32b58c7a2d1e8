"""Names of what is compared, and what they are refused for."""

import pytest

from epilstm.config import EvaluateParams, validate
from epilstm.errors import ParamsError
from epilstm.evaluate.compared import ordered
from epilstm.evaluate.judgement import spoken
from epilstm.representation_names import PARTS, Part, RepresentationName, known_name, parse_name


def representations(*names: object) -> EvaluateParams:
    return validate(EvaluateParams, {"representations": ["embedding", *names]}, "evaluate")


def test_a_name_is_its_parts_and_their_sizes() -> None:
    assert parse_name("nmf:12+context_code") == RepresentationName((Part("nmf", 12), Part("context_code")))
    for name in (*PARTS, "pca:1", "pca_varimax:12", "raw+context_code", "pca:12+nmf+untrained"):
        assert str(parse_name(name)) == name
    assert known_name("wider") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pcs",
            "unknown part 'pcs'; there are embedding, raw, pca, nmf, untrained, majority, bin_code, context_code, ",
        ),
        ("raw+pcs:3", "unknown part 'pcs'; there are "),
        ("raw+", "unknown part ''; there are "),
        ("raw:12", "raw takes no size; pca, nmf and pca_varimax do, got 'raw:12'"),
        ("pca:0", "pca: expected a size such as pca:12, got 'pca:0'"),
        ("pca:", "pca: expected a size such as pca:12"),
        ("nmf:1.5", "nmf: expected a size such as nmf:12"),
        ("pca:12+pca:12", "a part is in the sum twice"),
        ("majority+raw", "majority cannot be part of a sum"),
        (12, "expected the name of a representation, got 12"),
    ],
)
def test_a_name_that_says_nothing_is_told_with_what_there_is(name: object, message: str) -> None:
    with pytest.raises(ParamsError) as told:
        representations(name)
    assert str(told.value).startswith(f"evaluate.representations.1: {message}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("pca:12", "pca:12"), "representations: pca:12 is listed twice"),
        (("raw+pca", "pca+raw"), r"representations: raw\+pca and pca\+raw are the same; leave one out"),
    ],
)
def test_what_is_listed_twice_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        representations(*names)


def test_names_are_written_as_they_were_given() -> None:
    params = representations("pca:12+context_code", "nmf:3")
    assert params.model_dump(mode="json")["representations"] == ["embedding", "pca:12+context_code", "nmf:3"]
    assert EvaluateParams.model_validate(params.model_dump(mode="json")) == params


@pytest.mark.parametrize("name", ["bin_code", "context_code", "pca_varimax"])
def test_another_model_cannot_have_the_name_of_a_part(name: str) -> None:
    with pytest.raises(ParamsError, match=f"also: {name} is the name of a representation"):
        validate(EvaluateParams, {"also": {name: "x"}}, "evaluate")


def test_plain_names_have_their_usual_order_and_all_others_the_one_given() -> None:
    given = ["majority", "nmf:3", "untrained", "pca:2+raw", "bin_code", "raw", "embedding"]
    found = [str(name) for name in ordered(map(parse_name, given))]
    assert found == ["embedding", "raw", "untrained", "nmf:3", "pca:2+raw", "bin_code", "majority"]


def test_sentences_call_each_by_what_it_is() -> None:
    assert spoken("pca") == "PCA of the same size"
    assert spoken("pca:12") == "PCA of size 12"
    assert spoken("pca_varimax:6") == "PCA of size 6 turned by varimax"
    assert spoken("nmf:12+context_code") == "non-negative factors of size 12 plus its context code"
    assert spoken("wider") == "the model wider"
