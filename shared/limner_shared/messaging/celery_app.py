"""The Celery app, the queue names and the messages. A message is a hint that names jobs: it may be lost, duplicated or
delayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError

from limner_shared import metrics, tracing
from limner_shared.db.ledger import Released
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.measured_redis import measured
from limner_shared.messaging.redis_servers import address
from limner_shared.settings import Settings

RUN_TASK: Final = "limner.run"
"""The only task name. It must never change: an older worker rejects a name that it does not know."""
MESSAGE_VERSION: Final = 1
CACHED_NAMES: Final = 1024
"""Queue names that are taken apart once only: a worker does so some ten times before each fetch."""
CONSUMED_AT_ONCE: Final = 1000
"""Messages that Celery may hold unacknowledged. The real limit on a worker's jobs is its admission."""


def queue_name(model: str, lane: Lane) -> str:
    """The queue of a model and lane; the Redis list has the same name."""
    return f"limner.{model}.{lane.name.lower()}"


def queue_names(model: str) -> list[str]:
    """The queues of a model, in the order in which they are served."""
    return [queue_name(model, lane) for lane in Lane]


@lru_cache(CACHED_NAMES)
def lane_of(queue: str) -> Lane:
    """The lane of a queue name."""
    return Lane[queue.rpartition(".")[2].upper()]


@lru_cache(CACHED_NAMES)
def model_of(queue: str) -> str:
    """The model of a queue name."""
    return queue.removeprefix("limner.").rpartition(".")[0]


def _queue(name: str) -> Queue:
    """A queue without an exchange: an exchange's binding is stored in Redis, and a flush would lose it."""
    return Queue(name, exchange=Exchange(""), routing_key=name)


def make_celery(settings: Settings, models: Iterable[str] = (), queue_order: type | str = "priority") -> Celery:
    """Return the Celery app. A worker names the models whose queues it consumes and the order of the queues.

    `queue_order` is kombu's `queue_order_strategy`: a class that selects the queues to look at before each fetch.
    """
    app: Any = Celery("limner", broker=f"redis://{address(settings.redis_url)}", set_as_current=False)
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
        broker_channel_error_retry=True,  # a refused command, for example after a change of rights, is an outage
        broker_connection_timeout=3,
        broker_transport_options=_transport_options(settings, queue_order),
    )
    return app


def _transport_options(settings: Settings, queue_order: type | str) -> dict[str, Any]:
    """Options of kombu's Redis transport, and of its connections."""
    return {
        "redis_url": settings.redis_url,
        "ack_emulation": False,
        "priority_steps": [0],
        "queue_order_strategy": queue_order,
        "polling_interval": 0.05,  # wait of one fetch, and so the delay until an opened lane is used
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 5,
        "max_retries": 0,  # while Redis is unavailable a publish fails at once; the dispatcher repeats it
        "interval_start": 0,
    }


def publish(app: Celery, model: str, jobs: Sequence[Released], jobs_a_message: int = 1) -> None:
    """Publish released jobs to their lanes' queues. Raises kombu's errors; the dispatcher publishes lost messages
    again.
    """
    untyped: Any = app  # Celery's methods have no annotations
    with measured("publish", KombuError), untyped.producer_or_acquire() as producer:
        for lane, group in groupby(jobs, key=lambda job: job.lane):
            lane_jobs = list(group)
            options: dict[str, Any] = {"queue": _queue(queue_name(model, lane)), "retry": False, "ignore_result": True}
            size = 1 if lane in (Lane.FIRST, Lane.ALONE) else jobs_a_message
            for start in range(0, len(lane_jobs), size):
                batch = lane_jobs[start : start + size]
                message = {"v": MESSAGE_VERSION, "jobs": [job.id for job in batch], "at": min(job.at for job in batch)}
                sent_at = tracing.clock()
                untyped.send_task(RUN_TASK, kwargs=message, producer=producer, **options)
                _trace(batch, options["queue"].name, sent_at)
            metrics.JOBS_RELEASED.inc(len(lane_jobs), model=model, lane=lane.name.lower())


def _trace(jobs: Sequence[Released], queue: str, started: int) -> None:
    """Record the sending of a message in the trace of each job that it names."""
    for job in jobs if tracing.enabled() else ():
        attributes = {
            "messaging.system": "redis",
            "messaging.operation.type": "send",
            "messaging.operation.name": "send",
            "messaging.destination.name": queue,
            "messaging.batch.message_count": len(jobs),
            tracing.JOB_ID: job.id,
        }
        tracing.record(f"send {queue}", job.traceparent, started, attributes, kind="producer")
