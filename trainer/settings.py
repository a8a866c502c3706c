"""Settings of one run: flags over a configuration file over the data set over a recipe.

The recipe and the data set are found first, because the defaults of all other flags
come from them.  `parse` needs no MPI; ``config.yaml`` of a finished run, given to
``--config``, repeats it.
"""

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from collectives import InvalidArgument
from trainer import adapter, console, dataset, recipe, valid
from trainer.recipe import Recipe

FIRST = {"recipe": "goyal2017", "data": "digits", "device": "cpu"}  # and their defaults


@dataclass(frozen=True)
class Settings:
    """Everything a run is determined by, but the number of ranks."""

    name: str  # of the recipe
    recipe: Recipe
    data: str
    data_dir: str | None
    loader: str
    data_errors: str
    check_images: int
    device: str
    share_gpu: bool
    gpu_transport: str
    overlap: str
    channels_last: bool
    compile: bool
    output: str
    resume: str | None
    algorithm: str
    wire: str | None
    first_bucket_bytes: int
    bucket_bytes: int
    seed: int
    workers: int
    virtual_workers: int | None
    max_steps: int | None
    log_every: int
    log: str | None
    progress: str
    trace: str | None
    checkpoint_every: int
    keep: int
    dry_run: bool
    yaml: str  # the resolved configuration, for --config
    batch_given: bool = field(compare=False)  # by a flag or file: not to be lowered


def parse(argv: Sequence[str]) -> Settings:
    """Read the command line and the files it names.

    Raises:
        InvalidArgument: an unknown flag, recipe or data set, or a bad value; the
            message says which, and the valid choices.
    """
    parser = make_parser(argv)
    try:
        parsed = parser.parse_args(list(argv))
        given = parser.parse_args(list(argv), defaults=False)
    except ArgumentError as error:
        raise InvalidArgument(_explain(parser, str(error))) from error
    batch_given = "batch.per_worker" in given or "batch.phases" in given
    return _settings(parser, parsed, batch_given=batch_given)


def make_parser(argv: Sequence[str]) -> ArgumentParser:
    """Return the parser whose defaults are those of the recipe and data in ``argv``."""
    first = read_first(argv)
    name, data = first["recipe"], first["data"]
    base = recipe.load(name)
    base = recipe.vary(base, chosen=dataset.find(data).CHANGES)
    parser = ArgumentParser(
        prog="python -m trainer.run",
        description="Train ResNet-50 by a published recipe, on any number of ranks.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    _add_run_flags(parser, name, data, base)
    _add_recipe_flags(parser, base)
    return parser


def read_first(argv: Sequence[str]) -> dict[str, str]:
    """Find recipe, data set and device, in flags or else in files; check no value.

    Raises:
        InvalidArgument: a flag has no value, or a file cannot be read.
    """
    first = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    first.add_argument("--config", action="append", default=[])
    for name in FIRST:
        first.add_argument(f"--{name}")
    try:
        found, _ = first.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise InvalidArgument(str(error)) from error
    values: dict[str, Any] = dict(FIRST)
    for path in found.config:
        values.update(_read(path))
    return {name: getattr(found, name) or str(values[name]) for name in FIRST}


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
    except (OSError, yaml.YAMLError) as error:
        raise InvalidArgument(f"--config {path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArgument(
            f"--config {path}: expected a YAML mapping such as the config.yaml of a "
            f"run, got {type(content).__name__}"
        )
    return content


def _add_run_flags(parser: ArgumentParser, name: str, data: str, base: Recipe) -> None:
    add, reduction = parser.add_argument, base.reduction
    add("--config", action="config", help="YAML file of settings; flags override it")
    add("--recipe", type=str, default=name, help=" | ".join(recipe.names()))
    add("--data", type=str, default=data, help=" | ".join(dataset.names()))
    add("--data-dir", type=str | None, help="directory of the images")
    add("--loader", type=str, default="torch", help=" | ".join(valid.LOADERS))
    add(
        "--data-errors",
        type=str,
        default="refuse",
        help=f"what to do with unreadable images: {' | '.join(dataset.ERRORS)}",
    )
    add(
        "--check-images",
        type=int,
        default=1024,
        help="images that each rank decodes before the run",
    )
    add("--device", type=str, default="cpu", help=" | ".join(valid.DEVICES))
    add("--share-gpu", action="store_true", help="let ranks of a node have one GPU")
    add(
        "--gpu-transport",
        type=str,
        default="auto",
        help=" | ".join(valid.GPU_TRANSPORTS),
    )
    add("--overlap", type=str, default="staged", help=" | ".join(valid.OVERLAPS))
    add("--channels-last", action="store_true", help="a pixel's channels lie together")
    add("--compile", action="store_true", help="have torch compile the model")
    add("--output", type=str, default=f"runs/{name}-{data}", help="directory to write")
    add("--resume", type=str | None, help="a checkpoint, or 'auto': the output's last")
    add(
        "--algorithm",
        type=str,
        default=reduction.algorithm,
        help="of the gradients' allreduce",
    )
    small, switch = reduction.small_algorithm, reduction.switch_bytes
    add("--small-algorithm", type=str, default=small, help="of buckets that are small")
    add("--switch-bytes", type=int, default=switch, help="smaller ones are; 0: none")
    add(
        "--wire",
        type=str | None,
        default=reduction.wire,
        help=f"dtype of what is sent: {' | '.join(valid.WIRES)}",
    )
    first, others = reduction.first_bucket_bytes, reduction.bucket_bytes
    add("--first-bucket-bytes", type=int, default=first, help="first bucket's size")
    add("--bucket-bytes", type=int, default=others, help="other buckets' size")
    add("--seed", type=int, default=1, help="of weights, order and augmentation")
    add("--workers", type=int, default=0, help="loading processes per rank")
    add(
        "--virtual-workers",
        type=int | None,
        help="train as so many ranks would, whatever their number",
    )
    add(
        "--max-steps",
        type=int | None,
        help="stop after so many updates of this run, not counting a resumed one's",
    )
    add("--log-every", type=int, default=10, help="updates between two lines")
    add(
        "--log",
        type=str | None,
        help=f"other programs' logs, some of {','.join(adapter.names())}",
    )
    add("--progress", type=str, default="lines", help=" | ".join(console.PROGRESS))
    add(
        "--trace", type=str | None, help="file for ui.perfetto.dev: when ranks did what"
    )
    add("--checkpoint-every", type=int, default=5, help="epochs between checkpoints")
    add("--keep", type=int, default=2, help="checkpoints to keep")
    add("--dry-run", action="store_true", help="print the plan and stop")


def _add_recipe_flags(parser: ArgumentParser, base: Recipe) -> None:
    for path, value in recipe.flatten(base):
        *group, leaf = path.split(".")
        if group == ["reduction"]:
            continue  # flags of the run
        owner = getattr(base, group[0]) if group else base
        source = base.sources.get(path, "chosen")
        parser.add_argument(
            f"--{path}",
            type=get_type_hints(type(owner))[leaf],
            default=value,
            help=f"recipe's value: {source}",
        )


def _explain(parser: ArgumentParser, message: str) -> str:
    """Add the valid flags, or the nearest, where one is unknown."""
    known = [
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--print_shtab"
    ]
    if "unrecognized" not in message:
        return " ".join(message.split())
    flag = next((w for w in message.split() if w.startswith("--")), "")
    flag = flag.split("=")[0]
    fields = [name for name in known if name.split(".")[-1] == flag[2:]]
    near = fields or difflib.get_close_matches(flag, known, n=1)
    hint = f"; perhaps you meant {near[0]}" if near else ""
    return f"{message}{hint}; the flags are {', '.join(known)}"


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
    chosen = recipe.vary(base, given=given)
    settings = Settings(
        name=parsed.recipe,
        recipe=chosen,
        data=parsed.data,
        yaml=parser.dump(parsed),
        batch_given=batch_given,
        **{key: parsed[key] for key in _PLAIN},
    )
    valid.check(settings)
    return settings


def _tuples(value: Any) -> Any:
    """Return lists as tuples, at any depth: settings are compared and stored."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


_PLAIN = (
    "data_dir",
    "loader",
    "data_errors",
    "check_images",
    "device",
    "share_gpu",
    "gpu_transport",
    "overlap",
    "channels_last",
    "compile",
    "output",
    "resume",
    "algorithm",
    "wire",
    "first_bucket_bytes",
    "bucket_bytes",
    "seed",
    "workers",
    "virtual_workers",
    "max_steps",
    "log_every",
    "log",
    "progress",
    "trace",
    "checkpoint_every",
    "keep",
    "dry_run",
)
