"""Refuses at intake what every worker of a model has found that it does not take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.messaging.reports import WorkerReport, read_reports

FRESH_SECONDS: Final = 5.0


class WorkerLimits:
    """What the workers' reports say of their models, read every few seconds."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._found: Mapping[str, Sequence[UnsupportedByModel]] = {}
        self._read_at = float("-inf")

    def require_supported(self, spec: JobSpec) -> None:
        """Raise InvalidRequest for a field that no worker of the model takes. What is not known is not refused."""
        refusals = [each.refusal(spec) for each in self._of_workers().get(spec.model, ())]
        if refusals and refusals[0] is not None and None not in refusals:
            field, got = refusals[0]
            allowed = "other numbers" if field == "steps" else f"no {field}: its pipeline does not take it"
            raise refuse(field, got, allowed)

    def lacks(self, model: str, task: Task, field: str) -> bool:
        """Whether no worker of the model takes a field in a task. What is not known is not lacking."""
        found = self._of_workers().get(model, ())
        return bool(found) and all(field in each.fields.get(task, ()) for each in found)

    def _of_workers(self) -> Mapping[str, Sequence[UnsupportedByModel]]:
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self._read_at = time.monotonic()  # while one request waits for Redis, others go on with what is known
            self._found = self._read()
        return self._found

    def _read(self) -> Mapping[str, Sequence[UnsupportedByModel]]:
        try:
            reports = read_reports(self._redis, WorkerReport)
        except RedisError:
            return {}
        models = {model for report in reports for model in report.models}
        return {
            model: [report.unsupported.get(model, UnsupportedByModel()) for report in reports if model in report.models]
            for model in models
        }
