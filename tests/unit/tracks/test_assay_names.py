"""Spellings of assays."""

import pytest

from epilstm.errors import SamplesheetError
from epilstm.tracks.assay_names import matching_assay

VOCABULARY = ["DNase", "ATAC-seq", "H2A.Z", "H3K27ac", "POLR2A", "CTCF"]


@pytest.mark.parametrize(
    ("name", "assay"),
    [
        ("DNase-seq", "DNase"),
        ("dnase", "DNase"),
        ("DNaseI", "DNase"),
        ("ATAC", "ATAC-seq"),
        ("H2AZ", "H2A.Z"),
        ("h2a-z", "H2A.Z"),
        ("H3k27AC", "H3K27ac"),
        ("H3K27ac ChIP-seq", "H3K27ac"),
        ("Pol2", "POLR2A"),
        ("CTCF", "CTCF"),
    ],
)
def test_spellings_of_an_assay_are_the_assay(name, assay):
    assert matching_assay(name, VOCABULARY, "mine.csv") == assay


def test_dnase_and_atac_are_different_assays():
    with pytest.raises(SamplesheetError, match=r"mine.csv: the model has no assay 'ATAC-seq'; it has DNase, H3K27ac"):
        matching_assay("ATAC-seq", ["DNase", "H3K27ac"], "mine.csv")


def test_an_unknown_assay_is_an_error_with_the_vocabulary_and_a_likely_one():
    with pytest.raises(SamplesheetError, match=r"no assay 'H3K27a'; it has DNase, .*, CTCF; did you mean H3K27ac\?"):
        matching_assay("H3K27a", VOCABULARY, "mine.csv")


def test_a_name_of_several_assays_is_refused_unless_it_is_one_of_them():
    both = ["DNase", "DNase-seq"]
    assert matching_assay("DNase-seq", both, "mine.csv") == "DNase-seq"
    with pytest.raises(SamplesheetError, match="'DNaseI' may be DNase or DNase-seq; write one of these"):
        matching_assay("DNaseI", both, "mine.csv")
