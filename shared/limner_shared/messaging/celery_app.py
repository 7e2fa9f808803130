"""The Celery app, the queues' names and the messages. A message is a hint that names jobs: it may be lost, doubled or
late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue

from limner_shared.db.ledger import Released
from limner_shared.domain.jobs import Lane
from limner_shared.settings import Settings

RUN_TASK: Final = "limner.run"
"""The one task name there is, for ever: an old worker would reject one it does not know."""
MESSAGE_VERSION: Final = 1
CONSUMED_AT_ONCE: Final = 1000
"""Messages that Celery may have unacknowledged; how many jobs a worker really holds, its admission decides."""


def queue_name(model: str, lane: Lane) -> str:
    """The queue of a model and lane: the Redis list of the same name."""
    return f"limner.{model}.{lane.name.lower()}"


def queue_names(model: str) -> list[str]:
    """A model's queues, the first served first."""
    return [queue_name(model, lane) for lane in Lane]


def lane_of(queue: str) -> Lane:
    """The lane of a queue's name."""
    return Lane[queue.rpartition(".")[2].upper()]


def model_of(queue: str) -> str:
    """The model of a queue's name."""
    return queue.removeprefix("limner.").rpartition(".")[0]


def _queue(name: str) -> Queue:
    """A direct queue without an exchange: with one, its binding would live in Redis, and a flush would lose it."""
    return Queue(name, exchange=Exchange(""), routing_key=name)


def make_celery(settings: Settings, models: Iterable[str] = (), queue_order: type | str = "priority") -> Celery:
    """The app that both sides use; a worker names the models whose queues it consumes, and in which order.

    `queue_order` is kombu's `queue_order_strategy`: a class that is asked before each fetch for the queues to look at.
    """
    app = Celery("limner", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_queues=[_queue(name) for model in models for name in queue_names(model)],
        task_create_missing_queues=False,
        worker_concurrency=1,
        worker_prefetch_multiplier=CONSUMED_AT_ONCE,
        worker_send_task_events=False,
        worker_enable_remote_control=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_transport="limner_shared.messaging.transport:HintTransport",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=3,
        broker_transport_options={
            "ack_emulation": False,
            "priority_steps": [0],
            "queue_order_strategy": queue_order,
            "polling_interval": 0.05,  # how long one fetch waits, and so how soon a lane that opens is looked at
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


def publish(app: Celery, model: str, jobs: Sequence[Released], jobs_a_message: int = 1) -> None:
    """Put released jobs into their lanes' queues. Raises what kombu raises; the dispatcher makes up for a failure."""
    with app.producer_or_acquire() as producer:
        for lane, group in groupby(jobs, key=lambda job: job.lane):
            of_lane = list(group)
            options: dict[str, Any] = {"queue": _queue(queue_name(model, lane)), "retry": False, "ignore_result": True}
            size = 1 if lane in (Lane.FIRST, Lane.ALONE) else jobs_a_message
            for start in range(0, len(of_lane), size):
                some = of_lane[start : start + size]
                message = {"v": MESSAGE_VERSION, "jobs": [job.id for job in some], "at": min(job.at for job in some)}
                app.send_task(RUN_TASK, kwargs=message, producer=producer, **options)
