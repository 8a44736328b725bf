"""Options of a command, whose mistakes are sentences."""

import argparse
import difflib
from typing import NoReturn

from xdistil.errors import InputError


class Parser(argparse.ArgumentParser):
    """Takes whole names of options only; its mistakes are InputErrors."""

    def __init__(self, program: str, description: str) -> None:
        """`program` names the command in its help and in messages."""
        super().__init__(prog=program, description=description, allow_abbrev=False)

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """The options' values.

        Raises:
            InputError: an unknown option, with the nearest one, or a value that it cannot have.
        """
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = sorted(self._option_string_actions.keys() - {"-h"})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
            raise InputError(f"{name!r} is no option of {self.prog} ({hint}).")
        return options

    def error(self, message: str) -> NoReturn:
        """Raises argparse's own complaints as ours."""
        raise InputError(f"{message[0].upper()}{message[1:]}.")
