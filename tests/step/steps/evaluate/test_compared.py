"""Parts, sizes and sums in one run of the step, and each against numpy."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest

from epilstm.errors import ParamsError
from epilstm.files.outputs import fingerprint
from epilstm.params import EvaluateParams
from epilstm.representation_names import parse_name
from epilstm.representations.features import BinByBin, Embedding
from epilstm.representations.nmf import Nmf
from epilstm.representations.pca import fit_pca
from epilstm.representations.varimax_pca import fit_varimax_pca
from epilstm.steps.evaluate import predictions
from epilstm.steps.evaluate.compared import Fitted, Ingredients, as_they_are, make, sizes_of
from epilstm.store.evaluation_results import EvaluationResults, read_results
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments
from support.evaluate.evaluation_runs import changed, chosen_tasks, evaluate
from support.evaluate.tiny_evaluation import EMBEDDING_SIZE, SPLIT, TRACKS, TinyEvaluation, write_model
from support.nonempty import nonempty

NAMES = [
    "embedding", "pca:2", "raw", "context_code", "nmf:2", "nmf", "pca_varimax:2+context_code", "raw+bin_code",
    "majority", "pca_varimax", "untrained", "nmf:2+pca",
]  # fmt: skip
EVERYTHING = {
    "representations": NAMES,
    "missing_tracks": 0.3,
    "missing_draws": 2,
    "cross_cell_type": True,
    "leak": True,
    "classifier": {"kind": "logistic"},
    "bootstrap": 20,
}
ORDER = [
    "embedding", "twin", "raw", "nmf", "untrained", "pca:2", "context_code", "nmf:2", "pca_varimax:2+context_code",
    "raw+bin_code", "pca_varimax", "nmf:2+pca", "majority",
]  # fmt: skip


@pytest.fixture(scope="module")
def with_context(tiny: TinyEvaluation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model whose embedding has one number of context, and its embeddings."""
    folder = tmp_path_factory.mktemp("context")
    write_model(folder / "model", fingerprint(tiny.folder / "matrix"), context_size=1)
    model = fingerprint(folder / "model")
    return {
        "model": folder / "model",
        "embeddings": changed(tiny.folder / "embeddings", folder / "embeddings", "model_fingerprint", model),
    }


@pytest.fixture(scope="module")
def sizes_fitted() -> list[int]:
    return []


@pytest.fixture(scope="module")
def done(
    tiny: TinyEvaluation,
    with_context: dict[str, Path],
    sizes_fitted: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("compared")
    fit_nmf = predictions.fit_nmf

    def noted(sample: np.ndarray, offset: np.ndarray, size: int, seed: int) -> Nmf:
        sizes_fitted.append(size)
        return fit_nmf(sample, offset, size, seed)

    also = {"twin": str(with_context["embeddings"])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "fit_nmf", noted)
        tasks = chosen_tasks(out, "expression", "level")
        evaluate(tiny, out, EVERYTHING | {"also": also}, tasks=tasks, **with_context)
    return out


@pytest.fixture(scope="module")
def results(done: Path) -> EvaluationResults:
    return read_results(done / "evaluation")


def test_the_names_are_the_keys_in_the_usual_order_and_then_in_the_one_given(
    results: EvaluationResults, done: Path
) -> None:
    assert results.representation_order == ORDER
    for task in (*results.tasks.values(), *results.regression.values()):
        assert [each.baseline for each in task.differences] == ORDER[1:]
        assert set(task.summary) == set(ORDER)
        assert "varimax-rotated PCA of size 2 plus its context code (" in task.sentence
    assert set(pandas.read_parquet(done / "evaluation" / "predictions.parquet").representation) == set(ORDER)


def test_sizes_are_those_asked_for_or_the_embeddings(results: EvaluationResults) -> None:
    tracks, size = len(TRACKS), EMBEDDING_SIZE
    assert results.representation_sizes == {
        **{"embedding": size, "twin": size, "raw": tracks, "nmf": size, "untrained": size, "pca:2": 2},
        **{"context_code": 1, "nmf:2": 2, "pca_varimax:2+context_code": 3, "raw+bin_code": tracks + size - 1},
        **{"pca_varimax": size, "nmf:2+pca": 2 + size},
    }


def test_each_size_of_factors_is_fitted_once(done: Path, sizes_fitted: list[int]) -> None:
    assert sorted(sizes_fitted) == [2, EMBEDDING_SIZE]


def test_hidden_tracks_are_hidden_from_all_but_other_models(results: EvaluationResults) -> None:
    assert results.missing_tracks is not None
    for task in nonempty(results.missing_tracks.tasks.values()):
        assert set(task.representations) == set(ORDER) - {"twin", "majority"}
    falls = results.missing_tracks.tasks["level"].representations
    assert falls["raw"].fall != 0


def test_cell_types_are_described_by_the_same_names(results: EvaluationResults) -> None:
    across = results.cross_cell_type
    assert across is not None
    assert set(across.view_sizes) == {*ORDER, "embedding_masked"} - {"twin", "majority"}
    assert across.view_sizes["pca_varimax:2+context_code"] == 3
    assert across.view_sizes["raw+bin_code"] == 3 + EMBEDDING_SIZE - 1


def test_the_leak_is_that_of_the_embedding_and_the_raw_tracks(results: EvaluationResults) -> None:
    assert all(list(each.representations) == ["embedding", "raw"] for each in nonempty(results.leak.values()))


@pytest.mark.parametrize("name", ["bin_code", "raw+context_code"])
def test_a_model_of_one_level_has_no_code_of_the_context(tiny: TinyEvaluation, tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamsError, match=r"evaluate.representations: .*: the model has no context level") as caught:
        evaluate(tiny, tmp_path, {"representations": ["embedding", name]})
    assert "\n" not in str(caught.value)


def correlated(n: int = 4_000) -> np.ndarray:
    random = np.random.default_rng(5)
    return (random.gamma(1.0, size=(n, 4)) @ random.normal(size=(4, 7)) + 0.1 * random.normal(size=(n, 7))) + 3.0


def moments_of(rows: np.ndarray) -> Moments:
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return moments


def varimax_criterion(loadings: np.ndarray) -> float:
    return float(np.square(loadings).var(axis=0).sum())


def test_turned_components_are_whitened_and_span_those_of_pca() -> None:
    rows = correlated()
    moments = moments_of(rows)
    found = fit_varimax_pca(fit_pca(moments), moments, 3).transform(rows).astype(float)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(3), atol=1e-5)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    _, _, vectors = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    scores = (rows - rows.mean(axis=0)) @ vectors[:3].T
    fitted = scores @ np.linalg.lstsq(scores, found, rcond=None)[0]
    np.testing.assert_allclose(fitted, found, atol=1e-4)


def test_no_turn_of_two_of_their_axes_has_a_larger_varimax_criterion() -> None:
    rows = correlated()
    moments = moments_of(rows)
    found = fit_varimax_pca(fit_pca(moments), moments, 3).transform(rows).astype(float)
    loadings = (rows - rows.mean(axis=0)).T @ found / len(rows)
    best = varimax_criterion(loadings)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        for angle in np.linspace(0.01, np.pi / 2, 60):
            turned = loadings.copy()
            turned[:, first] = np.cos(angle) * loadings[:, first] + np.sin(angle) * loadings[:, second]
            turned[:, second] = np.cos(angle) * loadings[:, second] - np.sin(angle) * loadings[:, first]
            assert varimax_criterion(turned) <= best * (1 + 1e-6)
    assert (np.diff(np.square(loadings).sum(axis=0)) <= 0).all()


def test_the_turn_is_that_of_a_code_with_the_same_numbers() -> None:
    from epilstm.model.rotation import rotation_of

    rows = correlated()
    moments = moments_of(rows)
    pca = fit_pca(moments)
    code = (rows - rows.mean(axis=0)) @ pca.components[:, :3]
    joint = Moments(3, rows.shape[1])
    joint.add(code, rows)
    expected = (code - code.mean(axis=0)) @ rotation_of(joint).matrix
    np.testing.assert_allclose(fit_varimax_pca(pca, moments, 3).transform(rows), expected, atol=1e-4)


@pytest.fixture(scope="module")
def ingredients(tiny: TinyEvaluation) -> Ingredients:
    matrix = Matrix(tiny.folder / "matrix")
    moments = moments_of(np.concatenate([tiny.values[chrom][tiny.mask[chrom]] for chrom in SPLIT.train]))
    pca = fit_pca(moments)
    embedding = Embedding(matrix, tiny.folder / "embeddings")
    untrained = BinByBin(matrix, lambda rows: rows[:, :EMBEDDING_SIZE], EMBEDDING_SIZE)
    fitted = Fitted(pca, {2: fit_varimax_pca(pca, moments, 2)}, {})
    return Ingredients(matrix, as_they_are, len(TRACKS), embedding, untrained, EMBEDDING_SIZE - 1, fitted)


def test_a_sum_has_the_columns_of_its_parts_side_by_side(tiny: TinyEvaluation, ingredients: Ingredients) -> None:
    block = ingredients.matrix.blocks(SPLIT.test)[0]
    found = make(parse_name("pca:2+context_code+raw+bin_code"), ingredients)
    part = slice(block.first, block.last)
    mask = tiny.mask[block.chrom][part]
    rows = tiny.values[block.chrom][part][mask].astype(float)
    code = tiny.embedding[block.chrom][part][mask]
    pca = ingredients.fitted.pca
    expected = [(rows - pca.mean) @ pca.components[:, :2], code[:, -1:], rows, code[:, :-1]]
    values = found.block(block)
    assert values.shape == (block.bins, found.size) == (block.bins, 2 + len(TRACKS) + EMBEDDING_SIZE)
    np.testing.assert_allclose(values[mask], np.concatenate(expected, axis=1), atol=1e-5)


def test_hidden_tracks_are_at_their_mean_in_every_part(tiny: TinyEvaluation, ingredients: Ingredients) -> None:
    kept = np.array([1, 0, 1, 1, 0, 1], dtype=np.float32)
    left = replace(ingredients, tracks=lambda rows: rows * kept)
    block = ingredients.matrix.blocks(SPLIT.test)[0]
    rows = tiny.values[block.chrom][block.first : block.last].astype(float) * kept
    turned = ingredients.fitted.rotated[2]
    expected = np.concatenate([(rows - turned.mean) @ turned.axes, rows], axis=1)
    mask = tiny.mask[block.chrom][block.first : block.last]
    found = make(parse_name("pca_varimax:2+raw"), left).block(block)
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-5)


def test_a_size_is_no_larger_than_there_are_tracks(ingredients: Ingredients) -> None:
    assert make(parse_name("pca:99"), ingredients).size == len(TRACKS)
    names = [parse_name(name) for name in ("nmf", "nmf:4", "raw+nmf:99", "nmf:6")]
    assert sizes_of("nmf", names, 4, 6) == [4, 6]


def test_the_default_names_are_the_usual_ones() -> None:
    assert [str(name) for name in EvaluateParams().representations] == [
        "embedding", "raw", "raw+means", "pca", "pca(raw+means)", "nmf", "untrained", "majority",
    ]  # fmt: skip
