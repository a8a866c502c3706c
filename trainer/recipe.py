"""Recipes: what a paper fixes, as frozen dataclasses that know each value's source.

A recipe is one file in ``trainer/recipes/``; the file name is its name.  It shows only
what differs from its parent, and says for each value where it comes from::

    RECIPE = vary(parent, paper={"optimizer.nesterov": True}, chosen={"epochs": 12})

Provenances: ``paper`` (read in the paper), ``code`` (read in public code), ``derived``
(arithmetic from those), ``chosen`` (by us; the source does not say, or nobody has
checked it), and ``given`` for what a configuration file or a flag sets.  `vary` keeps
the parent's sources, for another run of the same paper; with `adopt`, for another
paper, all that it does not state itself is ``chosen``.
"""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from typing import Any

from collectives import InvalidArgument
from trainer import packages
from trainer.fields import (
    Batch,
    Images,
    Lars,
    LearningRate,
    Model,
    NoiseScale,
    Norm,
    Optimizer,
    Reduction,
    Rmsprop,
)
from trainer.published import Published
from trainer.setting import setting, spelled

PRECISIONS = ("float32", "bfloat16", "float16")
PROVENANCES = ("paper", "code", "derived", "chosen", "given")
IMAGENET = 1_281_167  # training images of ILSVRC 2012


@dataclass(frozen=True)
class Recipe:
    """What a paper fixes.

    ``sources`` maps each dotted field to its provenance.
    """

    epochs: int = setting(90, "passes over the training images", within="at least 1")
    precision: str = setting(
        "float32", "of the forward and backward pass", choices=PRECISIONS
    )
    loss_scale: float = setting(
        0.0, "of float16; 0: adapted while training", within="at least 0"
    )
    label_smoothing: float = setting(
        0.0, "part of a label that all classes share", within="at least 0 and below 1"
    )
    ema_decay: float = setting(
        0.0, "of averaged weights; 0: none", within="at least 0 and below 1"
    )
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    lars: Lars = field(default_factory=Lars)
    rmsprop: Rmsprop = field(default_factory=Rmsprop)
    noise_scale: NoiseScale = field(default_factory=NoiseScale)
    lr: LearningRate = field(default_factory=LearningRate)
    batch: Batch = field(default_factory=Batch)
    bn: Norm = field(default_factory=Norm)
    images: Images = field(default_factory=Images)
    reduction: Reduction = field(default_factory=Reduction)
    sources: Mapping[str, str] = field(default_factory=dict)
    published: Published = field(default_factory=lambda: Published(batch=""))


NO_SETTINGS = ("sources", "published")


def plain() -> Recipe:
    """Return the recipe to begin with: all defaults, chosen by us."""
    recipe = Recipe()
    return replace(recipe, sources={path: "chosen" for path, _ in flatten(recipe)})


def names() -> list[str]:
    """Return the names of all recipes: the files of ``trainer/recipes/``."""
    from trainer import recipes

    return packages.modules(recipes)


def load(name: str) -> Recipe:
    """Return the recipe of this name, or the variant ``NAME:VARIANT`` of one.

    Raises:
        InvalidArgument: no file of ``trainer/recipes/`` has this name, or the file no
            such entry in ``VARIANTS``.
    """
    module_name, _, variant = name.partition(":")
    if module_name not in names():
        raise InvalidArgument(
            f"--recipe: got {name!r}, expected one of {', '.join(names())}"
        )
    module = importlib.import_module(f"trainer.recipes.{module_name}")
    known: dict[str, Recipe] = {"": module.RECIPE, **getattr(module, "VARIANTS", {})}
    if variant not in known:
        valid = ", ".join(variants(module_name))
        raise InvalidArgument(
            f"--recipe: got {name!r}, expected {module_name}"
            + (f" or one of {valid}" if valid else ", which has no variants")
        )
    return known[variant]


def variants(name: str) -> list[str]:
    """Return the full names of the variants of a recipe."""
    module = importlib.import_module(f"trainer.recipes.{name}")
    return [f"{name}:{variant}" for variant in getattr(module, "VARIANTS", {})]


def vary(
    parent: Recipe,
    *,
    published: Published | None = None,
    **changes: Mapping[str, Any],
) -> Recipe:
    """Return ``parent`` with other values, grouped by their provenance.

    ``vary(he, paper={"optimizer.nesterov": True})`` changes one field and notes that
    the paper says so; a value equal to the parent's is noted again, not refused.

    Raises:
        InvalidArgument: an unknown provenance, a field that no recipe has, or a field
            with two provenances.
    """
    sources = dict(parent.sources)
    recipe = parent
    valid = [path for path, _ in flatten(parent)]
    for provenance, values in changes.items():
        if provenance not in PROVENANCES:
            raise InvalidArgument(
                f"recipe: provenance {provenance!r} is not one of "
                f"{', '.join(PROVENANCES)}"
            )
        for path, value in values.items():
            if path not in valid:
                raise InvalidArgument(
                    f"recipe: no field {path!r}; the fields are {', '.join(valid)}"
                )
            recipe = _set(recipe, path.split("."), value)
            sources[path] = provenance
    if sum(map(len, changes.values())) > len(set().union(*changes.values())):
        raise InvalidArgument("recipe: a field is given twice, by two provenances")
    return replace(recipe, sources=sources, published=published or parent.published)


def adopt(
    parent: Recipe, *, published: Published, **changes: Mapping[str, Any]
) -> Recipe:
    """Return the recipe of another paper: what it does not state is chosen by us."""
    chosen = dict.fromkeys(parent.sources, "chosen")
    return vary(replace(parent, sources=chosen), published=published, **changes)


def flatten(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield (dotted field, value) for every setting, in the order of declaration."""
    for entry in fields(recipe):
        value = getattr(recipe, entry.name)
        if entry.name in NO_SETTINGS:
            continue
        if is_dataclass(value):
            for inner in fields(value):
                yield f"{entry.name}.{inner.name}", getattr(value, inner.name)
        else:
            yield entry.name, value


def groups() -> Iterator[tuple[str, type]]:
    """Yield (prefix, dataclass) of the groups of settings: of the ungrouped, "" first.

    A setting's dotted path is its prefix and its name.
    """
    yield "", Recipe
    values = Recipe()
    for entry in fields(Recipe):
        value = getattr(values, entry.name)
        if is_dataclass(value) and entry.name not in NO_SETTINGS:
            yield f"{entry.name}.", type(value)


def entries() -> dict[str, Field]:
    """Return the field of each dotted path: its meaning and valid values."""
    return {
        f"{prefix}{entry.name}": entry
        for prefix, group in groups()
        for entry in fields(group)
        if entry.metadata
    }


def flag(path: str) -> str:
    """Return the flag of a dotted path.

    >>> flag("lr.factor"), flag("reduction.bucket_bytes")
    ('--lr.factor', '--bucket-bytes')
    """
    group, _, name = path.rpartition(".")
    return spelled(name) if group == "reduction" else f"--{path}"


def show(value: Any) -> str:
    """Write a value as a flag takes it.

    >>> show((30.0, 60.0)), show(None), show(0.5)
    ('[30,60]', 'null', '0.5')
    """
    if isinstance(value, tuple | list):
        return f"[{','.join(map(show, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _set(node: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _set(getattr(node, path[0]), path[1:], value)
    return replace(node, **{path[0]: value})
