"""Assemblies, regions, bins."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epilstm.errors import GenomeError
from epilstm.genome.assembly import (
    BUILT_IN_ASSEMBLIES,
    Assembly,
    Region,
    bin_count,
    bins_of,
    chromosomes_of,
    load_assembly,
    merge,
    parse_region,
    read_blacklist,
    read_regions,
)

TOY = Assembly("toy", {"chr1": 1000, "chr2": 510, "chr10": 60})


def bed(folder: Path, text: str) -> Path:
    path = folder / "some.bed"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "chrom", "size"), [
    ("hg19", "chr1", 249_250_621), ("hg38", "chr1", 248_956_422), ("mm10", "chr19", 61_431_566),
])  # fmt: skip
def test_built_in_assemblies_have_the_sizes_that_ucsc_gives(name: str, chrom: str, size: int) -> None:
    assert load_assembly(name)[chrom] == size


@pytest.mark.parametrize("name", BUILT_IN_ASSEMBLIES)
def test_built_in_assemblies_have_the_autosomes_and_x(name: str) -> None:
    autosomes = 19 if name == "mm10" else 22
    assert {f"chr{number}" for number in range(1, autosomes + 1)} | {"chrX"} <= set(load_assembly(name).sizes)


def test_a_sizes_file_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "toy.sizes"
    path.write_text("# made up\nchr2\t510\n\nchr1 1000\textra\n")
    assert list(load_assembly(str(path)).sizes.items()) == [("chr2", 510), ("chr1", 1000)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\n", ":1: expected"),
        ("chr1\t0\n", ":1: expected"),
        ("chr1\t-5\n", ":1: expected"),
        ("chr1\t²\n", ":1: expected"),
        ("chr1\t5\nchr1\t6\n", ":2: chromosome 'chr1' is listed twice"),
        ("# nothing\n", "no chromosome sizes"),
    ],
)
def test_a_faulty_sizes_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "toy.sizes"
    path.write_text(text)
    with pytest.raises(GenomeError, match=message):
        load_assembly(str(path))


def test_a_sizes_file_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "toy.sizes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GenomeError, match="cannot be read"):
        load_assembly(str(tmp_path / "toy.sizes"))


def test_an_unknown_assembly_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GenomeError, match="'hg20' is neither one of hg19, hg38, mm10"):
        load_assembly("hg20")


def test_an_unknown_chromosome_hints_at_its_spelling() -> None:
    with pytest.raises(GenomeError, match="'1' is not in assembly toy"):
        TOY["1"]


def test_bins_cover_a_chromosome_the_last_may_be_partial() -> None:
    assert (bin_count(1000, 25), bin_count(1001, 25), bin_count(1, 25)) == (40, 41, 1)


@given(st.integers(0, 10_000), st.integers(1, 10_000), st.integers(1, 300))
def test_the_bins_of_a_region_are_those_that_hold_one_of_its_bases(start: int, length: int, bin_size: int) -> None:
    first, last = bins_of(Region("chr1", start, start + length), bin_size)
    assert first * bin_size <= start < (first + 1) * bin_size
    assert (last - 1) * bin_size < start + length <= last * bin_size


def test_regions_are_snapped_to_bins_sorted_in_assembly_order_and_joined(tmp_path: Path) -> None:
    path = bed(
        tmp_path, "track name=x\nchr10\t1\t2\nchr2\t500\t510\n# note\nchr1\t130\t140\nchr1\t60\t120\tname\t0\t+\n"
    )
    assert read_regions(path, TOY, 25) == [
        Region("chr1", 50, 150),
        Region("chr2", 500, 510),
        Region("chr10", 0, 25),
    ]


def test_regions_may_be_gzipped_and_have_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "some.bed.gz"
    path.write_bytes(gzip.compress(b"chr1\t0\t25\r\n"))
    assert read_regions(path, TOY, 25) == [Region("chr1", 0, 25)]


def test_the_whole_genome_directive_stands_for_every_chromosome(tmp_path: Path) -> None:
    path = bed(tmp_path, "#whole-genome\n")
    assert read_regions(path, TOY, 25) == [Region(chrom, 0, size) for chrom, size in TOY.sizes.items()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no regions"),
        ("# only a comment\n", "no regions"),
        ("chr1\t5\n", ":1: expected 'chrom start end'"),
        ("chr1\tfive\t6\n", ":1: expected"),
        ("chr1\t-1\t6\n", ":1: expected"),
        ("chr1\t²\t6\n", ":1: expected"),
        ("chr1\t7\t7\n", ":1: start 7 is not below end 7"),
        ("chrom\tstart\tend\n", "no regions"),
        ("chr1\t0\t9\nchrom\tstart\tend\n", ":2: expected 'chrom start end', got 'chrom start end'"),
        ("chr7\t0\t9\n", r"none of its chromosomes \(chr7\) is in assembly toy \(chr1, chr2, chr10\)"),
        ("chr2\t510\t511\n", "all of its intervals lie past the ends of their chromosomes in assembly toy"),
    ],
)
def test_faulty_regions_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(GenomeError, match=message):
        read_regions(bed(tmp_path, text), TOY, 25)


@pytest.mark.parametrize("content", [b"\x1f\x8bgarbage", gzip.compress(b"chr1\t0\t25\n", mtime=0)[:-9]])
def test_a_broken_gzip_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.bed.gz").write_bytes(content)
    with pytest.raises(GenomeError, match="cannot be read as BED"):
        read_regions(tmp_path / "some.bed.gz", TOY, 25)


def test_a_missing_bed_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GenomeError, match=r"none.bed: no such file"):
        read_regions(tmp_path / "none.bed", TOY, 25)


def test_a_file_that_is_called_gz_but_is_none_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "some.bed.gz").write_text("chr1\t0\t25\n")
    assert read_regions(tmp_path / "some.bed.gz", TOY, 25) == [Region("chr1", 0, 25)]


FORMS = {
    "byte order mark": b"\xef\xbb\xbfchr1\t0\t100\nchr2\t0\t500\n",
    "UTF-16": "chr1\t0\t100\nchr2\t0\t500\n".encode("utf-16"),
    "Mac line ends": b"chr1\t0\t100\rchr2\t0\t500\r",
    "gzip under another name": gzip.compress(b"chr1\t0\t100\nchr2\t0\t500\n"),
    "header": b"chrom\tchromStart\tchromEnd\nchr1\t0\t100\nchr2\t0\t500\n",
    "browser lines": b"browser position chr1\ntrack name=x\n#note\nchr1\t0\t100\nchr2\t0\t500\n\n\n",
    "numbers of R": b"chr1\t0e+00\t1e+02\nchr2\t0.0\t500.0\n",
    "columns of a spreadsheet": b"chr1\t0\t100\t\t\t\r\nchr2\t0\t500\t\t\t\r\n\t\t\t\t\t\r\n",
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS.keys())
def test_regions_and_blacklists_are_read_in_whatever_form_they_come(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.bed"
    path.write_bytes(content)
    assert read_regions(path, TOY, 25) == read_blacklist(path, TOY) == [Region("chr1", 0, 100), Region("chr2", 0, 500)]


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfchr1\t1000\nchr2\t510\n", b"chrom\tsize\r\nchr1\t1e+03\r\nchr2\t510.0\t\t\r\n"],
    ids=["byte order mark", "header and numbers of R"],
)
def test_no_chromosome_of_a_sizes_file_is_lost(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.sizes"
    path.write_bytes(content)
    assert load_assembly(str(path)).sizes == {"chr1": 1000, "chr2": 510}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("1", "'1' is called 'chr1' there: add or remove 'chr'"),
        ("Chr1", "'Chr1' is written 'chr1' there: upper and lower case count"),
        ('"chr1"', '"chr1" is in quotes: write the file without quotes'),
        ("chr01", "'chr01' is called 'chr1' there: name both sides alike"),
        ("scaffold_9", "is it the same assembly"),
    ],
)
def test_a_blacklist_whose_chromosomes_match_nothing_is_an_error_that_names_both_sides(
    tmp_path: Path, name: str, cause: str
) -> None:
    path = bed(tmp_path, f"{name}\t0\t100\n")
    for read in (lambda: read_blacklist(path, TOY), lambda: read_regions(path, TOY, 25)):
        with pytest.raises(GenomeError) as caught:
            read()
        assert f"{path}: none of its chromosomes ({name}) is in assembly toy (chr1, chr2, chr10)" in str(caught.value)
        assert cause in str(caught.value)


def test_a_match_in_part_is_one_warning_with_counts(tmp_path: Path, warnings_logged: list[str]) -> None:
    lines = "chr1\t0\t100\nchrUn\t0\t9\nchrUn\t20\t29\n2\t0\t9\n"
    assert read_blacklist(bed(tmp_path, lines), TOY) == [Region("chr1", 0, 100)]
    (warning,) = warnings_logged
    assert "3 of 4 intervals are left out: 2 of 3 chromosomes (chrUn, 2) are not in assembly toy" in warning
    assert "'2' is called 'chr2' there" in warning


def test_what_lies_past_a_chromosomes_end_is_clipped_and_counted(tmp_path: Path, warnings_logged: list[str]) -> None:
    path = bed(tmp_path, "chr2\t100\t200\nchr2\t500\t9000\nchr2\t600\t700\n")
    assert read_regions(path, TOY, 25) == [Region("chr2", 100, 200), Region("chr2", 500, 510)]
    (warning,) = warnings_logged
    assert "of 3 intervals, 1 reach past the end of their chromosome in assembly toy and are clipped" in warning
    assert "1 lie beyond it and are left out" in warning


def test_a_blacklist_may_be_empty_and_list_scaffolds_and_reach_past_an_end(tmp_path: Path) -> None:
    assert read_blacklist(bed(tmp_path, ""), TOY) == []
    path = bed(tmp_path, "chrUn\t0\t9\nchr2\t500\t9000\nchr2\t600\t700\nchr1\t3\t5\n")
    assert read_blacklist(path, TOY) == [Region("chr1", 3, 5), Region("chr2", 500, 510)]


@given(st.lists(st.tuples(st.sampled_from(list(TOY.sizes)), st.integers(0, 50), st.integers(1, 10)), max_size=10))
def test_merged_regions_cover_the_same_bases_once(drawn: list[tuple[str, int, int]]) -> None:
    regions = [Region(chrom, start, start + length) for chrom, start, length in drawn]
    merged = merge(regions, TOY)
    bases = [(region.chrom, base) for region in merged for base in range(region.start, region.end)]
    assert len(bases) == len(set(bases))
    assert set(bases) == {(region.chrom, base) for region in regions for base in range(region.start, region.end)}
    assert chromosomes_of(merged) == [chrom for chrom in TOY.sizes if chrom in {region.chrom for region in regions}]


def test_a_region_is_written_as_browsers_do() -> None:
    assert str(Region("chr1", 5, 10)) == "chr1:5-10"
    assert len(Region("chr1", 5, 10)) == 5


def test_a_region_of_an_unknown_chromosome_is_named_with_its_option() -> None:
    with pytest.raises(GenomeError, match=r"^--region chr99:0-100: chromosome 'chr99' is not in assembly hg38"):
        parse_region("chr99:0-100", load_assembly("hg38"))
