"""The only Celery task. Its body never runs: the pool passes each message to the worker service instead."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery

from limner_shared.messaging.celery_app import RUN_TASK


def register(app: Celery) -> None:
    """Register the task's name, so that the app's consumer accepts the messages.

    A message has the keyword arguments `v`, the message version; `jobs`, the ids of the jobs; and `at`, the earliest
    release time of these jobs.
    """

    def run(v: int, jobs: list[str], at: float) -> None:
        raise RuntimeError("this task needs Limner's engine pool: start the worker with `limner worker`")

    cast("Any", app).task(run, name=RUN_TASK)
