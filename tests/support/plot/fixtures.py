"""One finished run, and figures of it by command."""

import pytest
from click.testing import CliRunner

from epilstm.outputs.plot.command import plot
from support.made_once import made_once
from support.report.finished_run import paths_of_run, write_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Folders of a run by name; not to be changed."""
    return paths_of_run(made_once(tmp_path_factory, "finished-run", write_run))


@pytest.fixture
def draw(tmp_path):
    """Call ``epilstm plot`` with arguments and a file's name; returns the file."""

    def called(name, *arguments):
        path = tmp_path / name
        outcome = CliRunner().invoke(plot, [*map(str, arguments), "--to", str(path)], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return path

    return called
