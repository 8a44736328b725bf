"""xdistil: staged distillation of large multilingual encoders into tiny, fast students."""

from typing import TYPE_CHECKING

from xdistil.config import Experiment
from xdistil.errors import InputError

if TYPE_CHECKING:
    from xdistil.deploy.predictor import Classifier, Tagger, load
    from xdistil.experiment.run import run

__all__ = ["Classifier", "Experiment", "InputError", "Tagger", "load", "run"]


def __getattr__(name: str):
    # A command line with a mistake, or a look at a config, should not wait for JAX.
    if name == "run":
        from xdistil.experiment.run import run

        return run
    if name in ("Classifier", "Tagger", "load"):
        from xdistil.deploy import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
