"""Links of the documentation lead somewhere: files are there, and headings too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.paths import PROJECT

PAGES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (
        *PROJECT.glob("*.md"),
        *(PROJECT / "docs").rglob("*.md"),
        *(PROJECT / "benchmarks").glob("*.md"),
    )
)
#: Links to other sites are not asked for.
ELSEWHERE = ("http://", "https://", "mailto:")


def links(text: str) -> list[str]:
    """Targets of links and pictures, code blocks left out."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(ELSEWHERE)]


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8"))
        ):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert broken(PROJECT / page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `two`: three\n\n[a](gone.md) [b](#one-two-three) [c](#one) [d](page.md#four) [e](page.md)\n")
    assert broken(page) == ["gone.md", "#one", "page.md#four"]


def test_every_page_is_in_the_index():
    index = (PROJECT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = {link.partition("#")[0] for link in links(index)}
    pages = {path.removeprefix("docs/") for path in PAGES if path.startswith("docs/")} - {"README.md"}
    assert pages - listed == set()
