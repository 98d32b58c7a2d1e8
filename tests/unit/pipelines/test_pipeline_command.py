"""``epilstm pipeline`` is found by its entry point, answers at once, and says what to install."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = {"kfp", "kfp_server_api", "kubernetes", "numpy", "torch"}


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def without(module: str) -> str:
    """Beginning of a program in which a module is not installed."""
    return f"import sys\nsys.modules[{module!r}] = None\n"


def test_the_command_is_an_entry_point():
    [point] = entry_points(group="epilstm.commands", name="pipeline")
    assert point.value == "epilstm.pipelines.command:pipeline"


def test_the_help_of_epilstm_lists_it():
    result = python("from epilstm.cli import main\nmain(['--help'])")
    assert "pipeline Compile the Kubeflow pipelines" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], *(["pipeline", *words, "--help"] for words in ([], ["compile"], ["local"]))]
)
def test_help_loads_nothing_heavy(arguments):
    result = python(
        "import atexit, sys\nfrom epilstm.cli import main\n"
        f"atexit.register(lambda: print([name for name in {sorted(HEAVY)!r} if name in sys.modules]))\n"
        f"main({arguments!r})"
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path):
    result = python(
        f"{without('kfp')}from epilstm.cli import main\n"
        f"main(['pipeline', 'compile', '--pipeline', 'simulation', '-o', {str(tmp_path)!r}])"
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: epilstm pipeline: the package kfp is missing; install epilstm's extras [pipeline]: "
        "pip install '.[pipeline]' in its clone, or 'WHEEL[pipeline]'\n"
    )


def test_the_package_works_without_the_pipelines():
    result = python(f"{without('kfp')}{without('kubernetes')}from epilstm.cli import main\nmain(['params', 'train'])")
    assert result.returncode == 0


def test_an_unknown_subcommand_is_one_line():
    result = python("from epilstm.cli import main\nmain(['pipeline', 'complie'])")
    assert result.returncode == 2
    assert result.stderr.startswith("error: No such command 'complie'")
    assert result.stderr.count("\n") == 1
