"""One finished run, and the page about it."""

import shutil

import pytest

from epilstm.params import ReportParams
from epilstm.runtime.runner import StepContext
from support.made_once import made_once
from support.report.finished_run import paths_of_run, write_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Inputs of the report by port name; not to be changed."""
    return paths_of_run(made_once(tmp_path_factory, "finished-run", write_run))


@pytest.fixture
def own_run(finished_run, tmp_path):
    """A copy of the run that a test may spoil."""
    root = next(iter(finished_run.values())).parent
    shutil.copytree(root, tmp_path / "run")
    return {name: tmp_path / "run" / path.name for name, path in finished_run.items()}


def write_report(inputs, path, **params):
    """Run the step without the command line."""
    from epilstm.steps.report.command import run

    run(ReportParams(**params), StepContext(inputs, {"report": path}, {}))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def report_text(finished_run, tmp_path_factory):
    """The page, with a title that tries to break out."""
    title = "<script>alert('x')</script> & co"

    def make(folder):
        write_report(finished_run, folder / "report.html", title=title)

    return (made_once(tmp_path_factory, "report", make) / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def html_page(report_text):
    """The same, taken apart."""
    from support.report.html_page import Page

    return Page(report_text)
