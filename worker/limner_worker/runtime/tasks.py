"""The one Celery task. Its body never runs: the pool takes each message to the engine instead."""

from __future__ import annotations

from celery import Celery

from limner_shared.messaging.celery_app import RUN_TASK


def register(app: Celery) -> None:
    """Make the app know the task's name, so that its consumer accepts the messages."""

    def run(v: int, job: str) -> None:
        raise RuntimeError("this task needs Limner's engine pool: start the worker with `limner worker`")

    app.task(run, name=RUN_TASK)
