"""MLPerf: ``:::MLLOG`` lines in ``OUTPUT/log/mlperf.txt``.

The keys of the benchmark ``resnet`` of MLPerf training 4.0.0, its last: what a run
knows of itself.  What only a submitter can say, ``submission_*`` but the benchmark, and
``cache_clear``, comes from the script that starts the run.  An epoch's number is how
many were finished when it ends.  A batch that changes on the way is another
``global_batch_size``, of which the rules know one only.

mlcommons/logging, mlperf_logging/compliance_checker/training_4.0.0.
"""

import logging
from pathlib import Path
from typing import Any

PACKAGE = "mlperf_logging"
KEYS = {  # by field, {} is the optimiser
    "optimizer.momentum": "{}_opt_momentum",
    "optimizer.weight_decay": "{}_opt_weight_decay",
}
KEYS_OF = {  # where an optimiser or a shape of the learning rate has more
    "sgd": {"lr.warmup_epochs": "opt_learning_rate_warmup_epochs"},
    "lars": {
        "lr.warmup_epochs": "lars_opt_learning_rate_warmup_epochs",
        "lars.eps": "lars_epsilon",
    },
    "steps": {
        "lr.drops": "opt_learning_rate_decay_boundary_epochs",
        "lr.factor": "opt_learning_rate_decay_factor",
    },
    "poly": {
        "lr.end": "{}_opt_end_learning_rate",
        "lr.power": "{}_opt_learning_rate_decay_poly_power",
    },
}


class Log:
    """The log of one process; a resumed run has a second one in the same file."""

    def __init__(self, path: Path, mllog: Any):
        """Append to ``path``; initialisation has begun."""
        self.handler = logging.FileHandler(path, encoding="utf-8")
        logger = logging.getLogger(f"trainer.mlperf.{id(self)}")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(self.handler)
        self.mllog = mllog.MLLogger(logger, root_dir=str(Path(__file__).parents[2]))
        self.epoch: int | None = None  # that has begun
        self.epochs = 0  # of the run
        self.running = False
        self.mllog.start("init_start")

    def event(self, event: dict[str, Any]) -> None:
        """Write the lines of an event."""
        kind, now = event["event"], round(1000 * event["time"])
        if kind == "config":
            self._configure(event)
            self.mllog.end("init_stop", time_ms=now)
            self.mllog.start("run_start", time_ms=now)
            self.running, self.epochs = True, event["settings"]["epochs"]
            self._begin_epoch(event["epoch"] + 1, now)
        elif kind == "phase":
            about = {"epoch_num": event["epoch"] + 1}
            self.mllog.event(
                "global_batch_size", event["batch"], metadata=about, time_ms=now
            )
        elif kind == "eval":
            self._evaluated(event, now)
        elif kind == "final":
            self._stop("success", now)

    def close(self) -> None:
        """End a run that was interrupted, and the file."""
        if self.running:
            self._stop("aborted", None)
        self.mllog.logger.removeHandler(self.handler)
        self.handler.close()

    def _configure(self, event: dict[str, Any]) -> None:
        settings = event["settings"]
        optimizer, shape = settings["optimizer.kind"], settings["lr.shape"]
        seen = settings["bn.ghost"] or event["per_worker"]
        values = {
            "submission_benchmark": "resnet",
            "seed": event["seed"],
            "global_batch_size": event["batch"],
            "gradient_accumulation_steps": event["accumulation"],
            "train_samples": event["train_images"],
            "eval_samples": event["test_images"],
            "opt_name": optimizer,
            f"{optimizer}_opt_base_learning_rate": event["peak_lr"],
            "model_bn_span": seen * settings["bn.group"],
        }
        keys = KEYS | KEYS_OF.get(optimizer, {}) | KEYS_OF.get(shape, {})
        if settings["lr.factors"]:  # one factor for all drops does not tell them
            keys.pop("lr.factor", None)
        stretch = settings["epochs"] / settings["lr.span_epochs"]
        for field, key in keys.items():
            value = settings[field]
            if field == "lr.drops":
                value = [stretch * epoch for epoch in value]
            if field == "lr.warmup_epochs":
                value = stretch * value
            values[key.format(optimizer)] = value
        for key, value in values.items():
            self.mllog.event(key, value)

    def _begin_epoch(self, epoch: int, now: int) -> None:
        if epoch > self.epochs:
            return
        self.epoch = epoch
        about = {"first_epoch_num": epoch, "epoch_count": 1}
        self.mllog.start("block_start", metadata=about, time_ms=now)
        self.mllog.start("epoch_start", metadata={"epoch_num": epoch}, time_ms=now)

    def _evaluated(self, event: dict[str, Any], now: int) -> None:
        """Write an evaluation, which ends its epoch, and begin the next one."""
        number = event["epoch"]
        about, begin = {"epoch_num": number}, now - round(1000 * event["seconds"])
        if number == self.epoch:
            self.mllog.end("epoch_stop", metadata=about, time_ms=begin)
        self.mllog.start("eval_start", metadata=about, time_ms=begin)
        accuracy = event["correct"] / event["count"]
        self.mllog.event("eval_accuracy", accuracy, metadata=about, time_ms=now)
        self.mllog.end("eval_stop", metadata=about, time_ms=now)
        if number == self.epoch:
            block = {"first_epoch_num": number}
            self.mllog.end("block_stop", metadata=block, time_ms=now)
            self._begin_epoch(number + 1, now)

    def _stop(self, status: str, now: int | None) -> None:
        self.mllog.end("run_stop", metadata={"status": status}, time_ms=now)
        self.running = False


def start(folder: Path) -> Log:
    """Return the log."""
    from mlperf_logging.mllog import mllog

    return Log(folder / "mlperf.txt", mllog)
