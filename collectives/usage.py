"""Usage: command lines whose mistakes are told in one line, by one rank for all."""

import argparse
from typing import NoReturn

from .errors import InvalidArgument


class Parser(argparse.ArgumentParser):
    """A parser that raises where others print their usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Raise the message, which may be told once, whatever the number of ranks.

        Raises:
            InvalidArgument: always.
        """
        raise InvalidArgument(f"{message} ({self.prog} --help tells more)")
