"""MLflow: a run of the experiment ``mpi-collectives``.

It goes to the server of ``MLFLOW_TRACKING_URI``; without one, into a data base in the
output: ``mlflow ui --backend-store-uri sqlite:///OUTPUT/log/mlflow.db``.  A resumed run
goes on under the same id.
"""

import logging
from pathlib import Path
from typing import Any

from trainer.adapter import scalars

PACKAGE = "mlflow"
EXPERIMENT = "mpi-collectives"
PARAMETERS = 100  # that one call may log


class Log:
    """A run, its numbers over updates."""

    def __init__(self, client: Any, run_id: str):
        """Feed the run of this id."""
        self.client, self.run_id = client, run_id
        self.status = "KILLED"

    def event(self, event: dict[str, Any]) -> None:
        """Log the numbers of an event at its update."""
        from mlflow.entities import Metric, Param

        kind = event["event"]
        if kind == "config":
            if not event["resumed"]:  # they may not be changed
                names = ("recipe", "data", "ranks")
                about = {name: event[name] for name in names} | event["settings"]
                given = [Param(name, str(value)) for name, value in about.items()]
                for i in range(0, len(given), PARAMETERS):
                    self.client.log_batch(self.run_id, params=given[i : i + PARAMETERS])
            return
        milliseconds = round(1000 * event["time"])
        metrics = [
            Metric(name, value, milliseconds, event["step"])
            for name, value in scalars(event).items()
        ]
        self.client.log_batch(self.run_id, metrics=metrics)
        if kind == "final":
            self.status = "FINISHED"

    def close(self) -> None:
        """End the run."""
        self.client.set_terminated(self.run_id, self.status)


def start(folder: Path) -> Log:
    """Return the log of the run that this folder knows, or of a new one."""
    import mlflow

    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)
    given = mlflow.is_tracking_uri_set()
    uri = None if given else f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    noted = folder / "mlflow-id"
    if noted.exists():
        return Log(client, noted.read_text("utf-8"))
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
    run_id = client.create_run(experiment).info.run_id
    noted.write_text(run_id, "utf-8")
    return Log(client, run_id)
