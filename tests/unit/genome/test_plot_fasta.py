"""GC content of bins."""

import gzip

import numpy as np
import pytest

from epilstm.errors import DataError
from epilstm.genome import fasta
from epilstm.genome.fasta import gc_content

GENERATOR = np.random.default_rng(5)


def sequence(length, letters="ACGTacgtNnRS"):
    return "".join(GENERATOR.choice(list(letters), length))


def text(sequences, width=60, newline="\n"):
    lines = []
    for name, letters in sequences.items():
        lines.append(f">{name} a description with > and ACGT")
        lines += [letters[at : at + width] for at in range(0, len(letters), width)]
    return newline.join(lines) + newline


def counted(letters, bin_size):
    """GC content, letter by letter."""
    shares = []
    for at in range(0, len(letters), bin_size):
        part = letters[at : at + bin_size].upper()
        known = sum(part.count(letter) for letter in "ACGT")
        shares.append((part.count("G") + part.count("C")) / known if known else np.nan)
    return shares


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("read_bytes", [1, 7, 64, 4 << 20])
def test_gc_is_the_share_among_known_bases_whatever_the_lines_and_the_reads(tmp_path, monkeypatch, newline, read_bytes):
    monkeypatch.setattr(fasta, "READ_BYTES", read_bytes)
    sequences = {"chr1": sequence(511), "chr2": "N" * 60 + sequence(40), "chrM": sequence(33)}
    path = tmp_path / "genome.fa"
    path.write_text(text(sequences, newline=newline), newline="")
    found = gc_content(path, {"chr2": 100, "chr1": 511}, 25)
    assert set(found) == {"chr1", "chr2"}
    for chrom, shares in found.items():
        np.testing.assert_allclose(shares, counted(sequences[chrom], 25), rtol=1e-6)
    assert np.isnan(found["chr2"][:2]).all()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_sequence(tmp_path, encoding):
    letters = sequence(120)
    path = tmp_path / "genome.fa"
    path.write_bytes(text({"1": letters}).encode(encoding))
    np.testing.assert_allclose(gc_content(path, {"1": 120}, 50)["1"], counted(letters, 50), rtol=1e-6)


def test_a_gzipped_file_is_read_whatever_it_is_called(tmp_path):
    letters = sequence(120)
    path = tmp_path / "genome.fasta"
    path.write_bytes(gzip.compress(text({"1": letters}, width=120).encode()))
    np.testing.assert_allclose(gc_content(path, {"1": 120}, 50)["1"], counted(letters, 50), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text({"1": "ACGT", "2": "ACGT"}), "no sequence called chr1; it has 1, 2; .* chromosomes named alike"),
        (text({"chr1": "ACGTA"}), "chr1 has 5 bases, the data set's assembly 4; give the FASTA of that assembly"),
        (text({"chr1": "ACG"}), "chr1 has 3 bases"),
        (text({"chr1": "ACGT"}) * 2, "two sequences are called chr1"),
        ("chr1\t0\t25\n", "not FASTA"),
        ("", "the file is empty"),
        (b"\x1f\x8bnonsense", "cannot be read as FASTA"),
    ],
    ids=["names", "longer", "shorter", "twice", "bed", "empty", "damaged"],
)
def test_what_is_not_the_assemblys_fasta_is_refused(tmp_path, content, message):
    path = tmp_path / "genome.fa"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        gc_content(path, {"chr1": 4}, 25)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"no such file; give the path of a file \(FASTA\)"):
        gc_content(tmp_path / "none.fa", {"chr1": 4}, 25)
