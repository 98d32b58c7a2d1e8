"""The tree and the paths of docs/architecture.md and its neighbours are those on disk."""

from __future__ import annotations

import re
import tomllib

import pytest

from support.paths import PROJECT

PACKAGE = PROJECT / "components" / "epilstm"
ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")


def tree(text: str) -> list[str]:
    """Paths of the page's tree, relative to the package, in its order."""
    block = re.search(r"^```\ncomponents/epilstm/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    paths: list[str] = []
    for line in block[1].splitlines():
        indent, name, text = re.fullmatch(r"( {2}|    )(\S+) +(\S.*)", line).groups()
        paths.append(name if indent == "  " else f"{paths_parent(paths)}/{name}")
        assert text
    return [path.rstrip("/") for path in paths]


def paths_parent(paths: list[str]) -> str:
    return next(path for path in reversed(paths) if path.rstrip("/").count("/") == 0).rstrip("/")


def on_disk() -> set[str]:
    """Packages, and modules of the package itself."""
    found = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    for folder in (PACKAGE, PACKAGE / "pipelines"):  # a link, which rglob does not follow
        found |= {path.parent.relative_to(PACKAGE).as_posix() for path in folder.rglob("__init__.py")}
    return found - {"."}


def test_the_tree_is_what_is_on_disk():
    paths = tree(ARCHITECTURE)
    assert len(paths) == len(set(paths))
    assert set(paths) == on_disk()


def test_the_layers_are_in_the_order_that_the_contract_of_imports_has():
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [layers] = [contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers"]
    expected = [name for layer in layers for name in re.findall(r"\w+", layer)]
    assert [path.removesuffix(".py") for path in tree(ARCHITECTURE) if "/" not in path] == expected


def missing(named: list[str]) -> list[str]:
    """Paths that are neither in the repository nor in the package."""
    return [name for name in named if not any((root / name).exists() for root in (PROJECT, PACKAGE))]


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/one-step.md", "CONTRIBUTING.md"])
def test_paths_that_a_page_names_are_there(page):
    text = (PROJECT / page).read_text(encoding="utf-8")
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:\.py|\.md|\.yaml|\.toml|/))`", text)
    assert len(named) > 3
    assert missing(named) == []


def test_modules_that_any_page_names_are_there():
    pages = [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]
    named = {page.name: re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.py)`", page.read_text(encoding="utf-8")) for page in pages}
    assert sum(map(len, named.values())) > 20
    assert {page: missing(names) for page, names in named.items() if missing(names)} == {}


def test_one_step_is_one_page_of_sixty_lines():
    assert len((PROJECT / "docs" / "one-step.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_entry_of_the_step_table_on_the_page_is_the_one_in_the_code():
    page = (PROJECT / "docs" / "one-step.md").read_text(encoding="utf-8")
    [entry] = re.findall(r"```python\n(Step\(.*?)```", page, re.DOTALL)
    from epilstm.runtime import step_table

    assert eval(entry, vars(step_table)) == step_table.STEPS["embed"]
