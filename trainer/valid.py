"""Which settings can work: all that is known without ranks, devices or data."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from collectives import InvalidArgument
from trainer import adapter, console, dataset, recipe, setting
from trainer.flags import Flags
from trainer.recipe import Recipe

FORMS = {
    "sgd": ("u", "v", "corrected", "corrected_in_warmup"),
    "lars": ("u", "v", "hybrid"),
    "rmsprop_warmup": ("u",),
    "lamb": ("u",),
}


def check(settings: Any) -> None:
    """Refuse what cannot work, before anything is started.

    Raises:
        InvalidArgument: naming the flag, the value got, and the valid ones.
    """
    check_each(settings)
    check_gpu(settings)
    check_files(settings)
    check_images(settings)
    check_model(settings.recipe)
    check_epochs(settings.recipe)
    check_norm(settings.recipe)
    check_rate(settings.recipe)
    check_optimizer(settings.recipe)
    check_weights(settings.recipe)
    check_ramp(settings.recipe)
    adapter.named(settings.log)
    console.check(settings.progress)


def check_each(settings: Any) -> None:
    """Refuse a value that its setting cannot have, whatever the others are."""
    for entry in fields(Flags):
        setting.check(setting.spelled(entry.name), getattr(settings, entry.name), entry)
    entries = recipe.entries()
    for path, value in recipe.flatten(settings.recipe):
        setting.check(recipe.flag(path), value, entries[path])


def check_gpu(settings: Any) -> None:
    """Refuse a flag that changes nothing without a GPU."""
    given = {
        "--share-gpu": settings.share_gpu,
        "--gpu-transport": settings.gpu_transport != Flags.gpu_transport,
        "--overlap": settings.overlap != Flags.overlap,
    }
    for name in given:
        if given[name] and settings.device != "cuda":
            raise InvalidArgument(
                f"{name}: is for GPUs, but the device is {settings.device}; add "
                f"--device cuda, or leave out {name}"
            )


def check_files(settings: Any) -> None:
    """Refuse a flag that changes nothing where no image file is read."""
    given = {
        "--loader": settings.loader != Flags.loader,
        "--data-errors": settings.data_errors != Flags.data_errors,
    }
    for name in given:
        if given[name] and not dataset.find(settings.data).NEEDS_ROOT:
            raise InvalidArgument(
                f"{name}: is for image files, but the data is {settings.data}; add "
                f"--data imagefolder, or leave out {name}"
            )


def check_images(settings: Any) -> None:
    """Refuse a short side that holds no crop."""
    images = settings.recipe.images
    read = "resize" in dataset.find(settings.data).IMAGES
    if read and images.resize < images.size:
        raise InvalidArgument(
            f"--images.resize: got {images.resize}, expected at least "
            f"--images.size ({images.size})"
        )


def check_words(settings: Any, argv: Sequence[str]) -> None:
    """Refuse a flag of images that the data set does not read.

    In a file it may stand: that of another data set's run is one to try with this one.

    Raises:
        InvalidArgument: naming the flag, and those that are read.
    """
    read = dataset.find(settings.data).IMAGES
    given = [word.split("=")[0] for word in argv if word.startswith("--images.")]
    for word in given:
        if word.removeprefix("--images.") not in read:
            raise InvalidArgument(
                f"{word}: changes nothing, because --data {settings.data} reads only "
                f"{', '.join(f'images.{name}' for name in read)}; leave it out"
            )


def check_model(values: Recipe) -> None:
    """Refuse a network of no blocks."""
    blocks = values.model.blocks
    if not blocks or min(blocks) < 1:
        raise InvalidArgument(
            f"--model.blocks: got {recipe.show(blocks)}, expected one or more whole "
            "numbers, each at least 1"
        )


def check_epochs(values: Recipe) -> None:
    """Refuse epochs that fall."""
    for path, epochs in (
        ("lr.drops", values.lr.drops),
        ("lr.jumps", tuple(epoch for epoch, _ in values.lr.jumps)),
        ("images.ramp", tuple(epoch for epoch, _ in values.images.ramp)),
    ):
        if any(start >= stop for start, stop in pairwise(epochs)):
            raise InvalidArgument(
                f"--{path}: got the epochs {recipe.show(epochs)}, expected each to be "
                "later than the one before"
            )


def check_norm(values: Recipe) -> None:
    """Refuse statistics of several workers and of a part, or of a single image."""
    if values.bn.ghost == 1:
        raise InvalidArgument(
            "--bn.ghost: got 1, expected at least 2 images, or 0 for all of a "
            "microbatch: one image alone has no variance where it is one pixel"
        )
    if values.bn.group > 1 and values.bn.ghost:
        raise InvalidArgument(
            f"--bn.ghost: got {values.bn.ghost} with --bn.group {values.bn.group}; "
            "statistics are of a part of a worker's images or of several workers': "
            "set --bn.ghost 0 or --bn.group 1"
        )


def check_rate(values: Recipe) -> None:
    """Refuse a learning rate that its numbers do not define."""
    rate = values.lr
    if rate.factors and len(rate.factors) != len(rate.drops) + 1:
        raise InvalidArgument(
            f"--lr.factors: got {len(rate.factors)} for {len(rate.drops)} drops, "
            "expected one more than --lr.drops, or '[]' for powers of --lr.factor"
        )
    lowest = min((0.0, *rate.factors, *(jump for _, jump in rate.jumps)))
    if lowest < 0:
        raise InvalidArgument(
            f"--lr.factors, --lr.jumps: got {lowest:g}, expected at least 0 in each"
        )
    warmup = values.optimizer.kind == "rmsprop_warmup" and rate.warmup_epochs > 0
    if warmup and rate.warmup_start == 0:
        raise InvalidArgument(
            "--lr.warmup_start: got 0, expected more with --optimizer.kind "
            "rmsprop_warmup: RMSprop's rate is divided by this one"
        )
    if rate.span_epochs <= 0 or rate.warmup_epochs >= rate.span_epochs:
        raise InvalidArgument(
            f"--lr.warmup_epochs: got {rate.warmup_epochs:g}, expected less than "
            f"--lr.span_epochs ({rate.span_epochs:g}, above 0)"
        )


def check_optimizer(values: Recipe) -> None:
    """Refuse an optimiser that does not have what is asked for."""
    config = values.optimizer
    if config.form not in FORMS[config.kind]:
        raise InvalidArgument(
            f"--optimizer.form: got {config.form!r}, expected one of "
            f"{', '.join(FORMS[config.kind])} for --optimizer.kind {config.kind}"
        )
    if config.nesterov and (config.kind != "sgd" or config.momentum == 0):
        raise InvalidArgument(
            f"--optimizer.nesterov: got true with --optimizer.kind {config.kind} and "
            f"--optimizer.momentum {config.momentum:g}; only sgd with a momentum has it"
        )
    if values.lars.eps_rule == "threshold" and values.lars.eps == 0:
        raise InvalidArgument(
            "--lars.eps: got 0, but --lars.eps_rule threshold needs one above 0 "
            "(nnabla's is 1e-06)"
        )


def check_weights(values: Recipe) -> None:
    """Refuse averages and a loss scale that cannot be."""
    half = values.precision == "float16" or values.reduction.wire == "float16"
    if values.loss_scale and not half:
        raise InvalidArgument(
            f"--loss_scale: got {values.loss_scale:g}, but --precision "
            f"{values.precision} has no loss scale; add --precision float16 or --wire "
            "float16, or use --loss_scale 0"
        )
    if values.ema_decay and values.bn.evaluate == "last_batch":
        raise InvalidArgument(
            f"--ema_decay: got {values.ema_decay:g} with --bn.evaluate last_batch, but "
            "the last update's statistics are not those of averaged weights; use "
            "--bn.evaluate moving or recompute"
        )


def check_ramp(values: Recipe) -> None:
    """Refuse sizes of images that no epoch has, or that are none."""
    for epoch, size in values.images.ramp:
        if epoch < 0 or size < 1:
            raise InvalidArgument(
                f"--images.ramp: got {size} pixels at epoch {epoch:g}, expected at "
                "least 1 pixel and epoch 0"
            )
