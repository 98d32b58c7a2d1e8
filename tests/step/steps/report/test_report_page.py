"""The page as a whole: well formed, self-contained, complete, the same every time."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree

import pyarrow.parquet

from epilstm.figures.density import density_plot
from epilstm.figures.loadings import loadings_plot
from epilstm.figures.sample import read_sample
from epilstm.figures.smoothness import smoothness_plot
from epilstm.files.outputs import fingerprint, sha256_file
from epilstm.model.config import ModelConfig
from epilstm.model.folder import save_weights
from epilstm.model.networks import build
from epilstm.outputs.plot.plots import plot_curves, plot_scores
from epilstm.store.evaluation_results import PREDICTIONS_FILE, REPRESENTATIONS, SCORES_FILE, read_results
from support.nonempty import nonempty
from support.report.finished_run import TASKS, TRACKS, write_evaluation
from support.report.fixtures import write_report
from support.report.html_page import Page


def test_the_page_is_well_formed_html(report_text, html_page):
    assert report_text.startswith("<!DOCTYPE html>\n<html lang=")
    assert len(html_page.ids) == len(set(html_page.ids))
    assert len(html_page.all("h1")) == 1


def test_links_within_the_page_lead_somewhere(html_page):
    targets = [link["href"] for link in html_page.all("a")]
    assert targets
    assert all(target.startswith("#") and target[1:] in html_page.ids for target in targets)


def test_nothing_is_loaded_from_elsewhere(report_text, html_page):
    assert not {tag for tag, _ in html_page.tags} & {"script", "link", "iframe", "object", "embed"}
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in nonempty(html_page.all("img")))
    assert all(
        source["srcset"].startswith("data:image/svg+xml;base64,") for source in nonempty(html_page.all("source"))
    )
    style = report_text[report_text.index("<style>") : report_text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"""(?:src|href|srcset)=["'](?:https?:)?//""", report_text)


def test_figures_are_svg_that_loads_nothing_either(html_page):
    for uri in [*(i["src"] for i in html_page.all("img")), *(s["srcset"] for s in html_page.all("source"))]:
        svg = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))
        links = [value for node in svg.iter() for name, value in node.attrib.items() if name.endswith("href")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_every_figure_has_a_narrow_form_and_says_what_it_shows(html_page):
    assert len(html_page.all("img")) == len(html_page.all("source")) == 8 + 2 * len(TASKS)
    assert all(len(image["alt"]) > 30 for image in nonempty(html_page.all("img")))


def test_captions_are_those_of_the_same_figures_drawn_alone(finished_run, html_page):
    evaluation, sample = finished_run["evaluation"], read_sample(finished_run["matrix"], finished_run["embeddings"])
    plots = [*(plot_scores(evaluation, [name]) for name in TASKS), plot_curves(evaluation, "gene_expression"),
             loadings_plot(sample), density_plot(sample), smoothness_plot(sample)]  # fmt: skip
    captions = [plot.caption for plot in plots]
    assert len(set(captions)) == len(captions)
    assert [caption for caption in captions if caption not in html_page.text] == []
    alternatives = {image["alt"] for image in html_page.all("img")}
    assert {plot.alt for plot in plots} <= alternatives


def test_markup_in_titles_and_sentences_is_shown_not_obeyed(html_page):
    assert "<script>alert('x')</script> & co" in html_page.text
    assert "fire: the embedding beats <nothing> & is beaten by the raw tracks." in html_page.text


def test_every_track_and_its_r2_is_on_the_page(finished_run, html_page):
    scores = read_results(finished_run["evaluation"]).reconstruction.models
    for name in TRACKS[:-1]:
        numbers = " ".join(f"{scores[model].track_r2[name]:.3f}" for model in ("model", "pca", "untrained"))
        assert f"{name} {numbers}" in html_page.text
    assert f"{TRACKS[-1]} undefined undefined undefined" in html_page.text


def test_every_score_of_every_task_is_on_the_page(finished_run, html_page):
    for task in nonempty(read_results(finished_run["evaluation"]).tasks.values()):
        assert task.sentence in html_page.text
        for cell in nonempty(task.cell_types.values()):
            assert (
                f"{cell.cell_type}: 200 examples, {cell.positives} positive ({100 * cell.base_rate:.1f}%), "
                "5 groups held out whole, 1,234 left out"
            ) in html_page.text
            for name in REPRESENTATIONS:
                each = cell.representations[name]
                row = (
                    f"{each.average_precision:.3f} {each.average_precision_ci.low:.3f} to "
                    f"{each.average_precision_ci.high:.3f} {each.auroc:.3f} {each.f1:.3f} {each.accuracy:.3f} 200"
                )
                assert row in html_page.text


def test_the_summary_compares_reconstruction_with_pca_and_the_untrained_encoder(html_page):
    assert "R² 0.812; PCA of the same size reaches 0.713, an untrained encoder" in html_page.text
    # 1 - 0.1875 / 0.2875
    assert "Its squared error is 35% smaller than that of PCA." in html_page.text


def test_the_page_says_what_was_trained_on_what(html_page):
    for fact in (
        "6: 2 cell types (E003, E116) \N{MULTIPLICATION SIGN} 3 assays (H3K4me1, H3K4me3, DNase)",
        "toy, 25-bp bins",
        "in 3 regions on 3 chromosomes",
        "chr3 (1,500 bins, 29%)",
        "embedding size 4, hidden size 8, 1 layer, one direction",
        "3 epochs (best: 2), 20 steps, 4,321 bins seen, on cpu, seed 11",
    ):
        assert fact in html_page.text


def test_a_difference_that_the_labels_cannot_show_is_reported(html_page):
    # half of 0.0203 + 0.1017
    assert "a difference from the raw tracks below about 0.061 in average precision" in html_page.text


def test_inputs_are_named_with_their_fingerprints(finished_run, html_page):
    from epilstm.files.outputs import fingerprint

    assert all(fingerprint(path) in html_page.text for path in nonempty(finished_run.values()))


def test_leaky_folds_are_reported_at_the_top_and_at_each_task(own_run, tmp_path, html_page):
    assert "Leaky" not in html_page.text
    write_evaluation(own_run["evaluation"], own_run, leaky=True)
    leaky = Page(write_report(own_run, tmp_path / "report.html"))
    assert "Leaky folds." in leaky.text
    assert leaky.text.count("The folds are random and leak.") == len(TASKS)


def test_the_same_run_gives_the_same_bytes(finished_run, tmp_path, monkeypatch, report_text):
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "font.size", 23)
    again = write_report(finished_run, tmp_path / "report.html", title="<script>alert('x')</script> & co")
    assert again == report_text


def test_a_small_page_stays_small(report_text):
    assert len(report_text) < 2_000_000


def test_the_page_explains_sizes_and_sums_where_there_are_any(own_run, report_text, tmp_path):
    folder = own_run["evaluation"]
    scores, kept, manifest = folder / SCORES_FILE, folder / PREDICTIONS_FILE, folder / "manifest.json"
    scores.write_text(scores.read_text().replace('"nmf"', '"nmf:2+bin_code"'))
    table = pyarrow.parquet.read_table(kept).to_pydict()
    table["representation"] = [name.replace("nmf", "nmf:2+bin_code") for name in table["representation"]]
    pyarrow.parquet.write_table(pyarrow.table(table), kept)
    digests = {"scores_sha256": sha256_file(scores), "predictions_sha256": sha256_file(kept)}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | digests))
    text = write_report(own_run, tmp_path / "report.html")
    said = "A number after a name is its size; + puts numbers side by side."
    assert said in text
    assert "NMF 2 + bin code" in text
    assert said not in report_text


def test_a_pca_that_would_be_the_raw_tracks_is_not_on_the_page_and_the_reason_is(own_run, tmp_path):
    write_evaluation(own_run["evaluation"], own_run, with_tasks=False)
    scores, manifest = own_run["evaluation"] / SCORES_FILE, own_run["evaluation"] / "manifest.json"
    results = json.loads(scores.read_text())
    del results["reconstruction"]["models"]["pca"]
    results["reconstruction"]["left_out"] = {"pca": "that is the raw tracks, turned"}
    scores.write_text(json.dumps(results))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"scores_sha256": sha256_file(scores)}))
    text = Page(write_report(own_run, tmp_path / "report.html")).text
    assert "Left out: pca (that is the raw tracks, turned)" in text
    assert "with R² 0.812; an untrained encoder with the best linear read-out reaches 0.412." in text
    assert f"{TRACKS[0]} 0.812 0.412" in text


def test_the_page_distinguishes_the_bin_code_from_the_context_code(own_run, tmp_path):
    path = own_run["model"] / "manifest.json"
    manifest = json.loads(path.read_text())
    config = ModelConfig(**(manifest["config"] | {"context_size": 1}))
    manifest |= {"config": config.model_dump(), "weights_sha256": save_weights(own_run["model"], build(config, 11))}
    manifest["training"] |= {
        "rotation": "varimax",
        "context": {"epochs": 9, "best_epoch": 7, "frames": 1234, "train_mse": 0.1, "validation_mse": 0.2,
                    "validation_r2": 0.8125},
    }  # fmt: skip
    path.write_text(json.dumps(manifest))
    for name in ("embeddings", "evaluation"):
        other = own_run[name] / "manifest.json"
        content = json.loads(other.read_text()) | {"model_fingerprint": fingerprint(own_run["model"])}
        if name == "evaluation":
            content |= {"embeddings_fingerprint": fingerprint(own_run["embeddings"])}
        other.write_text(json.dumps(content))
    scores = own_run["evaluation"] / SCORES_FILE
    results = json.loads(scores.read_text())
    results["reconstruction"]["size"] = 3
    scores.write_text(json.dumps(results))
    other.write_text(json.dumps(content | {"scores_sha256": sha256_file(scores)}))
    text = " ".join(re.sub(r"<[^>]+>", " ", write_report(own_run, tmp_path / "report.html")).split())
    for said in (
        "with 4 numbers, 3 of the bin itself and 1 of its context.",
        "reconstructs the tracks from the 3 of the bin with R²",
        "embedding size 4 (3 of bin code, 1 of context)",
        "varimax: each axis has variance 1",
        "1,234 frames of 100 bins, 9 epochs (best: 7), R² 0.812 on frames",
        "from 3 numbers per bin (those of the bin code:",
        "those of the bin before those of the context",
    ):
        assert said in text
