"""From messages to claimed jobs: all arrived messages are claimed in one statement; jobs that are not claimed are
acknowledged and left to the dispatcher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, Queue
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from limner_shared import tracing
from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.db.ledger import Claim
from limner_shared.db.notifications import WaitingListener
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import lane_of
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.telemetry import job_ids as listed
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import AttemptTrace
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.held_jobs import HeldJobs
from limner_worker.runtime.leases import Leases

log = get_logger(__name__)

POLL_SECONDS: Final = 0.1
"""The longest wait for a message, and the interval at which the database is polled while Redis is away."""
LISTENING_POLL_SECONDS: Final = 1.0
"""The interval while the database's notifications are listened to and nothing was left to claim: new jobs are notified,
retries and jobs of lost workers are not."""
RETRY_SECONDS: Final = 1.0
"""Pause after the database refused a claim."""
CLAIMED_WITHOUT_REDIS: Final = 8
"""Jobs that a worker holds at most while Redis is away and it claims from the database."""
UNIT_SECONDS: Final = 300.0
"""One claim that lasts longer is stalled; the database's own time limits end it long before."""


class JobMessage:
    """A message: its queue, the jobs that it names, and how to acknowledge it once none of them needs it."""

    def __init__(self, queue: str, job_ids: list[str], acknowledge: Callable[[], None]) -> None:
        self.queue = queue
        self.job_ids = list(dict.fromkeys(job_ids))
        self._acknowledge = acknowledge
        self._unacknowledged = set(self.job_ids)
        self._lock = threading.Lock()

    @property
    def lane(self) -> Lane:
        """The lane of its queue."""
        return lane_of(self.queue)

    def acknowledge_job(self, job_id: str) -> bool:
        """Record that one job no longer needs the message, and acknowledge the message after its last job.

        Returns False if that was recorded before.
        """
        with self._lock:
            if job_id not in self._unacknowledged:
                return False
            self._unacknowledged.discard(job_id)
            last = not self._unacknowledged
        if last:
            self._acknowledge()
        return True


class Claimer:
    """One thread that claims the delivered jobs and passes their runs to `start_jobs`."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        admission: Admission,
        held: HeldJobs,
        leases: Leases,
        supervisor: Supervisor,
        start_jobs: Callable[[Sequence[JobRun]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._admission = admission
        self._held = held
        self._leases = leases
        self._supervisor = supervisor
        self._start_jobs = start_jobs
        self._inbox: Queue[JobMessage | None] = Queue()
        self._notifications = WaitingListener(database, supervisor, self._wake)
        self._woken = threading.Event()
        self._next_poll_at = 0.0
        """When to poll the database next while Redis is away, by the monotonic clock."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("claiming", self._run, limit_seconds=UNIT_SECONDS)
        self._notifications.start()

    def deliver(self, message: JobMessage) -> None:
        """Accept a message. It is acknowledged when each of its jobs is committed, or is found not to be claimable."""
        self._admission.add(message.queue, len(message.job_ids))
        self._inbox.put(message)

    def stop(self) -> None:
        """Stop claiming, and acknowledge the messages that were not claimed."""
        self._stopping.set()
        self._notifications.stop()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            messages = self._receive(wait_seconds=POLL_SECONDS)
            together = [message for message in messages if message.lane is not Lane.ALONE]
            if together:
                self._claim(together, together=True)
            for message in messages:
                if message.lane is Lane.ALONE:
                    self._claim_alone(message)
            if self._woken.is_set() or (not messages and self._polls()):
                self._woken.clear()
                self._claim_without_redis()
        for message in self._receive(wait_seconds=0):
            self._acknowledge_unclaimed(message)

    def _wake(self) -> None:
        """Claim from the database now: a job was submitted without Redis. Safe from any thread."""
        self._woken.set()
        self._inbox.put(None)

    def _polls(self) -> bool:
        return self._leases.redis_is_away and time.monotonic() >= self._next_poll_at

    def _receive(self, wait_seconds: float) -> list[JobMessage]:
        """Return all messages that have arrived, so that they are claimed in one statement."""
        received: list[JobMessage | None] = []
        try:
            received.append(self._inbox.get(timeout=wait_seconds) if wait_seconds else self._inbox.get_nowait())
            while True:
                received.append(self._inbox.get_nowait())
        except Empty:
            return [message for message in received if message is not None]

    def _claim(self, messages: list[JobMessage], *, together: bool) -> None:
        by_id = {job_id: message for message in messages for job_id in message.job_ids}
        started = tracing.clock()
        claims = self._write_claims(list(by_id), together=together)
        self._start_jobs(
            [JobRun(claim, self._acknowledger(claim, by_id), AttemptTrace.of(claim, started)) for claim in claims]
        )
        claimed = {claim.id for claim in claims}
        for message in messages:
            for job_id in message.job_ids:
                if job_id not in claimed or by_id[job_id] is not message:
                    self._acknowledge(message, job_id)

    def _write_claims(self, job_ids: list[str], *, together: bool) -> list[Claim]:
        """Claim all jobs in one statement.

        A database error leaves them all to the dispatcher. After any other exception each job is claimed by itself, so
        that one bad row affects no other job.
        """
        self._supervisor.working()
        try:
            with self._database.write() as session:
                lease = self._settings.lease_seconds
                return ledger.claim(session, job_ids, self._leases.owner, lease, together=together)
        except SQLAlchemyError as error:
            log.warning("could not claim, left to the dispatcher", jobs=listed(job_ids), error=describe(error))
            self._stopping.wait(RETRY_SECONDS)
            return []
        except Exception:
            log.exception("could not claim", jobs=listed(job_ids))
            each = [] if len(job_ids) == 1 else [[job_id] for job_id in job_ids]
            return [claim for one in each for claim in self._write_claims(one, together=together)]
        finally:
            self._supervisor.idle()

    def _claim_alone(self, message: JobMessage) -> None:
        """Run a job that may have ended two workers: no other job is held while it runs, so it can harm none."""
        if not self._finish_others(message):
            return self._acknowledge_unclaimed(message)
        self._claim([message], together=False)
        while len(self._held) and not self._stopping.wait(POLL_SECONDS):
            continue
        return None

    def _finish_others(self, message: JobMessage) -> bool:
        """Wait until no job is held; False if this worker stops, or if the message's job needs no worker any more.

        The job is not claimed yet: a worker that is lost over one of the others would be counted against it. Nor is
        its message lost, or one worker after the other would fetch it and wait.
        """
        marked_at = time.monotonic()
        while len(self._held):
            if self._stopping.wait(POLL_SECONDS):
                return False
            if time.monotonic() - marked_at >= self._settings.heartbeat_seconds:
                marked_at = time.monotonic()
                if not self._keep_released(message):
                    return False
        return True

    def _keep_released(self, message: JobMessage) -> bool:
        try:
            with self._database.write() as session:
                return ledger.keep_released(session, message.job_ids)
        except SQLAlchemyError as error:
            log.warning("could not mark a job as released", jobs=listed(message.job_ids), error=describe(error))
            return True  # nothing is known

    def _claim_without_redis(self) -> None:
        """Claim the queued jobs that were released first from the database: no fair shares, but work continues."""
        self._next_poll_at = 0.0
        room = min(CLAIMED_WITHOUT_REDIS, self._settings.slots) - len(self._held)
        models = [model for model in self._admission.model_breakers if self._admission.accepts(model)]
        if room <= 0 or not models:
            return
        self._supervisor.working()
        started = tracing.clock()
        try:
            with self._database.write() as session:
                claims = self._claim_next(session, models, room)
        except SQLAlchemyError:
            self._stopping.wait(RETRY_SECONDS)
            return
        finally:
            self._supervisor.idle()
        if len(claims) < room and self._notifications.listens:
            self._next_poll_at = time.monotonic() + LISTENING_POLL_SECONDS
        self._start_jobs([JobRun(claim, lambda: None, AttemptTrace.of(claim, started)) for claim in claims])

    def _claim_next(self, session: Session, models: Sequence[str], room: int) -> list[Claim]:
        """Claim one job of each model on trial that has none here, and others of the models that are not on trial."""
        trials = [model for model in models if self._admission.is_on_trial(model)]
        held = {job.claim.spec.model for job in self._held.all()} if trials else set[str]()
        wanted = [([model], 1) for model in trials if model not in held]
        if others := [model for model in models if model not in trials]:
            wanted.append((others, room))
        claims: list[Claim] = []
        for some, most in wanted:
            most_now, lease = min(most, room - len(claims)), self._settings.lease_seconds
            if most_now > 0:
                claims += ledger.claim_next(session, some, most_now, self._leases.owner, lease)
        return claims

    def _acknowledger(self, claim: Claim, messages: Mapping[str, JobMessage]) -> Callable[[], None]:
        return lambda: self._acknowledge(messages[claim.id], claim.id)

    def _acknowledge(self, message: JobMessage, job_id: str) -> None:
        if message.acknowledge_job(job_id):
            self._admission.remove(message.queue)

    def _acknowledge_unclaimed(self, message: JobMessage) -> None:
        """Acknowledge a message whose jobs stay queued; the dispatcher will release them again."""
        for job_id in message.job_ids:
            self._acknowledge(message, job_id)
