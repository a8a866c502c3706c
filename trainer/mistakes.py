"""What is wrong with a command line or a configuration file, in one line."""

import difflib
import re
import types
from collections.abc import Container, Iterable
from typing import Any, get_args

from trainer import flags
from trainer.setting import spelled

FIRST = ("--config", "--recipe", "--data", "--print_config")  # no settings
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    types.NoneType: "null",
    Ellipsis: "...",
}
WRONG_TYPE = re.compile(r'Parser key "([^"]+)": .* value: (.*)')
UNKNOWN_KEY = re.compile(r"Option '([^']+)' is not accepted")


def explain(message: str, program: str) -> str:
    """Return what the parser of settings said, with the valid type or nearest flags."""
    known, message = flags.every(), " ".join(message.split())
    if wrong := WRONG_TYPE.search(message):
        flag = flag_of(wrong[1], known)
        kind = known[flag].type if flag in known else str
        return f"{flag}: got {wrong[2]}, expected {expected(kind)}"
    if key := UNKNOWN_KEY.search(message):
        return (
            f"no setting {key[1]!r}{nearest(key[1], known)}; {program} --help lists all"
        )
    if "unrecognized" not in message:
        return message
    word = next((w for w in message.split() if w.startswith("--")), "").split("=")[0]
    return f"{message}{nearest(word[2:], known)}; {program} --help lists all flags"


def flag_of(key: str, known: Container[str]) -> str:
    """Return the flag of a key of the parser.

    >>> flag_of("data_dir", ["--data-dir"]), flag_of("loss_scale", ["--loss_scale"])
    ('--data-dir', '--loss_scale')
    """
    return f"--{key}" if f"--{key}" in known else spelled(key)


def expected(kind: Any) -> str:
    """Say what a value of a type is.

    >>> expected(int | None), expected(tuple[tuple[float, int], ...])
    ('a whole number or null', '[[a number, a whole number], ...]')
    """
    parts = [expected(part) for part in get_args(kind)]
    if isinstance(kind, types.UnionType):
        return " or ".join(parts)
    return f"[{', '.join(parts)}]" if parts else WORDS[kind]


def nearest(name: str, settings: Iterable[str]) -> str:
    """Name the flags that may have been meant, if any look like it."""
    known = (*FIRST, *settings)
    last = name.split(".")[-1].replace("_", "-")
    ends = [flag for flag in known if re.split(r"\.|--", flag)[-1] in (name, last)]
    near = ends or difflib.get_close_matches(f"--{name}", known, n=1, cutoff=0.7)
    return f"; perhaps you meant {' or '.join(near)}" if near else ""
