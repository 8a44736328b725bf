"""What ends a run before its end."""


class InputError(ValueError):
    """What the user gave is wrong: one sentence saying what, where, and what would be right.

    The command-line programs print it alone on stderr and exit with code 2; anything else that
    escapes is a defect of this package.
    """


class DivergenceError(ArithmeticError):
    """A loss or gradient became NaN or infinite: one sentence that names the step and the loss."""


class LostProcessError(Exception):
    """Another process of the run is gone: one sentence."""


class StoppedError(Exception):
    """A signal asked the run to leave; what it had reached is saved. Holds the signal's name."""
