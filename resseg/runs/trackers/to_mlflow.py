"""MLflow; all that knows mlflow.

What its environment variables say holds: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME …
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resseg.runs.trackers.tracker import PROJECT, About

_METRICS, _PARAMS = 1000, 100  # that it takes at once
_LONGEST = 500  # characters of a parameter that every version of it takes


class Mlflow:
    """A run of MLflow; see `Tracker`. Its experiment is the project."""

    def __init__(self, about: About):
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        # It tells of each table that it makes and of each try, amid the progress.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self._client = MlflowClient()
        self.identity = about.identity
        if about.identity:
            self._client.update_run(self.identity, status="RUNNING")
        else:
            self.identity = self._begin(about)
            params = [
                Param(key, str(value)[:_LONGEST]) for key, value in about.config.items()
            ]
            for some in _parts(params, _PARAMS):
                self._client.log_batch(self.identity, params=some)
        self.place = f"{self._client.tracking_uri}, run {self.identity}"

    def _begin(self, about: About) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self._client.get_experiment_by_name(name)
        place = (
            self._client.create_experiment(name)
            if experiment is None
            else experiment.experiment_id
        )
        tags = {"resseg.sweep": about.group} if about.group else {}
        run = self._client.create_run(place, run_name=about.name, tags=tags)
        return run.info.run_id

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        for some in _parts(metrics, _METRICS):
            self._client.log_batch(self.identity, metrics=some)

    def finish(self) -> None:
        self._client.set_terminated(self.identity)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
