"""Celery's worker pool with one engine in it: a message goes to the engine, and is acknowledged after its commits."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from celery.concurrency.base import BasePool
from kombu.asynchronous import Hub
from kombu.exceptions import KombuError
from kombu.serialization import loads

from limner_shared.messaging.celery_app import MESSAGE_VERSION, lane_of
from limner_shared.telemetry import get_logger
from limner_worker.runtime.claiming import Delivery
from limner_worker.runtime.service import WorkerService

log = get_logger(__name__)


class EnginePool(BasePool):
    """A custom pool (Celery: "Custom worker pools"); `engine_pool` makes one for a service.

    Celery's consumer thread only hands messages over and acknowledges; it does no device or database work, so that
    heartbeats and remote control answer while the engine is busy.
    """

    signal_safe = False
    body_can_be_buffer = True

    @abstractmethod
    def make_service(self) -> WorkerService:
        """Build what the pool feeds."""

    def on_start(self) -> None:
        """Load the models and start the engine; the consumer starts after this, so nothing is fetched before."""
        self._settled: deque[Callable[[], None]] = deque()
        self._bell, self._ring = os.pipe()  # wakes the consumer's loop, which otherwise sleeps until Redis answers
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ring, False)
        self._service = self.make_service()
        self._service.start()

    def register_with_event_loop(self, loop: Hub) -> None:
        """Let the consumer's thread be called: acknowledging is its work alone."""
        loop.add_reader(self._bell, self._drain)

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
        """Take one message over (consumer's thread)."""
        started = time.monotonic()
        accept_callback(os.getpid(), started)

        def settle() -> None:
            # Kombu's channels belong to the consumer's thread: acknowledge there.
            self._settled.append(lambda: callback((0, None, time.monotonic() - started)))
            with suppress(BlockingIOError):  # full of rings already
                os.write(self._ring, b"!")

        message = _read(args)
        if message is None:
            settle()
        else:
            self._service.deliver(Delivery(*message, settle))

    def on_stop(self) -> None:
        """Warm shutdown: finish or hand back, then acknowledge here, since the loop turns no more."""
        self._service.stop()
        self._drain()

    def on_terminate(self) -> None:
        """Cold shutdown: leave everything to the leases."""

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 1 << 16)
        while self._settled:
            self._settled.popleft()()


def engine_pool(make: Callable[[], WorkerService]) -> type[EnginePool]:
    """The pool class to give to Celery, which makes the instance itself."""

    class Pool(EnginePool):
        """This worker's pool."""

        def make_service(self) -> WorkerService:
            return make()

    return Pool


def _read(args: tuple[Any, ...]) -> tuple[str, list[str]] | None:
    """The queue and the jobs of a message; None for one that is malformed, which is acknowledged and forgotten."""
    try:
        _, _, request, body, content_type, encoding = args
        kwargs: dict[str, Any] = cast("Any", loads(body, content_type, encoding, accept={"application/json"}))[1]
        jobs: Any = kwargs["jobs"]
        if kwargs["v"] != MESSAGE_VERSION or not jobs or not all(isinstance(job, str) for job in jobs):
            raise ValueError(f"version {kwargs['v']!r}, jobs {jobs!r}")
        queue = str(request["delivery_info"]["routing_key"])
        lane_of(queue)  # raises KeyError for one that is none of ours
        return queue, list(jobs)
    except (KombuError, ValueError, TypeError, KeyError) as error:
        log.warning("malformed message dropped", error=repr(error)[:200])
        return None
