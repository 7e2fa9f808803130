"""The Celery app and the queues' names. A message is a hint that names a job: it may be lost, doubled or late."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue

from limner_shared.jobs import Priority
from limner_shared.ledger import Released
from limner_shared.settings import Settings

RUN_TASK: Final = "limner.run"
"""The one task name there is, for ever: an old worker would reject one it does not know."""
MESSAGE_VERSION: Final = 1
PRIORITY_STEPS: Final = tuple(priority.rank for priority in Priority)
PRIORITY_SEPARATOR: Final = "\x06\x16"


def queue_name(model: str) -> str:
    """The queue of a model: the Redis list of the same name."""
    return f"limner.{model}"


def queue_keys(model: str) -> list[str]:
    """The Redis lists that a model's queue is made of: kombu keeps one for each priority, and empties them in order."""
    name = queue_name(model)
    return [f"{name}{PRIORITY_SEPARATOR}{step}" if step else name for step in PRIORITY_STEPS]


def model_queue(model: str) -> Queue:
    """A direct queue without an exchange: with one, its binding would live in Redis, and a flush would lose it."""
    name = queue_name(model)
    return Queue(name, exchange=Exchange(""), routing_key=name)


def make_celery(settings: Settings, models: Iterable[str] = ()) -> Celery:
    """The app that both sides use; a worker names the models whose queues it consumes."""
    app = Celery("limner", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_queues=[model_queue(model) for model in models],
        task_create_missing_queues=False,
        worker_concurrency=1,
        worker_prefetch_multiplier=settings.slots + 2,  # never 0, which means without bound
        worker_send_task_events=False,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=3,
        broker_transport_options={
            "visibility_timeout": 900,
            "priority_steps": list(PRIORITY_STEPS),
            "sep": PRIORITY_SEPARATOR,
            "queue_order_strategy": "priority",
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 5,
            # A publish to a Redis that is away fails at once: the dispatcher publishes again.
            "max_retries": 0,
            "interval_start": 0,
        },
    )
    return app


def publish(app: Celery, model: str, jobs: Iterable[Released]) -> None:
    """Put one message a job into the model's queue. Raises what kombu raises; the dispatcher makes up for a failure."""
    options: dict[str, Any] = {"queue": model_queue(model), "retry": False, "ignore_result": True}
    with app.producer_or_acquire() as producer:
        for job in jobs:
            message = {"v": MESSAGE_VERSION, "job": job.id}
            app.send_task(RUN_TASK, kwargs=message, priority=job.priority, producer=producer, **options)
