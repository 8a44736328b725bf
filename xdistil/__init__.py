"""xdistil: staged distillation of large multilingual encoders into tiny, fast students."""

import importlib
from typing import TYPE_CHECKING, Any

from xdistil.config import Experiment
from xdistil.errors import InputError

if TYPE_CHECKING:
    from xdistil.deploy.predictor import Classifier, Tagger, load
    from xdistil.experiment.run import run
    from xdistil.teacher.signal_file import SignalWriter

__all__ = ["Classifier", "Experiment", "InputError", "SignalWriter", "Tagger", "load", "run"]

# Imported at first use: a mistake in a command line is reported without waiting for JAX, and
# SignalWriter works where JAX is not installed.
_MODULES = {
    "Classifier": "xdistil.deploy.predictor",
    "SignalWriter": "xdistil.teacher.signal_file",
    "Tagger": "xdistil.deploy.predictor",
    "load": "xdistil.deploy.predictor",
    "run": "xdistil.experiment.run",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
