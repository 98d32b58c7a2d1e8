"""Each label format, read into the same examples; what is malformed is named by its line."""

from pathlib import Path

import pytest

from epilstm.errors import LabelsError
from epilstm.scoring.labels import read_bed_labels, read_bedgraph, read_genes, read_labels, read_pairs, read_rpkm
from epilstm.scoring.tasks import load_tasks

PAIR_HEADER = "cell,enhancer_chrom,enhancer_start,enhancer_end,promoter_chrom,promoter_start,promoter_end,label\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def gtf(chrom: str, start: int, end: int, strand: str, gene_id: str, feature: str = "gene") -> str:
    return f'{chrom}\tX\t{feature}\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene_id}"; level 2;\n'


def test_gtf_coordinates_become_zero_based_half_open_and_versions_are_stripped(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.gtf", "##header\n" + gtf("chr1", 5001, 7000, "+", "ENSG1.7") + gtf("chr1", 9, 9, "-", "G2")
    )
    genes = read_genes(path)
    assert str(genes["ENSG1"].body) == "chr1:5000-7000"
    assert str(genes["G2"].body) == "chr1:8-9"


def test_tss_window_is_centred_on_the_strands_start(tmp_path: Path) -> None:
    text = gtf("chr1", 5001, 7000, "+", "plus") + gtf("chr1", 5001, 7000, "-", "minus")
    genes = read_genes(write(tmp_path, "a.gtf", text))
    assert str(genes["plus"].tss) == "chr1:4000-6000"
    assert str(genes["minus"].tss) == "chr1:6000-8000"


def test_lines_of_other_features_are_not_genes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.gtf", gtf("chr1", 1, 9, "+", "G1") + gtf("chr1", 1, 5, "+", "G1", "exon"))
    assert list(read_genes(path)) == ["G1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (gtf("chr1", 0, 9, "+", "G"), "1: expected 1 <= start <= end, got '0' and '9'"),
        (gtf("chr1", 10, 9, "+", "G"), "1: expected 1 <= start <= end"),
        (gtf("chr1", 1, 9, ".", "G"), r"1: expected strand '\+' or '-', got '.'"),
        ("chr1\tX\tgene\t1\t2\t.\t+\t.\tlevel 2;\n", "1: no gene_id"),
        ("chr1 1 2\n", "1: expected the 9 tab-separated columns of GTF, got 1"),
        (gtf("chr1", 1, 9, "+", "G.1") + gtf("chr1", 1, 9, "+", "G.2"), "2: gene G is listed twice"),
        ("# nothing\n", "no gene, transcript or exon lines"),
    ],
)
def test_malformed_gtf_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_genes(write(tmp_path, "a.gtf", line))


@pytest.mark.parametrize(("header_end", "row_end"), [("", ""), ("\t", ""), ("", "\t"), ("\t", "\t")])
def test_tabs_at_the_end_of_lines_do_not_count(tmp_path: Path, header_end: str, row_end: str) -> None:
    path = write(tmp_path, "rpkm", f"gene_id\tE1\tE2{header_end}\nG1.4\t0.5\t2{row_end}\nG2\t0\t1{row_end}\n")
    assert read_rpkm(path, ["E2", "E1"]) == {"E2": {"G1": 2.0, "G2": 1.0}, "E1": {"G1": 0.5, "G2": 0.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene_id\tE1\nG1\t1\t2\n", "rpkm:2: expected 2 columns as in the header, got 3"),
        ("gene_id\tE1\nG1\thigh\n", "rpkm:2: column E1: expected a finite number, got 'high'"),
        ("gene_id\tE1\nG1\tinf\n", "rpkm:2: column E1: expected a finite number, got 'inf'"),
        ("gene_id\tE1\nG1\t-1\n", "rpkm:2: column E1: RPKM cannot be negative"),
        ("gene_id\tE1\nG1\t1\nG1.2\t1\n", "rpkm:3: gene G1 is listed twice"),
        ("gene_id\tE7\nG1\t1\n", "no column for cell type 'E1'; the table has E7"),
        ("", "no column for cell type 'E1'; the table has none"),
    ],
)
def test_malformed_rpkm_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_rpkm(write(tmp_path, "rpkm", text), ["E1"])


def gene_task(folder: Path) -> Path:
    return write(
        folder,
        "tasks.yaml",
        """tasks:
  - name: expression
    kind: region
    windows: [tss, gene_body]
    labels: {format: rpkm, path: rpkm, annotation: a.gtf, threshold: 0.5}
    cell_types: [E1, E2]
""",
    )


def test_genes_are_expressed_from_the_threshold_on_and_those_without_a_place_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "rpkm", "gene_id\tE1\tE2\nG1\t0.5\t0.4999\nG2\t9\t9\n")
    write(tmp_path, "a.gtf", gtf("chr1", 5001, 7000, "+", "G1.1") + gtf("chr1", 1, 7, "+", "other"))
    examples = read_labels(load_tasks(gene_task(tmp_path))[0], tmp_path)
    assert examples["E1"].names == ["G1"]
    assert (examples["E1"].labels.tolist(), examples["E2"].labels.tolist()) == ([True], [False])
    assert (examples["E1"].starts.tolist(), examples["E1"].ends.tolist()) == ([[4000, 5000]], [[6000, 7000]])
    assert examples["E1"].unusable == 1


def test_a_table_and_an_annotation_without_common_genes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "rpkm", "gene_id\tE1\tE2\nG1\t0.5\t0.4\n")
    write(tmp_path, "a.gtf", gtf("chr1", 5001, 7000, "+", "other"))
    with pytest.raises(LabelsError, match=r"has none of the table's genes \(G1\) among its own \(other\)"):
        read_labels(load_tasks(gene_task(tmp_path))[0], tmp_path)


def test_between_runs_from_the_end_of_the_one_to_the_start_of_the_other(tmp_path: Path) -> None:
    rows = "c,chr1,900,950,chr1,100,200,1\nc,chr1,10,50,chr1,100,200,0\nc,chr1,150,300,chr1,100,200,0\n"
    examples = read_pairs(write(tmp_path, "p.csv", PAIR_HEADER + rows), {"A": "c"}, ["promoter", "enhancer", "between"])
    assert examples["A"].starts.tolist() == [[100, 900, 200], [100, 10, 50], [100, 150, 150]]
    assert examples["A"].ends.tolist() == [[200, 950, 900], [200, 50, 100], [200, 300, 150]]
    assert examples["A"].labels.tolist() == [True, False, False]
    assert examples["A"].names[0] == "chr1:100-200|chr1:900-950"


def test_pairs_are_selected_by_the_cells_name_in_the_file(tmp_path: Path) -> None:
    rows = "x,chr1,1,2,chr1,5,6,1\ny,chr1,1,2,chr1,5,6,0\ny,chr1,1,2,chr1,8,9,0\n"
    examples = read_pairs(write(tmp_path, "p.csv", PAIR_HEADER + rows), {"E1": "y", "E2": "x"}, ["promoter"])
    assert (len(examples["E1"]), len(examples["E2"])) == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAIR_HEADER + "c,chr1,1,2,chr1,5,6,2\n", "p.csv:2: label must be 0 or 1, got '2'"),
        (PAIR_HEADER + "c,chr1,2,2,chr1,5,6,1\n", "p.csv:2: expected start below end, got '2' and '2'"),
        (PAIR_HEADER + "c,chr1,1,2,chr1,x,6,1\n", "p.csv:2: expected start below end, got 'x' and '6'"),
        (PAIR_HEADER + "c,chr1,1,2\n", "p.csv:2: expected 8 columns, got 4"),
        (
            PAIR_HEADER + "d,chr1,1,2,chr1,5,6,1\n",
            r"no rows for cell type 'A' \('c' in column 'cell'\); the file has d",
        ),
        ("cell,label\n", "no column 'enhancer_chrom'"),
        ("", "no column 'cell'"),
    ],
)
def test_malformed_pairs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_pairs(write(tmp_path, "p.csv", text), {"A": "c"}, ["promoter"])


def test_bed_labels_are_the_fourth_column(tmp_path: Path) -> None:
    examples = read_bed_labels(write(tmp_path, "f.bed", "track name=x\nchr1\t0\t40\t1\nchr2\t40\t80\t0\textra\n"))
    assert examples.names == ["chr1:0-40", "chr2:40-80"]
    assert examples.labels.tolist() == [True, False]


def test_bedgraph_values_at_the_threshold_are_positive_and_nan_is_unlabelled(tmp_path: Path) -> None:
    path = write(tmp_path, "t.bedgraph", "chr1 0 10 0.25\nchr1 10 20 nan\nchr1 20 30 0.2499\nchr1 30 40 NaN\n")
    examples = read_bedgraph(path, 0.25)
    assert examples.names == ["chr1:0-10", "chr1:20-30"]
    assert examples.labels.tolist() == [True, False]
    assert examples.unusable == 2


def test_an_interval_that_covers_no_base_is_left_out_and_counted(tmp_path: Path) -> None:
    examples = read_bedgraph(write(tmp_path, "t.bedgraph", "chr17 133320000 81195210 1.2\nchr1 0 10 -1\n"), 0.0)
    assert (examples.names, examples.unusable) == (["chr1:0-10"], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t0\t40\t0.7\n", "f.bed:1: the fourth column must be 0 or 1, got '0.7'"),
        ("chr1\t0\t40\n", "f.bed:1: expected 'chrom start end label'"),
        ("chr1\t0\t40\t1\nchr1\t-5\t40\t1\n", "f.bed:2: expected 'chrom start end'"),
    ],
)
def test_malformed_bed_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_bed_labels(write(tmp_path, "f.bed", text))


@pytest.mark.parametrize("value", ["inf", "early"])
def test_bedgraph_values_must_be_numbers(tmp_path: Path, value: str) -> None:
    with pytest.raises(LabelsError, match=f"t.bedgraph:1: expected a finite number, got '{value}'"):
        read_bedgraph(write(tmp_path, "t.bedgraph", f"chr1 0 10 {value}\n"), 0.0)


@pytest.mark.parametrize("read", [read_bed_labels, read_genes, lambda path: read_rpkm(path, ["A"])])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, read) -> None:
    with pytest.raises(LabelsError, match=r"absent.gz: no such file"):
        read(tmp_path / "absent.gz")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b\x08\x00 not gzip at all")
    with pytest.raises(LabelsError, match=r"broken.gz: cannot be read"):
        read(tmp_path / "broken.gz")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(LabelsError, match="binary"):
        read(tmp_path / "binary")
