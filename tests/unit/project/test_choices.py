"""Regions and split where the user gives none."""

from __future__ import annotations

import pytest

from epilstm.errors import GenomeError
from epilstm.genome.assembly import Assembly, Region, load_assembly
from epilstm.project.choices import choose_regions, choose_split, primary_chromosomes
from support.nonempty import nonempty


def regions(**bases: int) -> list[Region]:
    return [Region(chrom, 0, size) for chrom, size in bases.items()]


def test_of_the_human_genome_about_a_tenth_each_is_held_out_and_sex_chromosomes_train():
    hg38 = load_assembly("hg38")
    split = choose_split(hg38.regions())
    assert split == {"validation": ["chr13", "chr15", "chr17"], "test": ["chr12", "chr14", "chr16"]}
    for held in nonempty(split.values()):
        assert 0.08 <= sum(hg38[chrom] for chrom in held) / sum(hg38.sizes.values()) < 0.13


@pytest.mark.parametrize(
    ("bases", "validation", "test"),
    [
        ({"a": 9, "b": 5, "c": 3}, ["c"], ["b"]),
        ({"c": 3, "a": 9, "b": 5}, ["c"], ["b"]),
        ({"chr1": 8, "chr2": 7, "chr3": 6, "chr4": 5}, ["chr4"], ["chr3"]),
        ({"chrX": 90, "chr1": 8, "chr2": 7, "chr3": 6}, ["chr3"], ["chr2"]),
        ({"chrX": 4, "chrY": 2, "chr1": 9}, ["chrY"], ["chrX"]),
    ],
)
def test_chromosomes_of_middle_to_small_size_are_held_out_in_turn(bases, validation, test):
    assert choose_split(regions(**bases)) == {"validation": validation, "test": test}


def test_the_largest_chromosome_trains_whatever_the_number_of_chromosomes():
    for count in range(3, 40):
        split = choose_split([Region(f"c{number}", 0, 1000 - number) for number in range(count)])
        assert split["validation"]
        assert split["test"]
        assert not set(split["validation"]) & set(split["test"])
        assert "c0" not in [*split["validation"], *split["test"]]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_chromosomes_are_split_by_region(count):
    split = choose_split([Region(f"chr{number}", 0, 1000) for number in range(count)])
    assert split == {"by": "region", "validation": 0.1, "test": 0.1}


def test_bases_in_the_regions_count_not_the_length_of_chromosomes():
    pieces = [Region("chr1", 0, 10), Region("chr2", 500, 900), Region("chr3", 0, 100), Region("chr3", 200, 400)]
    assert choose_split(pieces) == {"validation": ["chr1"], "test": ["chr3"]}


def test_scaffolds_alternate_sequences_and_organelles_are_no_primary_chromosomes():
    sizes = {"chr1": 1000, "chr2": 500, "chrX": 400, "chrM": 16, "chrUn_KI270302v1": 900, "chr1_KI270706v1_random": 800,
             "chr6_GL000250v2_alt": 700, "scaffold_9": 4}  # fmt: skip
    assert primary_chromosomes(Assembly("toy", sizes)) == ["chr1", "chr2", "chrX"]
    yeast = {"NC_001133.9": 230, "NC_001134.8": 813, "Mito": 86}
    assert primary_chromosomes(Assembly("yeast", yeast)) == ["NC_001133.9", "NC_001134.8"]


def test_regions_are_the_primary_chromosomes_that_every_file_has():
    assembly = Assembly("toy", {"chr1": 1000, "chr2": 500, "chrY": 400, "chrM": 16})
    files = {"a.bw": {"chr1": 1000, "chr2": 500, "chrY": 400}, "b.bw": {"chr1": 1000, "chr2": 500, "chrM": 17}}
    chosen = choose_regions(assembly, files)
    assert chosen.regions == [Region("chr1", 0, 1000), Region("chr2", 0, 500)]
    assert "chrY is left out: it is not in b.bw" in chosen.remarks[0]


def test_without_local_files_all_primary_chromosomes_are_read():
    assert len(choose_regions(load_assembly("mm10"), {}).regions) == 21


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"chr1": 249_250_621}, "a.bw: chr1 has 249,250,621 bp in the file but 248,956,422 in hg38; its sizes are "
                                "those of hg19"),
        ({"1": 248_956_422}, r"a.bw: none of its chromosomes \(1, ...\) is one of hg38 \(chr1, chr2, chr3, ...\); give "
                             r"--assembly a chrom.sizes file"),
    ],
)  # fmt: skip
def test_a_file_of_another_assembly_is_refused_with_both_sides_named(sizes, message):
    with pytest.raises(GenomeError, match=message):
        choose_regions(load_assembly("hg38"), {"a.bw": sizes})
