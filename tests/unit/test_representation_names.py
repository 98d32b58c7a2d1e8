"""Names of what is compared, and what they are refused for."""

import pytest

from epilstm.errors import ParamsError
from epilstm.params import EvaluateParams, validate
from epilstm.representation_names import PARTS, Part, RepresentationName, known_name, parse_name
from epilstm.scoring.sentences import spoken
from epilstm.steps.evaluate.compared import ordered, resolve


def representations(*names: object) -> EvaluateParams:
    return validate(EvaluateParams, {"representations": ["embedding", *names]}, "evaluate")


def test_a_name_is_its_parts_and_their_sizes() -> None:
    assert parse_name("nmf:12+context_code") == RepresentationName((Part("nmf", 12), Part("context_code")))
    bare = [name for name in PARTS if name != "own"]
    for name in (
        *bare,
        "own(raw)",
        "nmf:3(raw+means:5k)",
        "own(pca:2(raw+means:1M)+nmf)+raw",
        "pca:1",
        "pca_varimax:12",
        "raw+context_code",
        "pca:12+nmf+untrained",
    ):
        assert str(parse_name(name)) == name
    assert known_name("wider") is None


def test_means_have_distances_and_a_pca_may_be_of_them() -> None:
    name = parse_name("pca:24(raw+means:100k,20k)+context_code")
    inner = RepresentationName((Part("raw"), Part("means", distances=(20_000, 100_000))))
    assert name.parts == (Part("pca", 24, of=inner), Part("context_code"))
    assert str(name) == "pca:24(raw+means:20k,100k)+context_code"
    for text in ("raw+means:500,20k,1M", "means", "pca(raw+means)", "pca:3(means:5k)"):
        assert str(parse_name(text)) == text


def test_means_reach_as_far_as_the_embedding_sees_and_without_a_context_they_are_left_out() -> None:
    names = EvaluateParams().representations
    found = resolve(names, 24, 100, [100_000, 5_000, 20_000])
    assert [str(name) for name in found.names] == [
        "embedding", "raw", "raw+means:5k,20k,100k", "pca", "pca(raw+means:5k,20k,100k)", "nmf", "untrained",
        "majority",
    ]  # fmt: skip
    assert [str(name) for name in ordered(found.names)] == [str(name) for name in found.names]
    assert found.left_out == {}
    blind = resolve([*names, parse_name("raw+means:2k")], 24, 100, [])
    assert [str(name) for name in blind.names][-1] == "raw+means:2k"
    reason = "the model's manifest names no distances of a context level (surroundings_bp) to take means over"
    assert blind.left_out == {"raw+means": reason, "pca(raw+means)": reason}


def test_a_pca_of_as_many_components_as_numbers_is_left_out_and_the_reason_said() -> None:
    names = [parse_name(each) for each in ("embedding", "pca", "pca:5", "pca(raw+means)", "pca:24(raw+means:2k)")]
    found = resolve(names, 6, 6, [5_000, 20_000])
    assert [str(name) for name in found.names] == ["embedding", "pca:5", "pca(raw+means:5k,20k)"]
    assert found.left_out == {
        "pca": "as many components as there are numbers: that is the raw tracks, rotated",
        "pca:24(raw+means:2k)": "as many components as there are numbers: that is raw+means:2k, rotated",
    }


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
        ("means:", "means: expected distances of at most 10M base pairs, such as means:20k,100k, got ''"),
        ("means:20k,20000", "means: a distance is listed twice"),
        ("means:20kb", "means: expected distances of at most 10M base pairs"),
        ("means:20M", "means: expected distances of at most 10M base pairs"),
        ("raw(means)", "raw is of nothing in brackets; pca, nmf, own are, as in pca:12(raw+means)"),
        ("own", "own: expected brackets, such as own(raw+means:20k,1M)"),
        ("own:3(raw)", "own takes no size; pca, nmf and pca_varimax do"),
        (
            "own(majority)",
            "own is of raw, means, pca, nmf, embedding, untrained, bin_code and context_code, not of majority",
        ),
        ("pca:3(own(raw))", "pca: write own around it, as in own(pca:12(raw+means))"),
        ("pca:12(raw+nmf)", "pca is of raw and means, not of nmf"),
        ("pca:12(raw", "unknown part 'pca:12(raw'"),
    ],
)
def test_a_name_that_says_nothing_is_reported_with_what_there_is(name: object, message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        representations(name)
    assert str(caught.value).startswith(f"evaluate.representations.1: {message}")
    assert "\n" not in str(caught.value)


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
    assert spoken("pca_varimax:6") == "varimax-rotated PCA of size 6"
    assert spoken("nmf:12+context_code") == "non-negative factors of size 12 plus its context code"
    assert spoken("wider") == "the model wider"
