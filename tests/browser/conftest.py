"""The page of a real run: `pytest tests/browser --page=runs/quickstart/report.html`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", help="report.html of a finished run, to be looked at as well")
