"""A parser of command-line options that reports mistakes as InputErrors."""

import argparse
import difflib
from typing import Any, NoReturn

from xdistil.errors import InputError
from xdistil.runtime.process import write_out


class Parser(argparse.ArgumentParser):
    """An argparse parser that takes no abbreviated options and raises InputError."""

    def __init__(self, program: str, description: str) -> None:
        """`program` is the name of the command in its help and messages."""
        super().__init__(prog=program, description=description, allow_abbrev=False)

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """The values of the options.

        Raises:
            InputError: an option is unknown, or its value is invalid.
        """
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = sorted(self._option_string_actions.keys() - {"-h"})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
            raise InputError(f"{name!r} is not an option of {self.prog} ({hint}).")
        return options

    def print_help(self, file: Any = None) -> None:
        """Prints the help, also where the reader has closed the pipe."""
        write_out(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raises argparse's errors as InputErrors."""
        raise InputError(f"{message[0].upper()}{message[1:]}.")
