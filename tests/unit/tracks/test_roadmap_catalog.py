"""The built-in catalogue of Roadmap tracks."""

from __future__ import annotations

from collections import Counter

import pytest

from epilstm.errors import ParamsError
from epilstm.tracks.catalogue import core, load_catalog, select


def test_the_catalogue_holds_1032_pairs_of_127_epigenomes_and_32_assays():
    entries = load_catalog()
    assert len({(entry.cell_type, entry.assay) for entry in entries}) == len(entries) == 1032
    assert len({entry.cell_type for entry in entries}) == 127
    assert len({entry.assay for entry in entries}) == 32


def test_the_core_is_the_1014_tracks_of_the_24_assays_of_at_least_five_epigenomes():
    entries = load_catalog()
    chosen = core(entries)
    epigenomes = Counter(entry.assay for entry in entries)
    assert len(chosen) == 1014
    assert {entry.assay for entry in chosen} == {assay for assay, count in epigenomes.items() if count >= 5}
    assert len({entry.assay for entry in chosen}) == 24


def test_a_track_has_the_url_of_the_consolidated_signal():
    (entry,) = select(load_catalog(), ["E116"], ["H3K4me3"])
    assert entry.track.uri == (
        "https://egg2.wustl.edu/roadmap/data/byFileType/signal/consolidated/macs2signal/pval/"
        "E116-H3K4me3.pval.signal.bigwig"
    )
    assert (entry.track.name, entry.track.sha256) == ("E116-H3K4me3", None)


def test_selection_is_by_cell_type_and_assay_in_the_catalogue_s_order():
    pairs = [(entry.cell_type, entry.assay) for entry in select(load_catalog(), ["E117", "E003"], ["DNase", "H3K4me1"])]
    assert sorted(pairs) == [("E003", "DNase"), ("E003", "H3K4me1"), ("E117", "DNase"), ("E117", "H3K4me1")]
    in_order = [(entry.cell_type, entry.assay) for entry in load_catalog()]
    assert pairs == [pair for pair in in_order if pair in pairs]


@pytest.mark.parametrize(
    ("cell_types", "assays", "hint"),
    [
        (["E1166"], [], "did you mean E116"),
        (["GM12878"], [], "E116 "),
        ([], ["h3k4me3"], "H3K4me3"),
        ([], ["RNA"], "there are"),
        ([], [""], "there are"),
    ],
)
def test_an_unknown_name_is_refused_with_close_ones(cell_types, assays, hint):
    with pytest.raises(ParamsError, match="unknown") as caught:
        select(load_catalog(), cell_types, assays)
    assert hint in str(caught.value)


def test_an_assay_outside_the_core_is_refused_with_core():
    outside = next(entry for entry in load_catalog() if entry not in core(load_catalog()))
    assert select(load_catalog(), [], [outside.assay])
    with pytest.raises(ParamsError, match="fewer than 5 epigenomes"):
        select(load_catalog(), [], [outside.assay], core_only=True)


def test_a_selection_without_any_pair_is_refused():
    measured = {entry.cell_type for entry in select(load_catalog(), [], ["DNase"])}
    without = next(entry.cell_type for entry in load_catalog() if entry.cell_type not in measured)
    with pytest.raises(ParamsError, match=f"none of {without} has DNase"):
        select(load_catalog(), [without], ["DNase"])


@pytest.mark.real_data
def test_the_catalogue_is_the_one_that_was_handed_over(roadmap_catalog):
    handed_over = [line.split(",")[:2] for line in roadmap_catalog.read_text().splitlines()[1:]]
    assert [[entry.cell_type, entry.assay] for entry in load_catalog()] == handed_over
