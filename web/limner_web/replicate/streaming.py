"""The server-sent events of a prediction: `logs` while it runs, `output` for each picture, then `done`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Final

from limner_shared.domain.jobs import JobState
from limner_shared.domain.predictions import error_of, status_of
from limner_shared.domain.predictions import logs as logs_of
from limner_shared.domain.views import JobView
from limner_shared.errors import DeadlineExceeded, LimnerError
from limner_web.replicate.outputs import outputs
from limner_web.services import Services

DONE: Final = {"succeeded": "", "canceled": "canceled", "failed": "error"}
"""The `reason` of the last event for each status."""


def events(
    services: Services, tenant_id: str, views: Iterator[JobView], origin: str, *, as_data: bool
) -> Iterator[str]:
    """Yield the events of a job whose views come every few seconds. Each has an id, without which clients drop it."""
    numbers, sent = count(1), ""
    try:
        for job in views:
            logs = logs_of(job)
            if logs != sent:
                sent = logs
                yield _event(next(numbers), "logs", logs)
            if not job.status.terminal:
                yield ": keepalive\n\n"
                continue
            status = status_of(job)
            if job.status is JobState.FAILED and status == "failed":
                yield _event(next(numbers), "error", error_of(job) or "failed")
            for output in outputs(services, tenant_id, job, origin, as_data=as_data):
                yield _event(next(numbers), "output", output)
            yield _event(next(numbers), "done", json.dumps({"reason": DONE[status]} if DONE[status] else {}))
    except DeadlineExceeded as error:
        yield _event(next(numbers), "error", f"{error.code}: {error.message}")
    except LimnerError as error:
        yield _event(next(numbers), "error", f"{error.code}: {error.message}")
        yield _event(next(numbers), "done", json.dumps({"reason": "error"}))


def _event(number: int, name: str, data: str) -> str:
    lines = "\n".join(f"data: {line}" for line in data.rstrip("\n").split("\n"))
    return f"id: {number}\nevent: {name}\n{lines}\n\n"
