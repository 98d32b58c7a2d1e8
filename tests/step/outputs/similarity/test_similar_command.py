"""``epilstm similar`` on embeddings of a few hundred bins."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

import epilstm
from epilstm.cli import main
from support.tracks.small_epigenome import BIN, make

WINDOW = 100


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make(tmp_path_factory.mktemp("small"))


def similar(small, *words: object) -> None:
    main(["similar", "--embeddings", str(small.embeddings), "--window", str(WINDOW), "--quiet", *map(str, words)])


def refused(capsys, small, *words: object) -> str:
    with pytest.raises(SystemExit) as ended:
        similar(small, *words)
    assert ended.value.code in (1, 2)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def rows(text: str) -> list[dict[str, str]]:
    header, *lines = text.splitlines()
    return [dict(zip(header.lstrip("#").split("\t"), line.split("\t"), strict=True)) for line in lines]


def pooled(small) -> dict[tuple[str, int], np.ndarray]:
    """Standardised mean of each window, by chromosome and start."""
    windows = {}
    for chrom, start, end in (("chr2", 500, 2_000), ("chr2", 3_000, 6_000), ("chr10", 0, 5_010)):
        for first in range(start, end - WINDOW + 1, WINDOW):
            own = small.embedding[chrom][first // BIN : (first + WINDOW) // BIN]
            there = ~np.isnan(own[:, 0])
            if there.mean() >= 0.5:
                windows[chrom, first] = own[there].mean(axis=0, dtype=np.float64)
    values = np.array(list(windows.values()))
    return {place: (each - values.mean(axis=0)) / values.std(axis=0) for place, each in windows.items()}


def test_hits_are_the_windows_with_the_closest_means(small, tmp_path):
    similar(small, "--region", "chr2:4000-4100", "--top", 5, "--to", tmp_path / "hits.bed")
    windows = pooled(small)
    query = windows.pop(("chr2", 4_000))
    apart = sorted((float(np.sqrt(((each - query) ** 2).mean())), place) for place, each in windows.items())
    found = rows((tmp_path / "hits.bed").read_text())
    assert [(row["chrom"], int(row["start"])) for row in found] == [place for _, place in apart[:5]]
    assert [float(row["distance"]) for row in found] == pytest.approx([each for each, _ in apart[:5]], abs=1e-4)
    assert [float(row["p"]) for row in found] == pytest.approx([(n + 1) / len(apart) for n in range(5)], rel=0.01)
    record = json.loads((tmp_path / "hits.bed.record.json").read_text())
    assert (record["queries"], record["hits"], record["window_bp"]) == (1, 5, WINDOW)


def test_windows_are_made_once_and_again_for_another_length(small, tmp_path):
    folder = tmp_path / "windows"
    for length, same in ((100, False), (100, True), (200, False)):
        before = (folder / "vectors.npy").stat().st_ino if folder.exists() else None
        similar(
            small,
            "--window",
            length,
            "--windows",
            folder,
            "--region",
            "chr2:4000-4200",
            "--to",
            tmp_path / f"{length}{same}.bed",
        )
        assert ((folder / "vectors.npy").stat().st_ino == before) is same
        assert json.loads((folder / "manifest.json").read_text())["window_bp"] == length
    assert (tmp_path / "100True.bed").read_text() == (tmp_path / "100False.bed").read_text()


def test_windows_lie_beside_the_embeddings_if_no_place_is_named(small, capsys):
    similar(small, "--region", "chr10:0-300", "--top", 2)
    assert (small.folder / "embeddings.windows" / "manifest.json").is_file()
    assert [row["query"] for row in rows(capsys.readouterr().out)] == ["chr10:0-300"] * 2


def test_a_bed_has_a_query_per_line_and_the_closest_gene_is_named(small, tmp_path, capsys):
    (tmp_path / "queries.bed").write_text("chr2\t4000\t4100\tpeak_7\nchr10\t0\t200\n")
    gene = 'chr10\tx\tgene\t{}\t{}\t.\t+\t.\tgene_id "{}"; gene_name "{}";\n'
    with gzip.open(tmp_path / "genes.gtf.gz", "wt") as file:
        file.write(gene.format(1, 1000, "g1", "FIRST") + gene.format(4001, 4200, "g2", "SECOND"))
    similar(small, "--regions", tmp_path / "queries.bed", "--annotation", tmp_path / "genes.gtf.gz", "--top", 30)
    found = rows(capsys.readouterr().out)
    assert list(dict.fromkeys(row["query"] for row in found)) == ["peak_7", "chr10:0-200"]
    there = [row for row in found if row["chrom"] == "chr10"]
    assert len(there) > 5
    for row in there:
        apart = {
            name: max(first - int(row["end"]) + 1, int(row["start"]) - last + 1, 0)
            for name, first, last in (("FIRST", 0, 1000), ("SECOND", 4000, 4200))
        }
        assert int(row["gene_distance"]) == apart[row["gene"]] == min(apart.values())
    assert {row["gene"] for row in found if row["chrom"] == "chr2"} == {"."}


def test_a_vector_is_a_query(small, tmp_path, capsys):
    own = small.embedding["chr2"][4_000 // BIN : 4_100 // BIN].mean(axis=0, dtype=np.float64)
    np.save(tmp_path / "query.npy", own)
    similar(small, "--vector", tmp_path / "query.npy", "--top", 1)
    (row,) = rows(capsys.readouterr().out)
    assert (row["chrom"], row["start"], float(row["distance"])) == ("chr2", "4000", 0)


def test_what_cannot_be_searched_is_one_line(small, tmp_path, capsys):
    np.save(tmp_path / "long.npy", np.zeros(4))
    np.save(tmp_path / "nan.npy", np.full(3, np.nan))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "other.bed").write_text("chr77\t0\t100\n")
    (tmp_path / "empty.bed").write_text("")
    assert "give --region" in refused(capsys, small)
    assert "give a multiple of the bins' 25 bp" in refused(capsys, small, "--region", "chr2:4000-4100", "--window", 30)
    assert "not inside a region of the embeddings" in refused(capsys, small, "--region", "chr2:2000-2500")
    assert "less than half of their bins" in refused(capsys, small, "--region", "chr2:1200-1400")
    assert "end at most 6,000" in refused(capsys, small, "--region", "chr2:5000-7000")
    assert "expected (3,)" in refused(capsys, small, "--vector", tmp_path / "long.npy")
    assert "not finite" in refused(capsys, small, "--vector", tmp_path / "nan.npy")
    assert "not an array" in refused(capsys, small, "--vector", tmp_path / "text.npy")
    assert "chr77" in refused(capsys, small, "--regions", tmp_path / "other.bed")
    assert "no interval" in refused(capsys, small, "--regions", tmp_path / "empty.bed")
    assert "no region is as long" in refused(capsys, small, "--region", "chr2:0-100", "--window", 10_000)
    assert "have one code of all tracks" in refused(capsys, small, "--region", "chr2:0-100", "--cell-type", "K562")
    (tmp_path / "hits.bed").write_text("mine\n")
    taken = refused(capsys, small, "--region", "chr2:4000-4100", "--to", tmp_path / "hits.bed")
    assert "--overwrite" in taken
    assert (tmp_path / "hits.bed").read_text() == "mine\n"


def test_damaged_windows_are_refused(small, tmp_path, capsys):
    words = ["--windows", tmp_path / "windows", "--region", "chr2:4000-4100"]
    similar(small, *words)
    capsys.readouterr()
    vectors = (tmp_path / "windows" / "vectors.npy").read_bytes()
    (tmp_path / "windows" / "vectors.npy").write_bytes(vectors[: len(vectors) // 2])
    assert "remove" in refused(capsys, small, *words)


def test_a_folder_of_another_kind_is_not_replaced(small, capsys):
    line = refused(capsys, small, "--windows", small.matrix, "--region", "chr2:4000-4100")
    assert "matrix" in line
    assert (small.matrix / "scaler.json").is_file()


def test_in_python_it_is_a_table(small):
    table = epilstm.similar(small.embeddings, "chr2:4000-4100", top=3, window_bp=WINDOW)
    assert list(table.columns) == ["chrom", "start", "end", "query", "strand", "distance", "p", "gene", "gene_distance"]
    assert len(table) == 3
    assert table["distance"].is_monotonic_increasing


def test_in_python_a_vector_is_a_query(small):
    own = small.embedding["chr2"][4_000 // BIN : 4_100 // BIN].mean(axis=0, dtype=np.float64)
    table = epilstm.similar(small.embeddings, own, top=1, window_bp=WINDOW)
    assert table.loc[0, ["chrom", "start"]].tolist() == ["chr2", 4000]


def test_a_wrong_region_is_refused_before_anything_is_pooled(small, tmp_path, capsys):
    assert "is not in assembly" in refused(capsys, small, "--windows", tmp_path / "w", "--region", "chr77:0-100")
    assert not (tmp_path / "w").exists()
