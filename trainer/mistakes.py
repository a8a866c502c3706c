"""What is wrong with a command line or a configuration file, in one line."""

import difflib
import re
import types
from collections.abc import Container, Iterable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from trainer import recipe, valid
from trainer.flags import Flags

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
    kinds, message = types_of_flags(), " ".join(message.split())
    if wrong := WRONG_TYPE.search(message):
        flag = flag_of(wrong[1], kinds)
        return f"{flag}: got {wrong[2]}, expected {expected(kinds[flag])}"
    if key := UNKNOWN_KEY.search(message):
        return (
            f"no setting {key[1]!r}{nearest(key[1], kinds)}; {program} --help lists all"
        )
    if "unrecognized" not in message:
        return message
    word = next((w for w in message.split() if w.startswith("--")), "").split("=")[0]
    return f"{message}{nearest(word[2:], kinds)}; {program} --help lists all flags"


def types_of_flags() -> dict[str, Any]:
    """Return the type of each flag's value."""
    of_run = get_type_hints(Flags)
    kinds: dict[str, Any] = dict.fromkeys(("--config", "--recipe", "--data"), str)
    kinds |= {valid.flag(entry.name): of_run[entry.name] for entry in fields(Flags)}
    for prefix, group in recipe.groups():
        hints = get_type_hints(group)
        for entry in fields(group):
            if entry.metadata:
                kinds[recipe.flag(f"{prefix}{entry.name}")] = hints[entry.name]
    return kinds


def flag_of(key: str, kinds: Container[str]) -> str:
    """Return the flag of a key of the parser.

    >>> flag_of("data_dir", ["--data-dir"]), flag_of("loss_scale", ["--loss_scale"])
    ('--data-dir', '--loss_scale')
    """
    return f"--{key}" if f"--{key}" in kinds else valid.flag(key)


def expected(kind: Any) -> str:
    """Say what a value of a type is.

    >>> expected(int | None), expected(tuple[tuple[float, int], ...])
    ('a whole number or null', '[[a number, a whole number], ...]')
    """
    parts = [expected(part) for part in get_args(kind)]
    if isinstance(kind, types.UnionType):
        return " or ".join(parts)
    return f"[{', '.join(parts)}]" if parts else WORDS[kind]


def nearest(name: str, kinds: Iterable[str]) -> str:
    """Name the flags that may have been meant, if any look like it."""
    last = name.split(".")[-1].replace("_", "-")
    ends = [flag for flag in kinds if re.split(r"\.|--", flag)[-1] in (name, last)]
    near = ends or difflib.get_close_matches(f"--{name}", kinds, n=1, cutoff=0.7)
    return f"; perhaps you meant {' or '.join(near)}" if near else ""
