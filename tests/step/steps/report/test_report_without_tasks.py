"""A page needs no labels, and not even an evaluation: it shows what there is, and says what is missing."""

import numpy as np

from epilstm.steps.report.data_quality import data_quality
from epilstm.store.manifests import ReferenceHistograms, Scaler
from support.nonempty import nonempty
from support.report.finished_run import TRACKS, raw_signal, write_evaluation
from support.report.fixtures import write_report
from support.report.html_page import Page


def test_an_evaluation_without_tasks_gives_a_page_of_reconstruction_loadings_smoothness_and_data(own_run, tmp_path):
    write_evaluation(own_run["evaluation"], own_run, with_tasks=False)
    page = Page(write_report(own_run, tmp_path / "report.html"))
    assert len(page.all("img")) == 8
    assert "No tasks were evaluated" in page.text
    assert "LSTM, own decoder 4 0.812" in page.text
    assert "Correlation of dimensions with tracks" in page.text
    assert "Smoothness along the genome" in page.text
    assert "tasks" not in page.ids
    targets = [link["href"] for link in page.all("a")]
    assert all(target[1:] in page.ids for target in nonempty(targets))


def test_a_run_that_was_not_evaluated_gives_a_page_without_scores(own_run, tmp_path):
    del own_run["evaluation"]
    page = Page(write_report(own_run, tmp_path / "report.html"))
    assert len(page.all("img")) == 6
    assert "This run was not evaluated" in page.text
    assert "Run epilstm evaluate for R\N{SUPERSCRIPT TWO} on test data against PCA" in page.text
    assert "own decoder" not in page.text


def test_the_caption_of_a_window_names_what_it_is_used_for(finished_run, tmp_path):
    unevaluated = {name: path for name, path in finished_run.items() if name != "evaluation"}
    text = write_report(unevaluated, tmp_path / "report.html", window="chr2:0-20000")
    assert "on a validation chromosome" in text


def test_the_page_says_what_each_chromosome_is_used_for_and_how_much_of_it_has_data(html_page):
    assert "chr1 training 2,400 2,400 100.0%" in html_page.text
    assert "chr2 validation 1,200 1,200 100.0%" in html_page.text
    assert "chr3 test 1,600 1,500 93.8%" in html_page.text


def test_the_page_has_the_signal_of_every_track(html_page):
    signal = raw_signal()["chr1"]
    for name, column in zip(TRACKS, signal.T, strict=True):
        values = np.arcsinh(column)
        row = f"{name} arcsinh {values.mean():.3f} {values.std():.3f} {np.mean(values < 1 / 16):.1%}"
        assert row in html_page.text


def test_bins_without_data_and_tracks_next_to_zero_are_pointed_out(own_run):
    from epilstm.store.manifests import MatrixManifest, read_manifest

    matrix = read_manifest(own_run["matrix"], MatrixManifest).model_copy(
        update={"bins_with_data": {"chr1": 1200, "chr2": 600, "chr3": 800}}
    )
    scaler = Scaler(tracks=["A-DNase", "A-CTCF"], mean=[1.0, 0.1], scale=[1.0, 0.2])
    edges = [-0.0625, 0.0, 0.0625, 0.125, 4.0]
    histograms = ReferenceHistograms(tracks=scaler.tracks, edges=edges, counts=[[0, 500, 300, 200], [1, 995, 0, 4]])
    found = data_quality(matrix, scaler, histograms)
    assert [track.near_zero for track in found.tracks] == [0.5, 0.996]
    assert found.remarks == [
        "50% of the bins in the regions have no data in any track: the embedding there follows from their neighbours "
        "alone.",
        "One track has next to no signal in more than 99% of the bins (A-CTCF): check that it is the right file.",
    ]
