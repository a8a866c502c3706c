"""A setting: a field of a dataclass that knows what it means and what it may be.

`setting` makes the field, and is all that is written of it: the help text of its flag
and the refusal of a wrong value come from there.
"""

from collections.abc import Callable, Iterable
from dataclasses import Field, field
from math import isfinite
from typing import Any

from collectives import InvalidArgument

WITHIN: dict[str, Callable[[float], bool]] = {
    "above 0": lambda x: x > 0,
    "at least 0": lambda x: x >= 0,
    "at least 0 and below 2**63": lambda x: 0 <= x < 1 << 63,
    "at least 1": lambda x: x >= 1,
    "at least 0 and below 1": lambda x: 0 <= x < 1,
    "at least 0 and at most 1": lambda x: 0 <= x <= 1,
    "above 0 and at most 1": lambda x: 0 < x <= 1,
}


def setting(
    default: Any, meaning: str, *, within: str = "", choices: Iterable[str] = ()
) -> Any:
    """Return a field of a dataclass, with a half sentence that tells what it is.

    ``within``: a key of `WITHIN`, of a number.  ``choices``: the valid words.  None is
    valid, too, where it is the default.
    """
    about = {"meaning": meaning, "within": within, "choices": tuple(choices)}
    return field(default=default, metadata=about)


def spelled(name: str) -> str:
    """Return the flag of a setting that has no group.

    >>> spelled("data_dir")
    '--data-dir'
    """
    return f"--{name.replace('_', '-')}"


def described(entry: Field) -> str:
    """Return what a user has to know of a setting, in a line."""
    choices, within = entry.metadata["choices"], entry.metadata["within"]
    more = " | ".join(choices) or within
    return f"{entry.metadata['meaning']}{'; ' * bool(more)}{more}"


def check(flag: str, value: Any, entry: Field) -> None:
    """Refuse a value that the setting ``entry`` cannot have.

    Raises:
        InvalidArgument: naming the flag, the value got, and the valid ones.
    """
    if value is None and entry.default is None:
        return
    if value is None:
        raise InvalidArgument(f"{flag}: got null, expected a value")
    if isinstance(entry.default, bool) and not isinstance(value, bool):
        raise InvalidArgument(f"{flag}: got {value!r}, expected true or false")
    words, within = entry.metadata["choices"], entry.metadata["within"]
    if words and value not in words:
        null = ", or null" if entry.default is None else ""
        raise InvalidArgument(
            f"{flag}: got {value!r}, expected one of {', '.join(words)}{null}"
        )
    finite = isinstance(value, int) or not within or isfinite(value)
    if within and not (finite and WITHIN[within](value)):
        shown = value if isinstance(value, int) else f"{value:.7g}"
        raise InvalidArgument(f"{flag}: got {shown}, expected {within}")
