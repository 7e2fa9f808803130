"""One worker, put together: inbox → claim → engine → publisher. Knows nothing of Celery, which only delivers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, Queue

from sqlalchemy.exc import DBAPIError

from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.database import Database
from limner_shared.errors import LimnerError
from limner_shared.events import Hints, connect
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.engine.loop import Engine
from limner_worker.engine.request import JobRun
from limner_worker.generators.base import Generator
from limner_worker.leases import Leases
from limner_worker.progress import Reporter
from limner_worker.publish import Publisher

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message: the job it names, and how to acknowledge it."""

    job_id: str
    settle: Callable[[], None]


class WorkerService:
    """Takes deliveries from any thread; everything is done and acknowledged by threads of its own."""

    def __init__(self, settings: Settings, generators: Mapping[str, Generator]) -> None:
        self._settings = settings
        self._database = Database(settings.resolved_database_url)
        redis = connect(settings.redis_url)
        hints = Hints(redis)
        self._engine = Engine(generators, self)
        self._leases = Leases(settings, self._database, redis, list(generators), self._lost)
        blobs = Blobs(settings.resolved_blob_url)
        self._publisher = Publisher(self._database, blobs, hints, settings.lease_seconds, self._leases.forget)
        self._reporter = Reporter(hints)
        self._fingerprints = {name: generator.fingerprint() for name, generator in generators.items()}
        self._inbox: Queue[Delivery] = Queue()
        self._runs: dict[str, JobRun] = {}
        self._stopping = threading.Event()
        self._admission = threading.Thread(target=self._admit_forever, name="admission", daemon=True)
        self._hints = hints

    def start(self) -> None:
        """Begin to work; the models are loaded already."""
        self._engine.start()
        self._leases.start()
        self._reporter.start()
        self._admission.start()

    def deliver(self, delivery: Delivery) -> None:
        """Take a message in. It is acknowledged when its job is committed, or found to be none of ours."""
        self._inbox.put(delivery)

    def stop(self) -> None:
        """Warm shutdown: go on with what is held for a while, hand the rest back, leave nothing unacknowledged."""
        self._stopping.set()
        self._admission.join()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while self._leases.held and time.monotonic() < deadline:
            time.sleep(0.05)
        self._engine.stop()
        self._publisher.close()
        self._hand_back()
        self._reporter.stop()
        self._leases.stop()
        self._database.dispose()

    # --- what the engine tells ---

    def progressed(self, job: JobRun) -> None:
        """Note it; the reporter tells a few times a second."""
        self._reporter.note(job)

    def generated(self, job: JobRun) -> None:
        """Hand the pictures to the publisher."""
        if self._release(job.id):
            self._publisher.succeed(job, self._fingerprints[job.claim.spec.model])

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """Hand the reason to the publisher."""
        if self._release(job.id):
            self._publisher.fail(job, error)

    # --- admission ---

    def _admit_forever(self) -> None:
        while not self._stopping.is_set():
            deliveries = self._take(wait_seconds=0.1)
            if deliveries:
                self._admit(deliveries)
        for delivery in self._take(wait_seconds=0):
            delivery.settle()  # unclaimed: the dispatcher will release it again

    def _take(self, wait_seconds: float) -> list[Delivery]:
        """All that has arrived, so that it is claimed in one statement."""
        taken: list[Delivery] = []
        try:
            taken.append(self._inbox.get(timeout=wait_seconds) if wait_seconds else self._inbox.get_nowait())
            while True:
                taken.append(self._inbox.get_nowait())
        except Empty:
            return taken

    def _admit(self, deliveries: list[Delivery]) -> None:
        by_id = {delivery.job_id: delivery for delivery in deliveries}
        try:
            with self._database.write() as session:
                claims = ledger.claim(session, by_id, self._leases.owner, self._settings.lease_seconds)
        except DBAPIError as error:
            log.warning("could not claim; left to the dispatcher", jobs=len(by_id), error=str(error.orig)[:200])
            claims = []
            self._stopping.wait(1)
        jobs = [JobRun(claim, by_id[claim.id].settle) for claim in claims]
        self._runs |= {job.id: job for job in jobs}
        self._leases.hold({job.id for job in jobs})
        if jobs:
            self._engine.submit(jobs)
            self._reporter.started(claims)
        running = {id(by_id[claim.id]) for claim in claims}
        for delivery in deliveries:
            if id(delivery) not in running:
                delivery.settle()

    def _lost(self, job_ids: set[str]) -> None:
        self._engine.drop(job_ids)
        for job_id in job_ids:
            self._leases.forget(job_id)
            job = self._release(job_id)
            if job is not None:
                job.settle()

    def _release(self, job_id: str) -> JobRun | None:
        """Take a job out of our hands; whoever gets it settles it, so that it is settled once."""
        return self._runs.pop(job_id, None)

    def _hand_back(self) -> None:
        left = dict(self._runs)
        if not left:
            return
        try:
            with self._database.write() as session:
                changes = ledger.hand_back(session, self._leases.owner, left)
            self._hints.changed(changes)
            log.info("handed back", jobs=len(changes))
        except DBAPIError as error:
            log.warning("could not hand back; the leases will run out", jobs=len(left), error=str(error.orig)[:200])
        for job in left.values():
            self._leases.forget(job.id)
            job.settle()
