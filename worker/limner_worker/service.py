"""One worker, put together: inbox → claim → engine → publisher. Knows nothing of Celery, which only delivers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from queue import Empty, Queue

from sqlalchemy.exc import DBAPIError

from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.database import Database
from limner_shared.errors import LimnerError
from limner_shared.events import Hints, connect
from limner_shared.jobs import Lane
from limner_shared.ledger import Claim, NewImage
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.admission import Admission
from limner_worker.engine.loop import Engine
from limner_worker.engine.request import JobRun
from limner_worker.generators.base import Picture
from limner_worker.generators.residents import Residents
from limner_worker.half_made import HalfMade
from limner_worker.inputs import load_inputs
from limner_worker.language import Presenter, Understanding, interpreter_of, server_of, sights_of
from limner_worker.leases import Leases
from limner_worker.progress import Reporter
from limner_worker.publish import Publisher
from limner_worker.sharing import Sharing
from limner_worker.watchdog import Watchdog

log = get_logger(__name__)

POLL_SECONDS = 0.1
CLAIMED_WITHOUT_REDIS = 8
"""While Redis is away, so many jobs at most are taken from the database at a time."""


class Delivery:
    """A message: the jobs it names, and how to acknowledge it once all of them are done with."""

    def __init__(self, lane: Lane, job_ids: list[str], settle: Callable[[], None]) -> None:
        self.lane = lane
        self.job_ids = list(dict.fromkeys(job_ids))
        self._settle = settle
        self._left = set(self.job_ids)
        self._lock = threading.Lock()

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


class WorkerService:
    """Takes deliveries from any thread; everything is done and acknowledged by threads of its own."""

    def __init__(self, settings: Settings, models: Residents, admission: Admission) -> None:
        self._settings = settings
        self._admission = admission
        self._database = Database(settings.resolved_database_url)
        redis = connect(settings.redis_url)
        hints = Hints(redis)
        self._models = list(models.cards)
        self._engine = Engine(models, self, settings.checkpoint_seconds)
        self._leases = Leases(settings, self._database, redis, self._models, self._lost)
        self._blobs = blobs = Blobs(settings.resolved_blob_url)
        self._fingerprints = models.fingerprints
        self._half_made = HalfMade(blobs, self._fingerprints)
        server = server_of(settings)
        self._understanding = Understanding(
            self._database, interpreter_of(settings, server), models.cards, self._begin, self._lose
        )
        self._publisher = Publisher(
            self._database,
            blobs,
            hints,
            settings.lease_seconds,
            self._ended,
            Presenter(server, sights_of(models.cards)),
        )
        self._sharing = Sharing(
            self._database, blobs, self._fingerprints, self._is_ours, self._engine.submit, self._share
        )
        self._reporter = Reporter(hints)
        self._watchdog = Watchdog(lambda: self._engine.stuck(settings.hang_seconds), self._hand_back)
        self._inbox: Queue[Delivery] = Queue()
        self._runs: dict[str, JobRun] = {}
        self._stopping = threading.Event()
        self._admitter = threading.Thread(target=self._admit_forever, name="admission", daemon=True)
        self._hints = hints

    def start(self) -> None:
        """Begin to work; the models are loaded already."""
        self._engine.start()
        self._leases.start()
        self._reporter.start()
        self._understanding.start()
        self._sharing.start()
        self._admitter.start()
        self._watchdog.start()

    def deliver(self, delivery: Delivery) -> None:
        """Take a message in. It is acknowledged when its jobs are committed, or found to be none of ours."""
        self._admission.arrived(delivery.lane, len(delivery.job_ids))
        self._inbox.put(delivery)

    def stop(self) -> None:
        """Warm shutdown: go on with what is held for a while, hand the rest back, leave nothing unacknowledged."""
        self._stopping.set()
        self._admitter.join()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while self._leases.held and time.monotonic() < deadline:
            time.sleep(0.05)
        self._understanding.stop()
        self._sharing.stop()
        self._engine.stop()
        self._watchdog.stop()  # after it: a hanging step must not hold up the end
        self._publisher.close()
        self._half_made.close()
        self._hand_back()
        self._reporter.stop()
        self._leases.stop()
        self._database.dispose()

    # --- what the engine tells ---

    def progressed(self, job: JobRun) -> None:
        """Note it; the reporter tells a few times a second."""
        self._reporter.note(job)

    def previewed(self, job: JobRun, picture: Picture) -> None:
        """The reporter shows it."""
        self._reporter.show(job, picture)

    def half_made(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Have it stored."""
        if job.id in self._runs:
            self._half_made.keep(job, index, checkpoint)

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Hand the pictures to the publisher."""
        ours = [job for job in jobs if self._release(job.id)]
        if ours:
            self._publisher.succeed(ours, self._fingerprints[ours[0].claim.spec.model])

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """Hand the reason to the publisher."""
        if self._release(job.id):
            self._publisher.fail(job, error)

    # --- admission ---

    def _admit_forever(self) -> None:
        while not self._stopping.is_set():
            deliveries = self._take(wait_seconds=POLL_SECONDS)
            together = [delivery for delivery in deliveries if delivery.lane is not Lane.ALONE]
            if together:
                self._admit(together)
            for delivery in deliveries:
                if delivery.lane is Lane.ALONE:
                    self._admit_alone(delivery)
            if not deliveries and self._leases.redis_is_away:
                self._admit_without_redis()
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

    def _admit(self, deliveries: list[Delivery]) -> None:
        by_id = {job_id: delivery for delivery in deliveries for job_id in delivery.job_ids}
        try:
            with self._database.write() as session:
                claims = ledger.claim(session, by_id, self._leases.owner, self._settings.lease_seconds)
        except DBAPIError as error:
            log.warning("could not claim; left to the dispatcher", jobs=len(by_id), error=str(error.orig)[:200])
            claims = []
            self._stopping.wait(1)
        self._run(claims, by_id)
        claimed = {claim.id for claim in claims}
        for delivery in deliveries:
            for job_id in delivery.job_ids:
                if job_id not in claimed or by_id[job_id] is not delivery:
                    self._done(delivery, job_id)

    def _admit_alone(self, delivery: Delivery) -> None:
        """A job that may be what killed two workers: nothing else is in hand while it runs, so it can harm nobody."""
        while self._runs or self._leases.held:
            if self._stopping.wait(POLL_SECONDS):
                return self._let_go(delivery)
        self._admit([delivery])
        while self._leases.held and not self._stopping.wait(POLL_SECONDS):
            continue
        return None

    def _admit_without_redis(self) -> None:
        """Take the oldest queued jobs straight from the database: no fair shares, but nothing stands still."""
        room = min(CLAIMED_WITHOUT_REDIS, self._settings.slots) - len(self._leases.held)
        if room <= 0:
            return
        try:
            with self._database.write() as session:
                claims = ledger.claim_next(
                    session, self._models, room, self._leases.owner, self._settings.lease_seconds
                )
        except DBAPIError:
            self._stopping.wait(1)
            return
        self._run(claims, {})

    def _run(self, claims: list[Claim], deliveries: Mapping[str, Delivery]) -> None:
        jobs = [JobRun(claim, self._settler(claim.id, deliveries.get(claim.id))) for claim in claims]
        self._runs |= {job.id: job for job in jobs}
        self._leases.hold({job.id for job in jobs})
        self._reporter.started(claims)
        self._understanding.take([job for job in jobs if not job.claim.interpreted])
        self._begin([job for job in jobs if job.claim.interpreted])

    def _begin(self, jobs: Sequence[JobRun]) -> None:
        """Give jobs whose conditions are known to the engine, or the pictures of an equal one. For any thread."""
        self._sharing.take([job for job in jobs if self._is_ours(job) and self._prepare(job)])

    def _is_ours(self, job: JobRun) -> bool:
        return self._runs.get(job.id) is job

    def _share(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job with pictures that were drawn for an equal one."""
        if self._release(job.id):
            self._publisher.share(job, images)

    def _lose(self, job: JobRun) -> None:
        """Let go of an attempt that cannot go on, but not of a later one that is here as well."""
        if self._is_ours(job):
            self._lost({job.id})

    def _prepare(self, job: JobRun) -> bool:
        """Fetch what the job starts from; one that has lost it fails."""
        try:
            load_inputs(self._blobs, job)
        except LimnerError as error:
            self.failed(job, error)
            return False
        self._half_made.resume(job)
        return True

    def _settler(self, job_id: str, delivery: Delivery | None) -> Callable[[], None]:
        return lambda: None if delivery is None else self._done(delivery, job_id)

    def _done(self, delivery: Delivery, job_id: str) -> None:
        if delivery.done(job_id):
            self._admission.left(delivery.lane)

    def _let_go(self, delivery: Delivery) -> None:
        for job_id in delivery.job_ids:
            self._done(delivery, job_id)

    def _lost(self, job_ids: set[str]) -> None:
        self._engine.drop(job_ids)
        for job_id in job_ids:
            self._leases.forget(job_id)
            self._half_made.leave(job_id)
            job = self._release(job_id)
            self._sharing.ended(job_id)
            if job is not None:
                job.settle()

    def _ended(self, job_id: str) -> None:
        self._leases.forget(job_id)
        self._half_made.drop(job_id)
        self._sharing.ended(job_id)

    def _release(self, job_id: str) -> JobRun | None:
        """Take a job out of our hands; whoever gets it settles it, so that it is settled once."""
        self._reporter.ended(job_id)
        return self._runs.pop(job_id, None)

    def _hand_back(self, but: Container[str] = ()) -> None:
        left = {job_id: job for job_id, job in list(self._runs.items()) if job_id not in but}
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
