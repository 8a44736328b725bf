"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """What the user gave is wrong: one sentence saying what, where, and what would be right.

    The command-line programs print it alone on stderr and exit with code 2; anything else that
    escapes is a defect of this package.
    """
