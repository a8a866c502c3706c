"""Settings of one run: flags over a configuration file over the data set over a recipe.

The recipe and the data set are found first, because the defaults of all other flags
come from them.  `parse` needs no MPI; ``config.yaml`` of a finished run, given to
``--config``, repeats it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from collectives import InvalidArgument
from trainer import dataset, mistakes, recipe, valid
from trainer.flags import Flags
from trainer.recipe import Recipe
from trainer.setting import described, spelled

FIRST = {"recipe": "goyal2017", "data": "digits", "device": "cpu"}  # and their defaults
OF_A_START = ("resume", "max_steps", "dry_run")  # not in the file that repeats a run
PROGRAM = "python -m trainer.run"
ABOUT = """Train ResNet-50 by a published recipe, on any number of ranks.  The defaults
below are those of --recipe %(recipe)s on --data %(data)s; in brackets is where a value
comes from: paper, code, derived from these, or chosen by us."""


@dataclass(frozen=True, kw_only=True)
class Settings(Flags):
    """Everything a run is determined by, but the number of ranks."""

    name: str  # of the recipe
    recipe: Recipe
    data: str
    yaml: str  # the resolved configuration, for --config
    batch_given: bool = field(compare=False)  # by a flag or file: not to be lowered


def parse(argv: Sequence[str]) -> Settings:
    """Read the command line and the files it names.

    Raises:
        InvalidArgument: an unknown flag, recipe or data set, or a bad value; the
            message says which, and the valid choices.
    """
    parser = make_parser(argv)
    parsed = read(parser, argv)
    given = parser.parse_args(files_first(argv), defaults=False)
    batch_given = "batch.per_worker" in given or "batch.phases" in given
    settings = _settings(parser, parsed, batch_given=batch_given)
    valid.check_words(settings, argv)
    return settings


def read(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return the values of flags and files, and the defaults of the others.

    Raises:
        InvalidArgument: an unknown flag or a bad value, of a flag or of a named file.
    """
    try:
        return parser.parse_args(files_first(argv))
    except ArgumentError as error:
        for path in _found(argv).config:
            check_file(parser, path)
        raise InvalidArgument(mistakes.explain(str(error), PROGRAM)) from error


def files_first(argv: Sequence[str]) -> list[str]:
    """Return the command line with its files before its flags, which override them."""
    of_files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    of_files.add_argument("--config", action="append", default=[])
    found, flags = of_files.parse_known_args(list(argv))
    return [*(f"--config={path}" for path in found.config), *flags]


def check_file(parser: ArgumentParser, path: str) -> None:
    """Refuse a file with a mistake, by its name.

    Raises:
        InvalidArgument: saying what is wrong with it.
    """
    try:
        parser.parse_args(["--config", path])
    except ArgumentError as error:
        problem = mistakes.explain(str(error), PROGRAM)
        raise InvalidArgument(f"--config {path}: {problem}") from error


def make_parser(argv: Sequence[str]) -> ArgumentParser:
    """Return the parser whose defaults are those of the recipe and data in ``argv``."""
    first = read_first(argv)
    name, data = first["recipe"], first["data"]
    base = recipe.load(name)
    base = recipe.vary(base, chosen=dataset.find(data).CHANGES)
    parser = ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [FLAG ...]",
        description=" ".join(ABOUT.split()) % first,
        exit_on_error=False,
        allow_abbrev=False,
    )
    _add_run_flags(parser, name, data)
    _add_recipe_flags(parser, base)
    return parser


def read_first(argv: Sequence[str]) -> dict[str, str]:
    """Find recipe, data set and device, in flags or else in files; check no value.

    Raises:
        InvalidArgument: a flag has no value, or a file cannot be read.
    """
    found = _found(argv)
    values: dict[str, Any] = dict(FIRST)
    for path in found.config:
        values.update(_read(path))
    return {name: getattr(found, name) or str(values[name]) for name in FIRST}


def _found(argv: Sequence[str]) -> argparse.Namespace:
    """Return what of `FIRST` is in flags, and the files that are named."""
    first = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    first.add_argument("--config", action="append", default=[])
    for name in FIRST:
        first.add_argument(f"--{name}")
    try:
        return first.parse_known_args(list(argv))[0]
    except argparse.ArgumentError as error:
        raise InvalidArgument(str(error)) from error


def may_use_gpu(argv: Sequence[str]) -> bool:
    """Say whether a run asks for GPUs; who cannot tell, leaves it to `parse`."""
    try:
        return read_first(argv)["device"] == "cuda"
    except InvalidArgument:
        return False


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise InvalidArgument(f"--config {path}: cannot be read: {problem}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(
            f"--config {path}: expected a YAML mapping such as the config.yaml of a "
            f"run, got {'nothing' if content is None else type(content).__name__}"
        )
    for prefix, kind in recipe.groups():
        group, first = content.get(prefix[:-1], {}), fields(kind)[0]
        if not isinstance(group, dict):
            raise InvalidArgument(
                f"--config {path}: {prefix[:-1]}: got {group!r}, expected a mapping "
                f"such as {{{first.name}: {recipe.show(first.default)}}}"
            )
    if "config" in content:
        raise InvalidArgument(f"--config {path}: config: a file names no other file")
    return content


def _add_run_flags(parser: ArgumentParser, name: str, data: str) -> None:
    add = parser.add_argument
    add("--config", action="config", help="YAML file of settings; flags override it")
    add("--recipe", type=str, default=name, help=" | ".join(recipe.names()))
    add("--data", type=str, default=data, help=" | ".join(dataset.names()))
    defaults = {"output": f"runs/{name}-{data}".replace(":", "-")}
    for entry in fields(Flags):
        add(
            spelled(entry.name),
            help=described(entry),
            default=defaults.get(entry.name, entry.default),
            **{"action": "store_true"} if entry.type is bool else {"type": entry.type},
        )


def _add_recipe_flags(parser: ArgumentParser, base: Recipe) -> None:
    defaults, entries = dict(recipe.flatten(base)), recipe.entries()
    for prefix, group in recipe.groups():
        title = (group.__doc__ or "").splitlines()[0].rstrip(".")
        shown = parser.add_argument_group(title)
        for path in (p for p in entries if p.rpartition(".")[0] == prefix[:-1]):
            shown.add_argument(
                recipe.flag(path),
                type=entries[path].type,
                default=defaults[path],
                help=f"{described(entries[path])} [{base.sources[path]}]",
            )


def _settings(
    parser: ArgumentParser, parsed: Namespace, *, batch_given: bool
) -> Settings:
    base = recipe.load(parsed.recipe)
    base = recipe.vary(base, chosen=dataset.find(parsed.data).CHANGES)
    dataset.check_root(parsed.data, parsed.data_dir)
    given = {}
    for path, value in recipe.flatten(base):
        new = _tuples(parsed[path.removeprefix("reduction.")])
        if new != value:
            given[path] = new
    settings = Settings(
        name=parsed.recipe,
        recipe=recipe.vary(base, given=given),
        data=parsed.data,
        yaml=parser.dump(_without(parsed, OF_A_START)),
        batch_given=batch_given,
        **{entry.name: parsed[entry.name] for entry in fields(Flags)},
    )
    valid.check(settings)
    return settings


def _without(parsed: Namespace, names: Sequence[str]) -> Namespace:
    """Return settings but these."""
    kept = parsed.clone()
    for name in names:
        del kept[name]
    return kept


def _tuples(value: Any) -> Any:
    """Return lists as tuples, at any depth: settings are compared and stored."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
