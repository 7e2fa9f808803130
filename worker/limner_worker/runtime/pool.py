"""A Celery worker pool that passes each message to the worker service and acknowledges it after its jobs' commits."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from celery.concurrency.base import BasePool
from kombu import serialization
from kombu.asynchronous import Hub
from kombu.exceptions import KombuError

from limner_shared.messaging.celery_app import MESSAGE_VERSION, lane_of
from limner_shared.python_gc import collect_and_freeze
from limner_shared.telemetry import get_logger
from limner_worker.runtime.claiming import JobMessage
from limner_worker.runtime.service import WorkerService

log = get_logger(__name__)


class EnginePool(BasePool):
    """A custom pool (Celery: "Custom worker pools"); `engine_pool` creates the class for a service.

    Celery's consumer thread only passes messages on and acknowledges them. It does no device or database work, so that
    heartbeats and remote control respond while the engine is busy.
    """

    signal_safe = False
    body_can_be_buffer = True

    @abstractmethod
    def make_service(self) -> WorkerService:
        """Return the service that gets the messages."""

    def on_start(self) -> None:
        """Build and start the service; the consumer starts afterwards, so that nothing is fetched before."""
        self._acknowledgements: deque[Callable[[], None]] = deque()
        # Wakes the consumer's loop, which otherwise sleeps until Redis answers.
        self._wakeup_reader, self._wakeup_writer = os.pipe()
        os.set_blocking(self._wakeup_reader, False)
        os.set_blocking(self._wakeup_writer, False)
        self._service = self.make_service()
        self._service.start()
        collect_and_freeze()

    def register_with_event_loop(self, loop: Hub) -> None:
        """Let other threads wake the consumer's thread: only that thread may acknowledge."""
        cast("Any", loop).add_reader(self._wakeup_reader, self._run_acknowledgements)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        callback: Callable[..., None],
        accept_callback: Callable[..., None],
        **options: Any,
    ) -> None:
        """Pass one message to the service (consumer's thread)."""
        started = time.monotonic()
        accept_callback(os.getpid(), started)

        def acknowledge() -> None:
            # Kombu's channels belong to the consumer's thread: acknowledge there.
            self._acknowledgements.append(lambda: callback((0, None, time.monotonic() - started)))
            with suppress(BlockingIOError):  # the pipe is full: the consumer is about to wake
                os.write(self._wakeup_writer, b"!")

        message = _read(args)
        if message is None:
            acknowledge()
        else:
            self._service.deliver(JobMessage(*message, acknowledge))

    def on_stop(self) -> None:
        """Warm shutdown: finish or hand back jobs, then acknowledge here, since the consumer's loop has ended."""
        self._service.stop()
        self._run_acknowledgements()

    def on_terminate(self) -> None:
        """Cold shutdown: do nothing; the leases run out and the jobs are requeued."""

    def _run_acknowledgements(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wakeup_reader, 1 << 16)
        while self._acknowledgements:
            self._acknowledgements.popleft()()


def engine_pool(make: Callable[[], WorkerService]) -> type[EnginePool]:
    """Return the pool class to give to Celery; Celery creates the instance. `make` builds the service."""

    class Pool(EnginePool):
        """The pool of this worker."""

        def make_service(self) -> WorkerService:
            return make()

    return Pool


def _read(args: tuple[Any, ...]) -> tuple[str, list[str]] | None:
    """Return the queue and the job ids of a message; None if it is malformed, and must only be acknowledged."""
    try:
        _, _, request, body, content_type, encoding = args
        accepted = {"application/json"}
        kwargs: dict[str, Any] = cast("Any", serialization).loads(body, content_type, encoding, accept=accepted)[1]
        jobs: Any = kwargs["jobs"]
        if kwargs["v"] != MESSAGE_VERSION or not jobs or not all(isinstance(job, str) for job in jobs):
            raise ValueError(f"version {kwargs['v']!r}, jobs {jobs!r}")
        queue = str(request["delivery_info"]["routing_key"])
        lane_of(queue)  # raises KeyError for a queue that is not Limner's
        return queue, list(jobs)
    except (KombuError, ValueError, TypeError, KeyError) as error:
        log.warning("malformed message dropped", error=repr(error)[:200])
        return None
