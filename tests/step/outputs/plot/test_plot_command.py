"""``epilstm plot``: every kind of figure as a file, and what is refused."""

import csv
import gzip
import json
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyBigWig
import pytest
from PIL import Image

from epilstm.cli import main
from epilstm.errors import DataError
from epilstm.figures.drawing import WIDE
from epilstm.figures.loadings import loadings_plot
from epilstm.figures.sample import read_sample
from epilstm.figures.smoothness import smoothness_plot
from epilstm.files.outputs import fingerprint
from epilstm.outputs.plot.plots import plot_loadings
from epilstm.store.evaluation_results import read_results
from support.nonempty import nonempty
from support.report.finished_run import SIZE, SIZES, TRACKS


@pytest.fixture(scope="session")
def along_the_genome(tmp_path_factory):
    """A FASTA and a bigWig of the run's assembly."""
    folder = tmp_path_factory.mktemp("along")
    generator = np.random.default_rng(0)
    with open(folder / "toy.fa", "w") as fasta:
        for chrom, size in SIZES.items():
            fasta.write(f">{chrom}\n{''.join(generator.choice(list('ACGTN'), size))}\n")
    with pyBigWig.open(str(folder / "toy.bw"), "w") as bigwig:
        bigwig.addHeader(list(SIZES.items()))
        for chrom, size in SIZES.items():
            scores = generator.normal(size=size // 10)
            bigwig.addEntries(chrom, 0, values=scores.tolist(), span=10, step=10)
    return folder


def arguments(kind, run, along):
    embedded = ["--matrix", run["matrix"], "--embeddings", run["embeddings"]]
    return {
        "scores": ["--evaluation", run["evaluation"]],
        "curves": ["--evaluation", run["evaluation"]],
        "smoothness": [*embedded, "--distance", "cosine"],
        "density": embedded,
        "loadings": [*embedded, "--model", run["model"]],
        "gc": [*embedded, "--fasta", along / "toy.fa"],
        "conservation": [*embedded, "--bigwig", along / "toy.bw", "--method", "pearson"],
        "training": ["--history", run["history"]],
        "window": [*embedded, "--model", run["model"]],
    }[kind]


KINDS = ["scores", "curves", "smoothness", "density", "loadings", "gc", "conservation", "training", "window"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_a_figure_with_its_numbers(draw, finished, along_the_genome, tmp_path, kind):
    numbers = tmp_path / "numbers.csv"
    path = draw(
        "figure.png", kind, *arguments(kind, finished, along_the_genome), "--numbers", numbers, "--dpi", 60, "-q"
    )
    with Image.open(path) as image:
        assert image.width == 480
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    rows = list(csv.DictReader(numbers.open()))
    assert len(rows) > 2
    assert {each.name for each in tmp_path.iterdir()} == {"figure.png", "numbers.csv"}


def test_figures_are_svg_and_pdf_too_and_the_same_every_time(draw, finished, along_the_genome, monkeypatch):
    import matplotlib as mpl

    line = ["training", *arguments("training", finished, along_the_genome)]
    first = {suffix: draw(f"figure.{suffix}", *line).read_bytes() for suffix in ("png", "svg", "pdf")}
    monkeypatch.setitem(mpl.rcParams, "font.size", 23)
    assert {suffix: draw(f"again.{suffix}", *line).read_bytes() for suffix in first} == first
    assert ElementTree.fromstring(first["svg"]).tag.endswith("svg")
    assert first["pdf"].startswith(b"%PDF")
    assert b"CreationDate" not in first["pdf"]


def test_the_numbers_behind_the_scores_are_those_of_the_evaluation(draw, finished, tmp_path):
    numbers = tmp_path / "numbers.csv"
    draw("figure.svg", "scores", "--evaluation", finished["evaluation"], "--task", "fire", "--numbers", numbers)
    rows = {row["representation"]: row for row in csv.DictReader(numbers.open())}
    scored = read_results(finished["evaluation"]).tasks["fire"].cell_types["E116"].representations
    assert set(rows) == set(scored)
    for name, each in nonempty(scored.items()):
        assert float(rows[name]["score"]) == each.average_precision
        assert float(rows[name]["high"]) == each.average_precision_ci.high


@pytest.mark.parametrize("packed", [False, True])
def test_conservation_in_a_bedgraph_has_the_numbers_of_the_same_bigwig(
    draw, finished, along_the_genome, tmp_path, packed
):
    lines = []
    with pyBigWig.open(str(along_the_genome / "toy.bw")) as bigwig:
        for chrom in SIZES:
            lines += [f"{chrom}\t{start}\t{end}\t{value!r}\n" for start, end, value in bigwig.intervals(chrom)]
    text = tmp_path / ("toy.bedGraph.gz" if packed else "toy.bedGraph")
    text.write_bytes(gzip.compress("".join(lines).encode()) if packed else "".join(lines).encode())
    numbers = {}
    for file in (along_the_genome / "toy.bw", text):
        line = ["conservation", *arguments("conservation", finished, along_the_genome), "--bigwig", file]
        draw("x.svg", *line, "--overwrite", "--numbers", tmp_path / "numbers.csv")
        numbers[file] = list(csv.DictReader((tmp_path / "numbers.csv").open()))
    assert len(numbers[text]) > SIZE
    assert numbers[text] == numbers[along_the_genome / "toy.bw"]


def test_a_figure_says_of_how_many_bins_it_is_and_from_where(finished):
    plot = loadings_plot(read_sample(finished["matrix"], finished["embeddings"]))
    assert "test chromosome chr3, n = 1,500 bins with data" in plot.caption
    assert len(plot.rows) == SIZE * len(TRACKS)


def test_what_was_held_out_is_what_the_embeddings_model_held_out_or_is_not_claimed(finished, tmp_path):
    folders = {name: shutil.copytree(finished[name], tmp_path / name) for name in ("matrix", "embeddings")}
    nothing = {"train": [], "validation": [], "test": []}
    change_manifest(folders["matrix"], split=nothing)  # as preprocess --encoder writes it
    change_manifest(folders["embeddings"], matrix_fingerprint=fingerprint(folders["matrix"]))
    unknown = read_sample(folders["matrix"], folders["embeddings"])
    assert unknown.where == "chr1, chr2, chr3"
    assert "chr1, chr2, chr3, n = 5,100 bins" in smoothness_plot(unknown, "euclidean", 1_000).caption
    change_manifest(folders["embeddings"], split={"train": ["chr3"], "validation": ["chr1"], "test": ["chr2"]})
    assert read_sample(folders["matrix"], folders["embeddings"]).where == "test chromosome chr2"


def test_the_context_code_of_a_model_is_marked_in_its_loadings(finished, tmp_path):
    folders = {name: shutil.copytree(finished[name], tmp_path / name) for name in ("model", "embeddings")}
    config = json.loads((finished["model"] / "manifest.json").read_text())["config"]
    change_manifest(folders["model"], config={**config, "context_size": 1, "frame_bins": 100})
    sample = read_sample(finished["matrix"], folders["embeddings"])
    with pytest.raises(DataError, match="the embeddings were made with another model"):
        plot_loadings(sample, folders["model"])
    change_manifest(folders["embeddings"], model_fingerprint=fingerprint(folders["model"]))
    sample = read_sample(finished["matrix"], folders["embeddings"])
    for model, marked in ((None, set()), (folders["model"], {"bin code", "context"})):
        axes = plot_loadings(sample, model).draw(WIDE).axes[0]
        assert {text.get_text() for text in axes.texts} & {"bin code", "context"} == marked


def change_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


EMBEDDED = ["--matrix", "{matrix}", "--embeddings", "{embeddings}"]
WINDOW = ["window", *EMBEDDED, "--model", "{model}"]


@pytest.mark.parametrize(
    ("line", "name", "message"),
    [
        (["training", "--history", "{history}"], "x.jpeg", "not a figure's name; end it with .png, .svg, .pdf"),
        (["training", "--history", "{history}"], "none/x.png", "there is no folder"),
        (["training", "--history", "{history}"], "", "not a figure's name"),
        (["training", "--history", "{here}/none.csv"], "x.png", "none.csv: no such file"),
        (["scores", "--evaluation", "{matrix}"], "x.png", "manifest.json: not an EvaluationManifest"),
        (["scores", "--evaluation", "{evaluation}", "--task", "fires"], "x.png", "no such task; did you mean fire?"),
        (["curves", "--evaluation", "{evaluation}", "--task", "x"], "x.png", "no such task; it has gene_expression"),
        (["density", *EMBEDDED, "--chromosome", "chr7"], "x.png", "no regions there; it has chr1, chr2, chr3"),
        (["density", *EMBEDDED, "--matrix", "{embeddings}"], "x.png", "not a MatrixManifest"),
        (["smoothness", *EMBEDDED, "--max-distance", "20"], "x.png", "--max-distance 20: no two bins to compare"),
        (["gc", *EMBEDDED, "--fasta", "{history}"], "x.png", "not FASTA"),
        (
            ["conservation", *EMBEDDED, "--bigwig", "{history}"],
            "x.png",
            "history.csv:1: expected 'chromosome start end",
        ),
        (
            ["conservation", *EMBEDDED, "--bigwig", "{model}/weights.safetensors"],
            "x.png",
            "not a bigWig file; check --bigwig",
        ),
        (["conservation", *EMBEDDED, "--bigwig", "{here}/no.bw"], "x.png", "no.bw: no such file; check --bigwig"),
        ([*WINDOW, "--region", "chr9:1-2"], "x.png", "--region: no regions on chromosome 'chr9'"),
        ([*WINDOW, "--track", "DNas"], "x.png", "--track DNas: no such track, cell type or assay; did you mean DNase?"),
        ([*WINDOW, "--genes", "{history}"], "x.png", "history.csv:1: expected the 9 tab-separated columns of GTF"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_no_file(finished, tmp_path, capsys, line, name, message):
    places = {**{name: str(path) for name, path in finished.items()}, "here": str(tmp_path)}
    with pytest.raises(SystemExit) as ended:
        main(["plot", *(part.format(**places) for part in line), "--to", str(tmp_path / name)])
    assert ended.value.code in (1, 2)
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ")
    assert message in err
    assert "\n" not in err
    assert not list(tmp_path.iterdir())


def test_a_figure_that_is_there_is_not_overwritten_unasked(finished, tmp_path, capsys):
    figure, numbers = tmp_path / "x.png", tmp_path / "x.csv"
    for there in (figure, numbers):
        there.write_text("mine")
        line = [
            "plot",
            "training",
            "--history",
            str(finished["history"]),
            "--to",
            str(figure),
            "--numbers",
            str(numbers),
        ]
        with pytest.raises(SystemExit) as ended:
            main(line)
        assert ended.value.code == 1
        assert f"{there}: is there already; give another name, or --overwrite" in capsys.readouterr().err
        assert there.read_text() == "mine"
        main([*line, "--overwrite"])
        assert figure.read_bytes()[:4] == b"\x89PNG"
        assert numbers.read_text().startswith("epoch,")
        figure.unlink()
