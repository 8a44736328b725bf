"""The real encoder and the real data: `pytest tests/real --model=FOLDER --data=FOLDER`."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--model", help="HF folder of the MiniLM encoder (6 layers of 384)")
    parser.addoption("--data", help="folder of the task folders wikiann5, manylang, sst2, ...")


def _folder(request: pytest.FixtureRequest, option: str, example: str) -> Path:
    value = request.config.getoption(option)
    if not value or not Path(value, example).exists():
        pytest.fail(f"{option} must name a folder that holds {example}, not {value!r}.", False)
    return Path(value)


@pytest.fixture(scope="session")
def model_folder(request: pytest.FixtureRequest) -> Path:
    """The encoder's HF folder."""
    return _folder(request, "--model", "config.json")


@pytest.fixture(scope="session")
def data_folder(request: pytest.FixtureRequest) -> Path:
    """The folder that holds the five task folders."""
    return _folder(request, "--data", "wikiann5")
