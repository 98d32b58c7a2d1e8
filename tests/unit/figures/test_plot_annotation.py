"""Genes and segments beside the tracks."""

import gzip

import pytest

from epilstm.errors import GenomeError, LabelsError
from epilstm.figures.annotation import Gene, Segment, genes_in, lanes, segments_in
from epilstm.genome.assembly import Region

REGION = Region("chr2", 1000, 2000)
CHROMOSOMES = ["chr1", "chr2"]


def gtf(*genes):
    lines = ["##description: toy"]
    for chrom, start, end, strand, kind, name in genes:
        attributes = f'gene_id "{name}.1"; gene_type "{kind}"; gene_name "{name}";'
        lines.append("\t".join([chrom, "toy", "gene", str(start), str(end), ".", strand, ".", attributes]))
        lines.append("\t".join([chrom, "toy", "exon", str(start), str(end), ".", strand, ".", attributes]))
    return "\n".join(lines) + "\n"


def test_genes_of_a_gtf_file_that_overlap_the_region_are_drawn_from_base_0(tmp_path):
    path = tmp_path / "genes.gtf.gz"
    coding = "protein_coding"
    genes = [
        ("chr2", 1500, 3000, "-", coding, "B"),
        ("chr2", 500, 1001, "+", coding, "A"),
        ("chr2", 500, 1000, "+", coding, "before"),
        ("chr2", 2001, 2500, "+", coding, "after"),
        ("chr1", 1500, 1600, "+", coding, "elsewhere"),
        ("chr2", 1500, 1600, "+", "lincRNA", "no-protein"),
    ]
    path.write_bytes(gzip.compress(gtf(*genes).encode()))
    assert genes_in(path, REGION, CHROMOSOMES) == [Gene(499, 1001, "+", "A"), Gene(1499, 3000, "-", "B")]


def test_genes_without_a_type_are_all_drawn(tmp_path):
    path = tmp_path / "genes.gtf"
    path.write_text('chr2\tx\tgene\t1100\t1200\t.\t+\t.\tgene_id "G1";\n')
    assert genes_in(path, REGION, CHROMOSOMES) == [Gene(1099, 1200, "+", "G1")]


def test_what_is_no_gtf_is_refused(tmp_path):
    path = tmp_path / "genes.gtf"
    path.write_text("chr2\t100\t200\n")
    with pytest.raises(LabelsError, match=r"genes.gtf:1: expected the 9 tab-separated columns"):
        genes_in(path, REGION, CHROMOSOMES)
    with pytest.raises(LabelsError, match="no such file"):
        genes_in(tmp_path / "none.gtf", REGION, CHROMOSOMES)


def test_genes_that_overlap_are_in_different_lanes():
    genes = [Gene(0, 100, "+", "a"), Gene(50, 60, "+", "b"), Gene(115, 130, "+", "c"), Gene(125, 126, "-", "d")]
    assert lanes(genes, gap=10) == [0, 1, 0, 1]


def test_segments_have_the_colours_of_bed9_or_one_per_name(tmp_path):
    bed9, bed4 = tmp_path / "segments.bed", tmp_path / "names.bed"
    bed9.write_text(
        "track name=x itemRgb=On\n"
        "chr2\t900\t1200\tactive\t0\t.\t900\t1200\t255,0,16\n"
        "chr2\t1200\t5000\tquiet\t0\t.\t1200\t5000\t1,2,3\n"
        "chr3\t1200\t1300\tactive\t0\t.\t1200\t1300\t255,0,16\n"
    )
    assert segments_in(bed9, REGION, ("#ffffff",), CHROMOSOMES) == [
        Segment(1000, 1200, "active", "#ff0010"), Segment(1200, 2000, "quiet", "#010203")
    ]  # fmt: skip
    bed4.write_text("chr2\t1000\t1100\tA\nchr2\t1100\t1200\tB\nchr2\t1200\t1300\tA\n")
    assert [each.color for each in segments_in(bed4, REGION, ("#one", "#two"), CHROMOSOMES)] == ["#one", "#two", "#one"]


def test_what_is_no_bed_is_refused(tmp_path):
    path = tmp_path / "segments.bed"
    path.write_text("chr2 x y\n")
    with pytest.raises(GenomeError, match=r"segments.bed:1"):
        segments_in(path, REGION, ("#ffffff",), CHROMOSOMES)


def test_an_annotation_that_names_chromosomes_otherwise_is_refused(tmp_path):
    genes, segments = tmp_path / "genes.gtf", tmp_path / "segments.bed"
    genes.write_text(gtf(("2", 1500, 3000, "-", "protein_coding", "B")))
    segments.write_text("2\t1000\t1100\tA\n")
    said = r"none of its chromosomes \(2\) is in the matrix \(chr1, chr2\); '2' is called 'chr2' there"
    with pytest.raises(LabelsError, match=said):
        genes_in(genes, REGION, CHROMOSOMES)
    with pytest.raises(GenomeError, match=said):
        segments_in(segments, REGION, ("#ffffff",), CHROMOSOMES)
