"""Weights & Biases: a run of the project ``mpi-collectives``.

Its own environment variables apply: ``WANDB_PROJECT`` and ``WANDB_NAME``, and
``WANDB_MODE=offline`` where there is no network (``wandb sync`` sends it later).  A
resumed run goes on under the same id.
"""

from pathlib import Path
from typing import Any

from trainer.adapter import scalars

PACKAGE = "wandb"
PROJECT = "mpi-collectives"


class Log:
    """A run, its numbers over updates."""

    def __init__(self, run: Any):
        """Feed ``run``."""
        self.run = run
        # Not its own step, which must never go back: a resumed run repeats some.
        run.define_metric("*", step_metric="update")
        self.exit_code = 1

    def event(self, event: dict[str, Any]) -> None:
        """Log the numbers of an event at its update."""
        kind = event["event"]
        if kind == "config":
            about = {name: event[name] for name in ("recipe", "data", "ranks")}
            self.run.config.update(about | event["settings"], allow_val_change=True)
            return
        self.run.log({**scalars(event), "update": event["step"]})
        if kind == "final":
            self.exit_code = 0

    def close(self) -> None:
        """Finish; a run without its end is marked as failed."""
        self.run.finish(exit_code=self.exit_code)


def start(folder: Path) -> Log:
    """Return the log of the run that this folder knows, or of a new one."""
    import os

    import wandb

    noted = folder / "wandb-id"
    known = noted.read_text("utf-8") if noted.exists() else None
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=str(folder),
        id=known,
        resume="allow",
        settings=wandb.Settings(console="off", quiet=True),
    )
    noted.write_text(run.id, "utf-8")
    return Log(run)
