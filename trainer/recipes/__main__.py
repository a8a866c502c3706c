"""Show recipes: all in a table, or one with the source of each of its values.

    python -m trainer.recipes
    python -m trainer.recipes mikami2018_exp2
    python -m trainer.recipes mikami2018_exp2 --workers 2176

With ``--workers`` the plan for so many ranks follows, and the ranks need not exist.
"""

import signal
import sys

from collectives import CollectiveError, InvalidArgument, usage
from trainer import course, outlook, phases, recipe
from trainer.recipe import IMAGENET, Recipe

KINDS = {"rmsprop_warmup": "RMSprop -> SGD", "lars": "LARS", "lamb": "LAMB"}
COLUMNS = (22, 16, 11, 41, 22)  # widths, of all but the last


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = usage.Parser(
        prog="python -m trainer.recipes", description="Show the recipes."
    )
    parser.add_argument("recipe", nargs="?", help="name; none: all in a table")
    parser.add_argument("--workers", type=int, help="print the plan for so many ranks")
    try:
        options = parser.parse_args(argv)
        lines = shown(options.recipe, options.workers)
    except CollectiveError as error:
        print(f"trainer.recipes: {error}", file=sys.stderr)
        return 2
    for line in lines:
        print(line)
    return 0


def shown(recipe_name: str | None, workers: int | None) -> list[str]:
    """Return the lines that the options ask for.

    Raises:
        InvalidArgument: there is no such recipe, or no such number of workers, or a
            plan is asked for and not of which recipe.
    """
    if recipe_name is not None:
        return one(recipe_name, workers)
    if workers is not None:
        raise InvalidArgument(
            f"--workers {workers}: name the recipe to plan for, one of "
            f"{', '.join(recipe.names())}"
        )
    return table()


def table() -> list[str]:
    """Return a line for each recipe and variant, then the footnotes of those with *."""
    heads = ("recipe", "images", "workers x n", "optimiser, rate", "wd/smooth/BN span")
    lines, notes = [_row(*heads, "published")], []
    for module in recipe.names():
        for name in (module, *recipe.variants(module)):
            values = recipe.load(name)
            lines.append(_row(name, *describe(values)))
            notes += [f"* {name}: {note}" for note in values.published.footnotes]
    return lines + notes


def _row(*cells: str) -> str:
    padded = [f"{cell:<{n}}" for cell, n in zip(cells, COLUMNS, strict=False)]
    return " ".join([*padded, cells[-1]])


def describe(values: Recipe) -> tuple[str, ...]:
    """Return the cells of a recipe: batch, workers, rate, regularisation, results."""
    optimizer, known = values.optimizer, values.published
    parts = phases.of(values, known.workers or 1)
    fixed = bool(values.batch.phases or known.workers)
    batches = list(dict.fromkeys(phase.batch for phase in parts))
    batch = ",".join(f"{b >> 10}K" if b % 1024 == 0 else f"{b}" for b in batches)
    workers = [f"{phase.workers if fixed else 'any'}" for phase in parts[:1]]
    seen = [(values.bn.ghost or phase.per_worker) * values.bn.group for phase in parts]
    spans = ",".join(map(str, dict.fromkeys(seen)))
    decay = f"{optimizer.weight_decay:.3g}{'' if optimizer.decay_bn else ' not BN'}"
    result = ", ".join(filter(None, (f"{known.top1} %" * bool(known.top1), known.time)))
    return (
        batch if fixed else "any",
        f"{workers[0]} x {parts[0].per_worker}",
        f"{_kind(values)} {optimizer.momentum:g}, {_rate(values)}",
        f"{decay}/{values.label_smoothing:g}/{spans}",
        (result or "-") + " *" * bool(known.footnotes),
    )


def _kind(values: Recipe) -> str:
    optimizer = values.optimizer
    if optimizer.kind == "sgd":
        return "Nesterov" if optimizer.nesterov else "SGD"
    return KINDS[optimizer.kind]


def _rate(values: Recipe) -> str:
    rate = values.lr
    of = f"/{rate.reference_batch}" if rate.reference_batch == 256 else ""
    warm = f" {rate.warmup_epochs:.3g} ep," if rate.warmup_epochs else ""
    shape = {
        "steps": "at " + "/".join(f"{drop:g}" for drop in rate.drops),
        "poly": f"poly {rate.power:g}",
    }.get(rate.shape, rate.shape)
    return f"{values.optimizer.lr:g}{of},{warm} {shape}"


def one(recipe_name: str, workers: int | None) -> list[str]:
    """Return a recipe's values and their sources, and its plan for ``workers``."""
    values = recipe.load(recipe_name)
    lines = [*outlook.published_lines(values), "", *course.values_table(values)]
    if workers is None:
        return lines
    if workers < 1:
        raise InvalidArgument(f"--workers: got {workers}, expected at least 1")
    plan = course.tables(values, workers, IMAGENET)
    return [*lines, "", f"plan for {workers} ranks", *plan]


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader such as head may leave
    raise SystemExit(main())
