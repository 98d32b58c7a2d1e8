"""The fingerprint of the code that a step runs: what Python compiles of it, not the bytes of its files.

A step's code is every module of this package that its own modules import, directly or through others, imports within
functions included, and the data files that these modules name. Comments, docstrings, formatting and the descriptions
of params do not count. Two kinds of module are exceptions:

- Modules that compute no value of an output (`WITHOUT_VALUES`) are left out: they report on a run.
- Of modules that hold something for every step (`SHARED`) only what other modules name counts, and what that names in
  turn. So a default of another step's params is no change.

All is read from the sources, so nothing is imported: the modules of a step are known without loading torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from epilstm.files.outputs import sha256_file, sha256_json
from epilstm.runtime.step_table import STEPS

PACKAGE = "epilstm"

#: Modules and packages that report on a run to people, monitors and records; none computes a value of an output.
WITHOUT_VALUES = (
    "epilstm.runtime.code_fingerprint",
    "epilstm.console",
    "epilstm.runtime.records",
    "epilstm.runtime.telemetry",
)

#: Modules that hold something for every step: of these only what is named counts.
SHARED = (
    "epilstm",
    "epilstm.files.outputs",
    "epilstm.params",
    "epilstm.errors",
    "epilstm.runtime.runner",
    "epilstm.runtime.step_table",
)

#: Names that change with a release although nothing is computed otherwise.
UNCOUNTED = {"__version__", "__all__"}

#: In place of a name: everything that a module defines.
EVERYTHING = "*"

_TARGET = re.compile(r"epilstm(\.[A-Za-z_]\w*)+(:\w+)?")


@dataclass(frozen=True)
class CodeFingerprint:
    """What a step's code is.

    Parameters
    ----------
    modules : mapping of str to str
        Digest of each module (of what counts of it) and of each data file, by name, sorted.
    """

    modules: Mapping[str, str]

    @cached_property
    def sha256(self) -> str:
        """Of all of it."""
        return sha256_json(dict(self.modules))


def step_fingerprint(step: str) -> CodeFingerprint:
    """Fingerprint of the code of a step of the step table, of the package that runs."""
    return fingerprint_of(STEPS[step].target.partition(":")[0])


def step_fingerprints(folder: Path) -> dict[str, CodeFingerprint]:
    """Fingerprint of the code of every step, of the package in a folder."""
    sources = _Sources(folder.resolve())
    return {name: sources.closure(step.target.partition(":")[0]) for name, step in STEPS.items()}


@cache
def fingerprint_of(module: str) -> CodeFingerprint:
    """Fingerprint of a module of the package that runs, and of all that it imports.

    Raises
    ------
    ValueError
        There is no such module.
    """
    # Once: the sources may be edited while this process runs what it has read of them.
    return _running_sources().closure(module)


@cache
def _running_sources() -> _Sources:
    return _Sources(Path(__file__).resolve().parents[1])


class _Source:
    """What counts of one source file, taken apart once."""

    def __init__(self, content: bytes) -> None:
        self.body = _without_texts(ast.parse(content)).body
        self.whole = _digest(self.body)
        #: Of each top-level statement what may lead elsewhere: imports, names and texts.
        self.nodes = {
            id(statement): [
                node
                for node in ast.walk(statement)
                if isinstance(node, ast.Import | ast.ImportFrom | ast.Name)
                or (isinstance(node, ast.Constant) and isinstance(node.value, str))
            ]
            for statement in self.body
        }
        #: Top-level statements by the name that they bind.
        self.definitions: dict[str, list[ast.stmt]] = {}
        for statement in self.body:
            for name in _bound(statement):
                self.definitions.setdefault(name, []).append(statement)
        #: Top-level statements that do something else than to bind names.
        self.effects = [each for each in self.body if not _bound(each)]


_source = lru_cache(maxsize=1024)(_Source)


@dataclass(frozen=True)
class _Module:
    """A module of the package."""

    name: str
    path: Path
    source: _Source

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        return self.source.definitions

    def named(self, wanted: str | None) -> set[str]:
        """Names of definitions that count where one is wanted; None wants none."""
        if wanted == EVERYTHING:
            return self.definitions.keys() - UNCOUNTED
        if wanted is not None and wanted not in self.definitions:
            wanted = "__getattr__"
        return {wanted} & self.definitions.keys() - UNCOUNTED if wanted else set()


@dataclass
class _Reached:
    """What has been reached of each module: names of those in `SHARED`, nothing of others, which count whole."""

    modules: dict[str, set[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class _Sources:
    """The sources of the package in a folder; each is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, _Module | None] = {}

    def module(self, name: str) -> _Module | None:
        """A module of the package; None where there is none of that name."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> _Module | None:
        if name != PACKAGE and not name.startswith(f"{PACKAGE}."):
            return None
        place = self.folder.joinpath(*name.split(".")[1:])
        for path in (place / "__init__.py", place.with_suffix(".py") if name != PACKAGE else place / "__init__.py"):
            if path.is_file():
                return _Module(name, path, _source(path.read_bytes()))
        return None

    def closure(self, root: str) -> CodeFingerprint:
        """What is reached from a module."""
        if self.module(root) is None:
            raise ValueError(f"{self.folder}: no module {root}")
        reached = _Reached()
        waiting: list[tuple[str, str | None]] = [(root, None)]
        while waiting:
            waiting += self._reach(reached, *waiting.pop())
        digests = {name: self._digest(name, names) for name, names in reached.modules.items()}
        return CodeFingerprint(dict(sorted({**digests, **reached.files}.items())))

    def _reach(self, reached: _Reached, name: str, wanted: str | None) -> list[tuple[str, str | None]]:
        """Add a module, or a name of a shared one; what is to be reached from there."""
        module = self.module(name)
        if module is None or any(name == each or name.startswith(f"{each}.") for each in WITHOUT_VALUES):
            return []
        known = reached.modules.get(name)
        if name in SHARED:
            names = module.named(wanted)
            statements = [each for new in names - (known or set()) for each in module.definitions[new]]
            statements += module.source.effects if known is None else []
            reached.modules[name] = (known or set()) | names
        elif known is None:
            statements = module.source.body
            reached.modules[name] = set()
        else:
            return []
        reached.files |= self._data_files(module, statements)
        parent = name.rpartition(".")[0]
        return [*self._edges(module, statements), *([(parent, None)] if parent else [])]

    def _edges(self, module: _Module, statements: Iterable[ast.stmt]) -> Iterator[tuple[str, str | None]]:
        for node in _nodes(module, statements):
            if isinstance(node, ast.Import):
                yield from ((alias.name, EVERYTHING) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from self._imported(_source_of(module, node), (alias.name for alias in node.names))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _TARGET.fullmatch(node.value):
                target, _, name = node.value.partition(":")
                yield target, name or EVERYTHING
            elif isinstance(node, ast.Name) and module.name in SHARED and node.id in module.definitions:
                yield module.name, node.id

    def _imported(self, source: str, names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        for name in names:
            submodule = f"{source}.{name}"
            if self.module(submodule) is not None:
                yield submodule, EVERYTHING
            else:
                yield source, name

    def _data_files(self, module: _Module, statements: Iterable[ast.stmt]) -> dict[str, str]:
        """Files beside a module, and in folders beside it, that it names."""
        found = {}
        for node in _nodes(module, statements):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_plain(node.value):
                place = module.path.parent / node.value
                if place.is_file() or (place.is_dir() and not (place / "__init__.py").exists()):
                    paths = [place] if place.is_file() else sorted(place.rglob("*"))
                    for path in paths:
                        if path.is_file() and path.suffix not in (".py", ".pyc"):
                            found[path.relative_to(self.folder).as_posix()] = sha256_file(path)
        return found

    def _digest(self, name: str, names: set[str]) -> str:
        module = self.module(name)
        assert module is not None
        if name not in SHARED:
            return module.source.whole
        chosen = {id(each) for wanted in names for each in module.definitions[wanted]}
        return _digest([each for each in module.source.body if id(each) in chosen or each in module.source.effects])


def _bound(statement: ast.stmt) -> list[str]:
    """Names that a top-level statement does nothing but bind."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _source_of(module: _Module, node: ast.ImportFrom) -> str:
    """Absolute name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    package = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def _is_plain(text: str) -> bool:
    return 0 < len(text) < 100 and "\n" not in text and "\0" not in text and "/" not in text and text not in (".", "..")


def _nodes(module: _Module, statements: Iterable[ast.stmt]) -> Iterator[ast.AST]:
    for statement in statements:
        yield from module.source.nodes[id(statement)]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_for_types_only(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Name)
        and statement.test.id == "TYPE_CHECKING"
        and not statement.orelse
    )


def _without_texts(tree: ast.Module) -> ast.Module:
    """A tree without docstrings, descriptions of params, and imports that only type checkers see."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, [each for each in block if not _is_text(each) and not _is_for_types_only(each)])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Field":
            node.keywords = [each for each in node.keywords if each.arg != "description"]
    # One import a statement, so that each is reached by its name alone.
    tree.body = [single for each in tree.body for single in _single_imports(each)]
    return tree


def _single_imports(statement: ast.stmt) -> list[ast.stmt]:
    if isinstance(statement, ast.Import):
        return [ast.Import([alias]) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [statement]


def _digest(statements: Iterable[ast.stmt]) -> str:
    digest = sha256()
    for statement in statements:
        _feed(digest, statement)
    return digest.hexdigest()


def _feed(digest: Any, node: Any) -> None:
    """Feed a node to a hash: kinds, fields and constants, no places; empty fields are left out.

    `ast.dump` is no use: what it writes of an empty field differs between versions of Python.
    """
    if isinstance(node, ast.AST):
        digest.update(f"({type(node).__name__}".encode())
        for name, value in ast.iter_fields(node):
            if value is not None and value != [] and name not in ("kind", "type_comment", "ctx"):
                digest.update(f" {name}=".encode())
                _feed(digest, value)
        digest.update(b")")
    elif isinstance(node, list):
        for each in node:
            _feed(digest, each)
            digest.update(b",")
    else:
        digest.update(f"{type(node).__name__}:{node!a}".encode())
