"""What a run is told beside its recipe: what may differ where the result is the same.

One flag each, ``--data-dir`` for ``data_dir``.
"""

from dataclasses import Field, dataclass, fields

from trainer import adapter, console, dataset, recipe
from trainer.setting import setting, spelled


@dataclass(frozen=True)
class Flags:
    """Where the images are, which devices compute, what is written."""

    data_dir: str | None = setting(None, "directory of the images")
    loader: str = setting(
        "torch", "what reads and decodes images", choices=("torch", "dali")
    )
    data_errors: str = setting(
        "refuse", "what to do with unreadable images", choices=dataset.ERRORS
    )
    check_images: int = setting(
        1024, "images that each rank decodes before the run", within="at least 0"
    )
    workers: int = setting(0, "loading processes per rank", within="at least 0")
    seed: int = setting(
        1, "of weights, order and augmentation", within="at least 0 and below 2**63"
    )
    virtual_workers: int | None = setting(
        None, "train as so many ranks would, whatever their number", within="at least 1"
    )
    max_steps: int | None = setting(
        None,
        "stop after so many updates of this run, not counting a resumed one's",
        within="at least 1",
    )
    device: str = setting("cpu", "where the network is", choices=("cpu", "cuda"))
    share_gpu: bool = setting(False, "let ranks of a node have one GPU")
    gpu_transport: str = setting(
        "auto", "how GPU arrays meet MPI", choices=("auto", "device", "staged")
    )
    overlap: str = setting(
        "staged",
        "how a node's GPUs and the wire overlap",
        choices=("staged", "device", "off"),
    )
    channels_last: bool = setting(False, "a pixel's channels lie together")
    compile: bool = setting(False, "have torch compile the model")
    output: str = setting("runs", "directory to write")
    resume: str | None = setting(None, "a checkpoint, or 'auto': the output's last")
    start_from: str | None = setting(
        None, "a checkpoint, or a run's output, whose weights the run begins with"
    )
    checkpoint_every: int = setting(
        5, "epochs between checkpoints", within="at least 1"
    )
    keep: int = setting(2, "checkpoints to keep", within="at least 1")
    log_every: int = setting(10, "updates between two lines", within="at least 1")
    log: str | None = setting(
        None, f"other programs' logs, some of {','.join(adapter.names())}"
    )
    progress: str = setting("lines", "how it is shown", choices=console.PROGRESS)
    trace: str | None = setting(None, "file for ui.perfetto.dev: when ranks did what")
    dry_run: bool = setting(False, "print the plan and stop")


def every() -> dict[str, Field]:
    """Return the setting of each flag, those of a recipe after those of the run."""
    of_run = {spelled(entry.name): entry for entry in fields(Flags)}
    of_recipe = {recipe.flag(path): entry for path, entry in recipe.entries().items()}
    return of_run | of_recipe
