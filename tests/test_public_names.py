"""What `import xdistil` offers."""

import subprocess
import sys

import pytest

import xdistil
from xdistil.config import Experiment
from xdistil.deploy.predictor import Classifier, Tagger, load
from xdistil.errors import InputError
from xdistil.experiment.run import run
from xdistil.teacher.signal_file import SignalWriter


def test_the_public_names_are_those_of_their_modules():
    expected = [Classifier, Experiment, InputError, SignalWriter, Tagger, load, run]
    assert [getattr(xdistil, name) for name in xdistil.__all__] == expected
    with pytest.raises(AttributeError, match="'xdistil' has no attribute 'lode'"):
        xdistil.lode  # noqa: B018


@pytest.mark.parametrize("name", sorted(set(xdistil.__all__) - {"run"}))
def test_all_but_training_is_imported_without_jax(name):
    code = f"import sys; sys.modules['jax'] = None; from xdistil import {name}; print({name})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert name in found.stdout
