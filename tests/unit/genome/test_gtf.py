"""Genes of annotations as their sources write them: GTF with and without gene lines, GFF3, sequences at the end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from epilstm.errors import LabelsError
from epilstm.genome.assembly import Region
from epilstm.genome.gtf import attributes_of, read_annotation

GENE = "chr1\tHAVANA\tgene\t101\t900\t.\t+\t.\t"
EXON = "chr1\tHAVANA\texon\t101\t200\t.\t+\t.\t"


def written(folder: Path, text: str) -> Path:
    path = folder / "genes.gtf"
    path.write_bytes(text.encode())
    return path


def test_the_first_gene_is_not_lost_to_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff" + GENE + 'gene_id "G1"; gene_name "A";\r\n')
    (gene,) = read_annotation(path).genes
    assert (gene.gene_id, gene.name, gene.region, gene.where) == ("G1", "A", Region("chr1", 100, 900), f"{path}:1")


def test_genes_of_an_exon_only_gtf_span_the_exons_of_a_gene_id(tmp_path: Path) -> None:
    exon = 'chr1\tunknown\texon\t{}\t{}\t.\t-\t.\tgene_id "TP53"; transcript_id "{}";\n'
    path = written(tmp_path, exon.format(501, 600, "T1") + exon.format(101, 200, "T1") + exon.format(301, 900, "T2"))
    found = read_annotation(path, exons=True)
    (gene,) = found.genes
    assert (gene.gene_id, gene.region, gene.strand) == ("TP53", Region("chr1", 100, 900), "-")
    assert found.made_of == "exon"
    assert found.exons == [("chr1", 500, 600), ("chr1", 100, 200), ("chr1", 300, 900)]


def test_a_gene_id_in_two_places_is_two_genes_where_exons_make_them(tmp_path: Path) -> None:
    exons = EXON + 'gene_id "DUX4";\n' + EXON.replace("chr1", "chr2") + 'gene_id "DUX4";\n'
    assert [gene.region.chrom for gene in read_annotation(written(tmp_path, exons)).genes] == ["chr1", "chr2"]


def test_gene_lines_win_over_transcripts_and_exons_wherever_they_stand(tmp_path: Path) -> None:
    lines = [EXON + 'gene_id "G1"', EXON.replace("exon", "transcript") + 'gene_id "G1"', GENE + 'gene_id "G1"']
    for text in ("\n".join(lines), "\n".join(reversed(lines))):
        found = read_annotation(written(tmp_path, text), exons=True)
        assert [gene.region for gene in found.genes] == [Region("chr1", 100, 900)]
        assert (found.made_of, found.exons) == ("gene", [("chr1", 100, 200)])


def test_gff3_is_read_up_to_its_sequences(tmp_path: Path) -> None:
    text = (
        "##gff-version 3\n##sequence-region 1 1 9000\n"
        "1\thavana\tpseudogene\t11\t20\t.\t+\t.\tID=gene:ENSG01;Name=DDX11L1;biotype=pseudogene;gene_id=ENSG01\n"
        "###\n"
        "1\thavana\tmRNA\t11\t20\t.\t+\t.\tID=transcript:ENST01;Parent=gene:ENSG01\n"
        "1\tBestRefSeq\tgene\t101\t900\t.\t-\t.\tID=gene-HLA%2DA;Dbxref=GeneID:3105;Name=HLA%2DA;gene=HLA-A\n"
        "##FASTA\n>1\nACGT\nNNNN\n"
    )
    path = tmp_path / "genes.gff3"
    path.write_bytes(gzip.compress(text.encode()))
    found = read_annotation(path)
    assert [(gene.gene_id, gene.name, gene.biotype, gene.region) for gene in found.genes] == [
        ("ENSG01", "DDX11L1", "pseudogene", Region("1", 10, 20)),
        ("HLA-A", "HLA-A", "", Region("1", 100, 900)),
    ]
    assert found.chromosomes == {"1": 2}


def test_sequences_without_a_directive_end_the_features(tmp_path: Path) -> None:
    assert len(read_annotation(written(tmp_path, GENE + "ID=a\n>chr1\nACGT\n")).genes) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('gene_id "G 1"; level 2; tag "a"; tag "b";', {"gene_id": "G 1", "level": "2", "tag": "a"}),
        ("ID=gene:G1;Name=A;description=x [Source: y]", {"ID": "gene:G1", "Name": "A", "description": "x [Source: y]"}),
        ('gene_id "G1";gene_name "a;b"', {"gene_id": "G1", "gene_name": "a;b"}),
    ],
)
def test_attributes_of_both_formats(text: str, found: dict[str, str]) -> None:
    assert attributes_of(text) == found


def test_a_file_without_genes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no gene, transcript or exon lines"):
        read_annotation(written(tmp_path, GENE.replace("gene", "CDS") + 'gene_id "G1"\n'))
