"""Compiles quickly in this folder: what is tested does not depend on the compiler's effort."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _compile_quickly(compile_quickly: None) -> None:
    """For every module here."""
