"""Recipes: what a paper fixes, as frozen dataclasses that know each value's source.

A recipe is one file in ``trainer/recipes/``; the file name is its name.  It shows only
what differs from its parent, and says for each value where it comes from::

    RECIPE = vary(parent, paper={"optimizer.nesterov": True}, chosen={"epochs": 12})

Provenances: ``paper`` (read in the paper), ``code`` (read in public code), ``derived``
(arithmetic from those), ``chosen`` (by us; the paper does not say), and ``given`` for
what a configuration file or a flag sets.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from collectives import InvalidArgument

PRECISIONS = ("float32", "bfloat16", "float16")
PROVENANCES = ("paper", "code", "derived", "chosen", "given")


@dataclass(frozen=True)
class Model:
    """The network: a bottleneck ResNet."""

    stride: str = "v1"  # where a block's stride is: "v1" first 1x1, "v1.5" 3x3
    classes: int = 1000
    width: int = 64  # channels of the stem
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # residual blocks per stage
    zero_gamma: bool = False  # gamma 0 in the last normalisation of each block
    fan_mode: str = "fan_out"  # of He's initialisation: "fan_in" or "fan_out"


@dataclass(frozen=True)
class Optimizer:
    """Stochastic gradient descent with momentum in the u-form."""

    lr: float = 0.1  # at a total batch of lr.reference_batch images
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_bn: bool = True  # whether gamma and beta are decayed too


@dataclass(frozen=True)
class LearningRate:
    """The learning rate's shape, in epochs of a run of ``span_epochs``."""

    reference_batch: int = 256  # images; the rate is proportional to the total batch
    span_epochs: float = 90.0  # a run of another length keeps the shape
    warmup_epochs: float = 0.0  # only where the total batch exceeds reference_batch
    drops: tuple[float, ...] = (30.0, 60.0, 80.0)
    factor: float = 0.1  # at each drop


@dataclass(frozen=True)
class Batch:
    """How many images one update sees: ranks * per_worker * accumulation."""

    per_worker: int = 32  # images; also what batch normalisation sees
    accumulation: int = 1  # microbatches per update


@dataclass(frozen=True)
class Images:
    """What is cut from an image, in training and in evaluation."""

    size: int = 224  # pixels, both sides
    resize: int = 256  # pixels, short side before the centre crop of evaluation
    min_area: float = 0.08  # of the image, smallest training crop
    flip: bool = True
    shift: int = 0  # pixels, largest random translation (digits only)


@dataclass(frozen=True)
class Recipe:
    """One paper's settings; ``sources`` maps each dotted field to its provenance."""

    epochs: int = 90
    precision: str = "float32"  # of convolutions and matrix products
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    lr: LearningRate = field(default_factory=LearningRate)
    batch: Batch = field(default_factory=Batch)
    images: Images = field(default_factory=Images)
    sources: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Return the names of all recipes: the files of ``trainer/recipes/``."""
    from trainer import recipes

    return sorted(module.name for module in pkgutil.iter_modules(recipes.__path__))


def load(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        InvalidArgument: no file of ``trainer/recipes/`` has this name.
    """
    if name not in names():
        raise InvalidArgument(
            f"--recipe: got {name!r}, expected one of {', '.join(names())}"
        )
    return importlib.import_module(f"trainer.recipes.{name}").RECIPE


def vary(parent: Recipe, **changes: Mapping[str, Any]) -> Recipe:
    """Return ``parent`` with other values, grouped by their provenance.

    ``vary(he, paper={"optimizer.nesterov": True})`` changes one field and notes that
    the paper says so; a value equal to the parent's is noted again, not refused.

    Raises:
        InvalidArgument: an unknown provenance, or a field that no recipe has.
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
    return replace(recipe, sources=sources)


def flatten(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield (dotted field, value) for every setting, in the order of declaration."""
    for entry in fields(recipe):
        value = getattr(recipe, entry.name)
        if is_dataclass(value):
            for inner in fields(value):
                yield f"{entry.name}.{inner.name}", getattr(value, inner.name)
        elif entry.name != "sources":
            yield entry.name, value


def _set(node: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _set(getattr(node, path[0]), path[1:], value)
    return replace(node, **{path[0]: value})
