"""What counts as a change of a step's code, tried on a copy of the package."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import epilstm
from epilstm.runtime.code_fingerprint import WITHOUT_VALUES, fingerprint_of, step_fingerprint, step_fingerprints
from epilstm.runtime.step_table import STEPS
from support.nonempty import nonempty

PACKAGE = Path(epilstm.__file__).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    folder = tmp_path / "epilstm"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "compiled"))
    return folder


def digests(package: Path) -> dict[str, str]:
    return {step: found.sha256 for step, found in step_fingerprints(package).items()}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@cache
def digests_unchanged() -> dict[str, str]:
    """Those of the package, and hence of a copy of it."""
    return digests(PACKAGE)


def changed_by(package: Path, path: str, old: str, new: str, *, before: dict[str, str] | None = None) -> set[str]:
    """Steps whose code is another one after a change, of a copy that was as the package is or had digests `before`."""
    before = before or digests_unchanged()
    replace(package / path, old, new)
    after = digests(package)
    return {step for step in STEPS if before[step] != after[step]}


def test_a_copy_elsewhere_has_the_same_fingerprint(package: Path):
    assert digests(package) == {step: step_fingerprint(step).sha256 for step in STEPS}


def test_comments_docstrings_and_formatting_do_not_count(package: Path):
    before = digests_unchanged()
    # A quarter of the files, of every package: taking all of them apart takes seconds.
    for path in nonempty(sorted(package.rglob("*.py"))[::4]):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                node.body[0] = ast.Expr(ast.Constant("Something else."))
        path.write_text(f"# A comment.\n{ast.unparse(tree)}\n", encoding="utf-8")
    assert digests(package) == before


def test_a_changed_function_in_a_shared_module_counts_for_the_steps_that_import_it(package: Path):
    changed = changed_by(package, "tracks/transforms.py", "np.arcsinh", "np.log1p")
    assert {"ingest", "preprocess", "export", "evaluate", "monitor"} & changed
    assert "preprocess" in changed
    assert "train" not in changed  # it is given the standardised matrix
    assert changed == {
        name for name, code in step_fingerprints(package).items() if "epilstm.tracks.transforms" in code.modules
    }


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("store/arrays.py", {"ingest", "preprocess", "train", "embed", "evaluate"}),
        ("store/shards.py", {"train", "embed"}),
        ("store/parts.py", {"preprocess", "embed"}),
        ("store/manifests.py", {"ingest", "preprocess", "train", "embed", "evaluate", "monitor"}),
        ("genome/assembly.py", {"ingest", "preprocess", "embed", "evaluate"}),
        ("genome/gtf.py", {"evaluate"}),
        ("store/evaluation_results.py", {"evaluate", "report", "promote"}),
    ],
)
def test_a_changed_shared_module_concerns_the_steps_that_run_through_it(package: Path, module: str, steps: set[str]):
    before = digests_unchanged()
    with open(package / module, "a", encoding="utf-8") as stream:
        stream.write("\nCHANGED = True\n")
    after = digests(package)
    assert steps <= {step for step in STEPS if before[step] != after[step]}


def test_of_a_module_for_every_step_only_what_is_named_counts(package: Path):
    assert {"ingest", "train"} <= changed_by(package, "files/outputs.py", "sort_keys=True, sep", "sort_keys=False, sep")
    now = digests(package)
    assert (
        changed_by(package, "files/outputs.py", "def written_whole(", "def written_whole(new: int, ", before=now)
        == set()
    )


def test_a_module_imported_within_a_function_counts(package: Path):
    (package / "late.py").write_text("VALUE = 1\n")
    command = package / "steps" / "train" / "command.py"
    command.write_text(
        command.read_text() + "\n\ndef late() -> int:\n    from epilstm import late\n\n    return late.VALUE\n"
    )
    assert changed_by(package, "late.py", "1", "2", before=digests(package)) == {"train"}


@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        ('"regions/no-blacklist.bed"', '"regions/blacklist.bed"', {"ingest"}),
        ('Field(1.0, description="largest gradient norm")', "Field(2.0)", {"train"}),
        ('1e-4, description="largest difference', '1e-5, description="largest difference', {"export"}),
        ('Field(2000, description="bins embedded', 'Field(1000, description="bins embedded', {"embed"}),
        # The gate evaluates the champion with the params of the evaluation.
        ('"data/simulated/labels"', '"data/labels"', {"evaluate", "promote"}),
        ('"Epi-LSTM report"', '"Report"', {"report"}),
        ('0.1,\n        description="average precision', '0.2,\n        description="average precision', {"promote"}),
        ('100_000, description="bins compared', '50_000, description="bins compared', {"monitor"}),
    ],
)
def test_a_default_counts_for_the_step_of_its_section_alone(package: Path, old: str, new: str, steps: set[str]):
    assert changed_by(package, "params.py", old, new) == steps


def test_the_description_of_a_param_does_not_count(package: Path):
    assert changed_by(package, "params.py", "largest gradient norm", "the largest norm of a gradient") == set()


def test_a_validator_counts_for_the_steps_whose_sections_use_it(package: Path):
    assert changed_by(package, "params.py", "both = sorted(", "both = list(") == {"preprocess", "train"}


def test_what_a_section_is_built_from_counts(package: Path):
    changed = changed_by(
        package, "params.py", 'Codec = Literal["none", "lz4", "zstd"]', 'Codec = Literal["none", "lz4"]'
    )
    assert {"ingest", "preprocess", "embed"} <= changed


def test_a_release_and_a_new_entry_for_another_step_are_no_change_of_code(package: Path):
    assert changed_by(package, "__init__.py", '__version__ = "', '__version__ = "9') == set()
    assert (
        changed_by(package, "errors.py", "class DataError", "class NewError(Exception):\n    pass\n\n\nclass DataError")
        == set()
    )
    assert changed_by(package, "runtime/step_table.py", "Train the LSTM autoencoder.", "Train it.") == set()


@pytest.mark.parametrize("path", ["console.py", "runtime/telemetry/live.py"])
def test_what_reports_on_a_run_does_not_count(package: Path, path: str):
    before = digests_unchanged()
    with open(package / path, "a", encoding="utf-8") as stream:
        stream.write("\nCHANGED = True\n")
    assert digests(package) == before


def test_a_data_file_of_the_package_counts_for_the_steps_that_read_it(package: Path):
    assert changed_by(package, "figures/style.css", "{", "{ ") == {"report", "monitor"}
    before = digests(package)
    assert changed_by(package, "steps/monitor/drift.html.jinja", "<", " <", before=before) == {"monitor"}
    before = digests(package)
    changed = changed_by(package, "genome/assemblies/hg19.chrom.sizes", "249250621", "249250622", before=before)
    assert "ingest" in changed
    assert changed == {
        name for name, code in step_fingerprints(package).items() if "epilstm.genome.assembly" in code.modules
    }


def test_every_data_file_of_the_package_counts_for_whatever_reads_it(package: Path):
    readers = (
        *(
            "epilstm.genome.assembly",
            "epilstm.steps.report.page",
            "epilstm.steps.monitor.page",
            "epilstm.tracks.catalogue",
        ),
        "epilstm.project.initialising",
    )
    found = {name for reader in readers for name in fingerprint_of(reader).modules if not name.startswith("epilstm")}
    there = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert found == {name for name in there if not name.endswith((".py", "py.typed"))}


@pytest.mark.parametrize("step", ["ingest", "embed"])
def test_whatever_python_loads_for_a_step_is_in_its_closure(step: str):
    target = STEPS[step].target.partition(":")[0]
    code = "import sys, epilstm.runtime.runner; before = set(sys.modules); import {}; print(*set(sys.modules) - before)"
    completed = subprocess.run(
        [sys.executable, "-c", code.format(target)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    loaded = {name for name in completed if name.split(".")[0] == "epilstm" and not name.startswith(WITHOUT_VALUES)}
    assert f"epilstm.steps.{step}.command" in loaded
    assert loaded <= set(step_fingerprint(step).modules)
