"""Writes when API keys were last used, beside the requests: no request waits for it or fails with it."""

from __future__ import annotations

import threading
import time
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database, describe
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS

log = get_logger(__name__)

MAX_PENDING: Final = 1000
"""Keys that may wait to be written. The use of a further one is written at a later request."""


class KeyUsage:
    """The keys whose last use is to be written. One thread writes them; a key is tried at most once a minute."""

    def __init__(self, database: Database, supervisor: Supervisor) -> None:
        self._database = database
        self._supervisor = supervisor
        self._pending: set[str] = set()
        self._tried_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def note(self, key_id: str) -> None:
        """Have the key's last use written soon, unless this process tried that within the last minute."""
        now = time.monotonic()
        with self._lock:
            if now - self._tried_at.get(key_id, float("-inf")) < keys.LAST_USED_SECONDS:
                return
            if len(self._pending) >= MAX_PENDING:
                return
            self._tried_at[key_id] = now
            self._pending.add(key_id)
            if self._thread is None:  # at the first use, so that each forked server process has its own
                self._thread = self._supervisor.start("key usage", self._run, limit_seconds=UNIT_SECONDS)
        self._wake.set()

    def close(self) -> None:
        """Write what is pending and end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._supervisor.idle()
            self._wake.wait()
            self._supervisor.working()
            self._wake.clear()
            self.write()

    def write(self) -> None:
        """Write what is pending. A failure is logged; the key's next use after a minute tries again."""
        with self._lock:
            taken, self._pending = sorted(self._pending), set()
            recent = time.monotonic() - keys.LAST_USED_SECONDS
            self._tried_at = {key_id: at for key_id, at in self._tried_at.items() if at > recent}
        if not taken:
            return
        try:
            with self._database.write() as session:
                keys.note_use(session, taken)
        except SQLAlchemyError as error:
            log.warning("could not write the last use of keys", keys=len(taken), error=describe(error))
