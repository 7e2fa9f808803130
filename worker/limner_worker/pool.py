"""Celery's worker pool with one engine in it: a message goes to the engine, and is acknowledged after its commit."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from celery.concurrency.base import BasePool
from kombu.asynchronous import Hub
from kombu.exceptions import KombuError
from kombu.serialization import loads

from limner_shared.celery_app import MESSAGE_VERSION
from limner_shared.telemetry import get_logger
from limner_worker.service import Delivery, WorkerService

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
        self._hub: Hub | None = None
        self._service = self.make_service()
        self._service.start()

    def register_with_event_loop(self, loop: Hub) -> None:
        """Learn the loop through which the consumer's thread can be called."""
        self._hub = loop

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
            if self._hub is not None:
                self._hub.call_soon(self._drain)

        job_id = _job_id(args)
        if job_id is None:
            settle()
        else:
            self._service.deliver(Delivery(job_id, settle))

    def on_stop(self) -> None:
        """Warm shutdown: finish or hand back, then acknowledge here, since the loop turns no more."""
        self._service.stop()
        self._drain()

    def on_terminate(self) -> None:
        """Cold shutdown: leave everything to the leases."""

    def _drain(self) -> None:
        while self._settled:
            self._settled.popleft()()


def engine_pool(make: Callable[[], WorkerService]) -> type[EnginePool]:
    """The pool class to give to Celery, which makes the instance itself."""

    class Pool(EnginePool):
        """This worker's pool."""

        def make_service(self) -> WorkerService:
            return make()

    return Pool


def _job_id(args: tuple[Any, ...]) -> str | None:
    """The job a message names; None for one that is malformed, which is acknowledged and forgotten."""
    try:
        _, _, _, body, content_type, encoding = args
        kwargs: dict[str, Any] = cast("Any", loads(body, content_type, encoding, accept={"application/json"}))[1]
        if kwargs["v"] != MESSAGE_VERSION or not isinstance(kwargs["job"], str):
            raise ValueError(f"version {kwargs['v']!r}")
    except (KombuError, ValueError, TypeError, KeyError) as error:
        log.warning("malformed message dropped", error=repr(error)[:200])
        return None
    return kwargs["job"]
