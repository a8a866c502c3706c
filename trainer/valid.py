"""Which settings can work: all that is known without ranks, devices or data."""

from itertools import pairwise
from math import isfinite
from typing import Any

from collectives import InvalidArgument, algorithms
from trainer import adapter, console, dataset, recipe
from trainer.fields import CHOICES
from trainer.recipe import Recipe

WIRES = ("float16", "bfloat16", "float32")
DEVICES = ("cpu", "cuda")
LOADERS = ("torch", "dali")
GPU_TRANSPORTS = ("auto", "device", "staged")
OVERLAPS = ("staged", "device", "off")
FORMS = {
    "sgd": ("u", "v", "corrected", "corrected_in_warmup"),
    "lars": ("u", "v", "hybrid"),
    "rmsprop_warmup": ("u",),
    "lamb": ("u",),
}

WITHIN = {
    "above 0": lambda x: x > 0,
    "at least 0": lambda x: x >= 0,
    "at least 0 and below 1": lambda x: 0 <= x < 1,
    "at least 0 and at most 1": lambda x: 0 <= x <= 1,
    "above 0 and at most 1": lambda x: 0 < x <= 1,
}
RANGES = {
    "label_smoothing": "at least 0 and below 1",
    "optimizer.lr": "above 0",
    "optimizer.weight_decay": "at least 0",
    "lars.coefficient": "above 0",
    "lars.eps": "at least 0",
    "rmsprop.period_epochs": "above 0",
    "rmsprop.lr": "above 0",
    "rmsprop.decay": "at least 0 and below 1",
    "rmsprop.eps": "above 0",
    "lr.warmup_epochs": "at least 0",
    "lr.factor": "above 0",
    "lr.power": "above 0",
    "lr.end": "at least 0",
    "bn.decay": "at least 0 and below 1",
    "bn.eps": "above 0",
    "images.min_area": "above 0 and at most 1",
    "images.jitter": "at least 0 and at most 1",
    "images.lighting": "at least 0",
}


def check(settings: Any) -> None:
    """Refuse what cannot work, before anything is started.

    Raises:
        InvalidArgument: naming the flag, the value got, and the valid ones.
    """
    check_choices(settings)
    check_gpu(settings)
    check_files(settings)
    check_numbers(settings)
    check_ranges(settings.recipe)
    check_norm(settings.recipe)
    check_rate(settings.recipe)
    check_optimizer(settings.recipe)
    check_weights(settings.recipe)
    check_ramp(settings.recipe)
    adapter.named(settings.log)
    console.check(settings.progress)


def check_choices(settings: Any) -> None:
    """Refuse a value that is none of its flag's choices."""
    choices = {
        "--device": (settings.device, DEVICES),
        "--loader": (settings.loader, LOADERS),
        "--data-errors": (settings.data_errors, dataset.ERRORS),
        "--gpu-transport": (settings.gpu_transport, GPU_TRANSPORTS),
        "--overlap": (settings.overlap, OVERLAPS),
        "--algorithm": (settings.algorithm, ("auto", *algorithms.names())),
        "--small-algorithm": (
            settings.recipe.reduction.small_algorithm,
            ("auto", *algorithms.names()),
        ),
    }
    values = dict(recipe.flatten(settings.recipe))
    choices |= {f"--{path}": (values[path], CHOICES[path]) for path in CHOICES}
    for flag, (got, valid) in choices.items():
        if got not in valid:
            raise InvalidArgument(
                f"{flag}: got {got!r}, expected one of {', '.join(valid)}"
            )
    if settings.wire not in (None, *WIRES):
        raise InvalidArgument(
            f"--wire: got {settings.wire!r}, expected one of {', '.join(WIRES)}, or "
            "no --wire for the gradients' own dtype"
        )


def check_gpu(settings: Any) -> None:
    """Refuse a flag that changes nothing without a GPU."""
    given = {
        "--share-gpu": settings.share_gpu,
        "--gpu-transport": settings.gpu_transport != GPU_TRANSPORTS[0],
        "--overlap": settings.overlap != OVERLAPS[0],
    }
    for flag in given:
        if given[flag] and settings.device != "cuda":
            raise InvalidArgument(
                f"{flag}: is for GPUs, but the device is {settings.device}; add "
                f"--device cuda, or leave out {flag}"
            )


def check_files(settings: Any) -> None:
    """Refuse a flag that changes nothing where no image file is read."""
    given = {
        "--loader": settings.loader != LOADERS[0],
        "--data-errors": settings.data_errors != dataset.ERRORS[0],
    }
    for flag in given:
        if given[flag] and not dataset.find(settings.data).NEEDS_ROOT:
            raise InvalidArgument(
                f"{flag}: is for image files, but the data is {settings.data}; add "
                f"--data imagefolder, or leave out {flag}"
            )


def check_numbers(settings: Any) -> None:
    """Refuse a number that is too small."""
    values, virtual = settings.recipe, settings.virtual_workers
    at_least = {
        "--epochs": (values.epochs, 1),
        "--batch.per_worker": (values.batch.per_worker, 1),
        "--batch.accumulation": (values.batch.accumulation, 1),
        "--images.size": (values.images.size, 1),
        "--images.resize": (values.images.resize, values.images.size),
        "--images.shift": (values.images.shift, 0),
        "--images.test_size": (values.images.test_size, 0),
        "--loss_scale": (values.loss_scale, 0),
        "--lr.reference_batch": (values.lr.reference_batch, 1),
        "--noise_scale.reference_batch": (values.noise_scale.reference_batch, 1),
        "--bn.group": (values.bn.group, 1),
        "--bn.ghost": (values.bn.ghost, 0),
        "--bn.recompute_batches": (values.bn.recompute_batches, 1),
        "--first-bucket-bytes": (settings.first_bucket_bytes, 1),
        "--switch-bytes": (values.reduction.switch_bytes, 0),
        "--bucket-bytes": (settings.bucket_bytes, 1),
        "--virtual-workers": (1 if virtual is None else virtual, 1),
        "--max-steps": (1 if settings.max_steps is None else settings.max_steps, 1),
        "--log-every": (settings.log_every, 1),
        "--checkpoint-every": (settings.checkpoint_every, 1),
        "--keep": (settings.keep, 1),
        "--check-images": (settings.check_images, 0),
        "--workers": (settings.workers, 0),
        "--seed": (settings.seed, 0),
    }
    for flag, (value, least) in at_least.items():
        if value < least:
            raise InvalidArgument(f"{flag}: got {value}, expected at least {least}")


def check_ranges(values: Recipe) -> None:
    """Refuse a number that is outside what its field means, and epochs that fall."""
    flat = dict(recipe.flatten(values))
    for path, expected in RANGES.items():
        value = flat[path]
        if not (isfinite(value) and WITHIN[expected](value)):
            raise InvalidArgument(f"--{path}: got {value:g}, expected {expected}")
    for path, epochs in (
        ("lr.drops", values.lr.drops),
        ("lr.jumps", tuple(epoch for epoch, _ in values.lr.jumps)),
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
    if not 0 <= config.momentum < 1:
        raise InvalidArgument(
            f"--optimizer.momentum: got {config.momentum:g}, expected at least 0 and "
            "below 1"
        )


def check_weights(values: Recipe) -> None:
    """Refuse averages and a loss scale that cannot be."""
    if not 0 <= values.ema_decay < 1:
        raise InvalidArgument(
            f"--ema_decay: got {values.ema_decay:g}, expected at least 0 (no averages) "
            "and below 1"
        )
    if not isfinite(values.loss_scale):
        raise InvalidArgument(
            f"--loss_scale: got {values.loss_scale:g}, expected a finite number"
        )
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
    ramp = values.images.ramp
    epochs = [epoch for epoch, _ in ramp]
    if any(start >= stop for start, stop in pairwise(epochs)):
        raise InvalidArgument(
            f"--images.ramp: got the epochs {recipe.show(tuple(epochs))}, expected "
            "each to be later than the one before"
        )
    for epoch, size in ramp:
        if epoch < 0 or size < 1:
            raise InvalidArgument(
                f"--images.ramp: got {size} pixels at epoch {epoch:g}, expected at "
                "least 1 pixel and epoch 0"
            )
