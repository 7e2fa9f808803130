"""What workers have found of their models at load: refused at intake if none takes it, and shown with the model."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.model_views import ServingView
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.messaging.reports import WorkerReport, read_reports

FRESH_SECONDS: Final = 5.0


class WorkerLimits:
    """What the workers' reports say of their models, read every few seconds."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._found: Mapping[str, Sequence[WorkerReport]] = {}
        self._left_out: Mapping[str, str] = {}
        self._read_at = float("-inf")

    def require_supported(self, spec: JobSpec) -> None:
        """Raise InvalidRequest for a field that no worker of the model takes. What is not known is not refused."""
        refusals = [each.refusal(spec) for each in self._of_workers(spec.model)]
        if refusals and refusals[0] is not None and None not in refusals:
            field, got = refusals[0]
            allowed = "other numbers" if field == "steps" else f"no {field}: its pipeline does not take it"
            raise refuse(field, got, allowed)

    def lacks(self, model: str, task: Task, field: str) -> bool:
        """Whether no worker of the model takes a field in a task. What is not known is not lacking."""
        found = self._of_workers(model)
        return bool(found) and all(field in each.fields.get(task, ()) for each in found)

    def serving(self, model: str) -> ServingView | None:
        """How the workers serve a model; None if no report names it."""
        loaded, code = self._read().get(model, ()), self._left_out.get(model)
        if not loaded and code is None:
            return None
        per_image = sorted({call for report in loaded for call in report.per_image.get(model, ())})
        return ServingView(workers=len(loaded), per_image=per_image, left_out=None if loaded else code)

    def _of_workers(self, model: str) -> Sequence[UnsupportedByModel]:
        return [report.unsupported.get(model, UnsupportedByModel()) for report in self._read().get(model, ())]

    def _read(self) -> Mapping[str, Sequence[WorkerReport]]:
        """The reports of the workers that serve each model."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self._read_at = time.monotonic()  # while one request waits for Redis, others go on with what is known
            try:
                reports = read_reports(self._redis, WorkerReport)
            except RedisError:
                reports = []
            found: defaultdict[str, list[WorkerReport]] = defaultdict(list)
            for report in reports:
                for model in report.models:
                    found[model].append(report)
            self._left_out = {model: code for report in reports for model, code in report.left_out.items()}
            self._found = dict(found)
        return self._found
