"""Which settings can work: all that is known without ranks, devices or data."""

from typing import Any

from collectives import InvalidArgument, algorithms
from trainer.recipe import PRECISIONS

WIRES = ("float16", "bfloat16", "float32")
DEVICES = ("cpu", "cuda")
GPU_TRANSPORTS = ("auto", "device", "staged")
OVERLAPS = ("staged", "device", "off")


def check(settings: Any) -> None:
    """Refuse what cannot work, before anything is started.

    Raises:
        InvalidArgument: naming the flag, the value got, and the valid ones.
    """
    check_choices(settings)
    check_gpu(settings)
    check_numbers(settings)


def check_choices(settings: Any) -> None:
    """Refuse a value that is none of its flag's choices."""
    choices = {
        "--device": (settings.device, DEVICES),
        "--gpu-transport": (settings.gpu_transport, GPU_TRANSPORTS),
        "--overlap": (settings.overlap, OVERLAPS),
        "--algorithm": (settings.algorithm, ("auto", *algorithms.names())),
        "--precision": (settings.recipe.precision, PRECISIONS),
    }
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


def check_numbers(settings: Any) -> None:
    """Refuse a number that is too small."""
    values = settings.recipe
    at_least = {
        "--epochs": (values.epochs, 1),
        "--batch.per_worker": (values.batch.per_worker, 1),
        "--batch.accumulation": (values.batch.accumulation, 1),
        "--images.size": (values.images.size, 1),
        "--images.resize": (values.images.resize, values.images.size),
        "--images.shift": (values.images.shift, 0),
        "--lr.reference_batch": (values.lr.reference_batch, 1),
        "--first-bucket-bytes": (settings.first_bucket_bytes, 1),
        "--bucket-bytes": (settings.bucket_bytes, 1),
        "--max-steps": (settings.max_steps or 1, 1),
        "--log-every": (settings.log_every, 1),
        "--checkpoint-every": (settings.checkpoint_every, 1),
        "--keep": (settings.keep, 1),
        "--workers": (settings.workers, 0),
        "--seed": (settings.seed, 0),
    }
    for flag, (value, least) in at_least.items():
        if value < least:
            raise InvalidArgument(f"{flag}: got {value}, expected at least {least}")
