"""Keeps this worker's claims alive: renews every lease in one statement, and tells which ones are lost or canceled."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from limner_shared import ledger
from limner_shared.database import Database
from limner_shared.events import CANCEL_CHANNEL
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

WORKER_TTL_SECONDS = 30


def new_owner() -> str:
    """Who holds a lease: this process, and no other even if its number is used again."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


class Leases:
    """The jobs this worker holds. `lost` is called, from a thread of ours, with the ids that must be dropped."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        redis: Redis,
        models: Sequence[str],
        lost: Callable[[set[str]], None],
    ) -> None:
        self.owner = new_owner()
        self._settings = settings
        self._database = database
        self._redis = redis
        self._models = list(models)
        self._lost = lost
        self._held: set[str] = set()
        self.redis_is_away = False
        """Whether the last heartbeat could not be told to Redis."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._heartbeats, name="heartbeat", daemon=True),
            threading.Thread(target=self._listen, name="cancel-listener", daemon=True),
        ]

    def start(self) -> None:
        """Begin to renew, and to listen for cancellations."""
        for thread in self._threads:
            thread.start()

    def hold(self, job_ids: set[str]) -> None:
        """Renew these from now on."""
        with self._lock:
            self._held |= job_ids

    def forget(self, job_id: str) -> None:
        """Renew this no more: it is finished or no longer ours."""
        with self._lock:
            self._held.discard(job_id)

    @property
    def held(self) -> set[str]:
        """The ids of the jobs whose leases are renewed now."""
        with self._lock:
            return set(self._held)

    def stop(self) -> None:
        """Renew nothing more, and take the worker's name off the board."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._on_board(present=False)

    def _heartbeats(self) -> None:
        while True:
            self._on_board(present=True)
            if self._stopping.wait(self._settings.heartbeat_seconds):
                return
            self._renew()

    def _renew(self) -> None:
        held = self.held
        if not held:
            return
        try:
            with self._database.write() as session:
                ours = ledger.renew(session, self.owner, held, self._settings.lease_seconds)
        except DBAPIError as error:
            log.warning("could not renew leases", jobs=len(held), error=str(error.orig)[:200])
            return
        # What was finished meanwhile is not renewed either: only what is still held was lost.
        lost = (held - ours) & self.held
        if lost:
            log.info("dropping jobs that are canceled or another's", jobs=sorted(lost))
            self._lost(lost)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    pubsub.subscribe(CANCEL_CHANNEL)
                    while not self._stopping.is_set():
                        message = pubsub.get_message(timeout=0.5)
                        if message and message["data"] in self.held:
                            self._lost({message["data"]})
            except RedisError:
                self._stopping.wait(1)  # the heartbeat will find out

    def _on_board(self, *, present: bool) -> None:
        key = f"limner:worker:{self.owner}"
        about = {"models": self._models, "device": self._settings.device, "held": len(self.held)}
        try:
            if present:
                self._redis.set(key, json.dumps(about), ex=WORKER_TTL_SECONDS)
            else:
                self._redis.delete(key)
        except RedisError:
            self.redis_is_away = True
        else:
            self.redis_is_away = False
