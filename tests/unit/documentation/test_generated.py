"""The generated parts of the documentation are what the code says now."""

from __future__ import annotations

import pytest

from docs.generate import FOLDER, PARTS, all_metrics, regenerated


@pytest.mark.parametrize("page", PARTS)
def test_a_page_is_what_make_docs_would_write(page):
    text = (FOLDER / page).read_text(encoding="utf-8")
    assert text == regenerated(page, text), f"run: make docs ({page})"


def test_every_metric_is_in_one_table_of_the_page():
    text = (FOLDER / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in all_metrics() if text.count(f"\n| `{name}` |") != 1] == []


def test_a_page_without_the_place_of_a_part_is_refused():
    with pytest.raises(ValueError, match=r"metrics\.md: needs one '<!-- begin: every step -->'"):
        regenerated("metrics.md", "# Metrics\n")
