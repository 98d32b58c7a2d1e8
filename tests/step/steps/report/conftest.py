"""Fixtures of the tests in this folder."""

from support.report.fixtures import finished_run, html_page, own_run, report_text  # noqa: F401
