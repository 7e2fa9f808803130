"""From messages to claimed jobs: all that has arrived is claimed in one statement, what is not ours is let go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, Queue
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.db.ledger import Claim
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import lane_of
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.held_jobs import HeldJobs
from limner_worker.runtime.leases import Leases

log = get_logger(__name__)

POLL_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
CLAIMED_WITHOUT_REDIS: Final = 8
"""While Redis is away, the most jobs that are taken from the database at a time."""
UNIT_SECONDS: Final = 300.0
"""One claim that lasts longer is stalled; the database's own time limits end it long before."""


class Delivery:
    """A message: the queue it came from, the jobs it names, and how to acknowledge it once none of them needs it."""

    def __init__(self, queue: str, job_ids: list[str], settle: Callable[[], None]) -> None:
        self.queue = queue
        self.job_ids = list(dict.fromkeys(job_ids))
        self._settle = settle
        self._left = set(self.job_ids)
        self._lock = threading.Lock()

    @property
    def lane(self) -> Lane:
        """The lane of its queue."""
        return lane_of(self.queue)

    def done(self, job_id: str) -> bool:
        """One of its jobs needs this message no longer; False if that was known."""
        with self._lock:
            if job_id not in self._left:
                return False
            self._left.discard(job_id)
            last = not self._left
        if last:
            self._settle()
        return True


class Claimer:
    """One thread. `begin` gets the runs of what it claimed."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        admission: Admission,
        held: HeldJobs,
        leases: Leases,
        threads: Supervisor,
        begin: Callable[[Sequence[JobRun]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._admission = admission
        self._held = held
        self._leases = leases
        self._threads = threads
        self._begin = begin
        self._inbox: Queue[Delivery] = Queue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to claim."""
        self._thread = self._threads.start("claiming", self._run)

    def deliver(self, delivery: Delivery) -> None:
        """Take a message in. It is acknowledged when its jobs are committed, or found to be none of ours."""
        self._admission.arrived(delivery.queue, len(delivery.job_ids))
        self._inbox.put(delivery)

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            deliveries = self._take(wait_seconds=POLL_SECONDS)
            together = [delivery for delivery in deliveries if delivery.lane is not Lane.ALONE]
            if together:
                self._claim(together)
            for delivery in deliveries:
                if delivery.lane is Lane.ALONE:
                    self._claim_alone(delivery)
            if not deliveries and self._leases.redis_is_away:
                self._claim_without_redis()
        for delivery in self._take(wait_seconds=0):
            self._let_go(delivery)  # unclaimed: the dispatcher will release it again

    def _take(self, wait_seconds: float) -> list[Delivery]:
        """All that has arrived, so that it is claimed in one statement."""
        taken: list[Delivery] = []
        try:
            taken.append(self._inbox.get(timeout=wait_seconds) if wait_seconds else self._inbox.get_nowait())
            while True:
                taken.append(self._inbox.get_nowait())
        except Empty:
            return taken

    def _claim(self, deliveries: list[Delivery]) -> None:
        by_id = {job_id: delivery for delivery in deliveries for job_id in delivery.job_ids}
        claims = self._write(list(by_id))
        self._begin([JobRun(claim, self._settler(claim, by_id)) for claim in claims])
        claimed = {claim.id for claim in claims}
        for delivery in deliveries:
            for job_id in delivery.job_ids:
                if job_id not in claimed or by_id[job_id] is not delivery:
                    self._done(delivery, job_id)

    def _write(self, job_ids: list[str]) -> list[Claim]:
        """Claim all together; where the database refuses that, each alone, so that one row concerns no other."""
        self._threads.working()
        try:
            with self._database.write() as session:
                return ledger.claim(session, job_ids, self._leases.owner, self._settings.lease_seconds)
        except SQLAlchemyError as error:
            log.warning("could not claim; left to the dispatcher", jobs=len(job_ids), error=describe(error))
            self._stopping.wait(RETRY_SECONDS)
            return []
        except Exception:
            log.exception("could not claim", jobs=job_ids)
            return [] if len(job_ids) == 1 else [claim for job_id in job_ids for claim in self._write([job_id])]
        finally:
            self._threads.idle()

    def _claim_alone(self, delivery: Delivery) -> None:
        """A job that may be what killed two workers: nothing else is in hand while it runs, so it can harm nothing."""
        while len(self._held):
            if self._stopping.wait(POLL_SECONDS):
                return self._let_go(delivery)
        self._claim([delivery])
        while len(self._held) and not self._stopping.wait(POLL_SECONDS):
            continue
        return None

    def _claim_without_redis(self) -> None:
        """Take the oldest queued jobs straight from the database: no fair shares, but the work goes on."""
        room = min(CLAIMED_WITHOUT_REDIS, self._settings.slots) - len(self._held)
        models = [model for model in self._admission.models if self._admission.takes(model)]
        if room <= 0 or not models:
            return
        self._threads.working()
        try:
            with self._database.write() as session:
                claims = ledger.claim_next(session, models, room, self._leases.owner, self._settings.lease_seconds)
        except SQLAlchemyError:
            self._stopping.wait(RETRY_SECONDS)
            return
        finally:
            self._threads.idle()
        self._begin([JobRun(claim, lambda: None) for claim in claims])

    def _settler(self, claim: Claim, deliveries: Mapping[str, Delivery]) -> Callable[[], None]:
        return lambda: self._done(deliveries[claim.id], claim.id)

    def _done(self, delivery: Delivery, job_id: str) -> None:
        if delivery.done(job_id):
            self._admission.left(delivery.queue)

    def _let_go(self, delivery: Delivery) -> None:
        for job_id in delivery.job_ids:
            self._done(delivery, job_id)
