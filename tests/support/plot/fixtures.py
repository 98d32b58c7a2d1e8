"""One finished run, and figures of it by command."""

import pytest
from click.testing import CliRunner

from epilstm.outputs.plot.command import plot
from support.report.finished_run import write_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Folders of a run by name; not to be changed."""
    return write_run(tmp_path_factory.mktemp("plotted-run"))


@pytest.fixture
def draw(tmp_path):
    """Call ``epilstm plot`` with arguments and a file's name; returns the file."""

    def called(name, *arguments):
        path = tmp_path / name
        outcome = CliRunner().invoke(plot, [*map(str, arguments), "--to", str(path)], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return path

    return called
