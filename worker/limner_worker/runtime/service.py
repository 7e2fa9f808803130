"""One worker, put together: inbox → claim → stages → engine → publisher. Knows no Celery, which only delivers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Sequence
from typing import Final

from limner_shared.circuit_breaker import BreakerState
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import AttemptKey, NewImage
from limner_shared.errors import GenerationFailed, LimnerError, StorageFailed, StorageFull
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_shared.threads import EXIT_CODE, Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import Picture
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.claiming import Claimer, Delivery
from limner_worker.runtime.held_jobs import HeldJobs
from limner_worker.runtime.leases import Leases
from limner_worker.runtime.progress import Reporter
from limner_worker.runtime.watchdog import Watchdog
from limner_worker.stages.checkpoints import CheckpointStore
from limner_worker.stages.deduplication import Deduplicator
from limner_worker.stages.input_images import load_inputs
from limner_worker.stages.interpretation.stage import (
    InterpretationStage,
    Presenter,
    interpreter_of,
    recognizers_of,
    server_of,
)
from limner_worker.stages.publishing import Publisher

log = get_logger(__name__)

LAST_SECONDS: Final = 5.0
"""Time limit for handing jobs back when the process must end."""
PREPARED_AT_ONCE: Final = 4


class WorkerService:
    """Takes deliveries from any thread; everything is done and acknowledged by supervised threads of its own."""

    def __init__(self, settings: Settings, models: ModelCache, admission: Admission) -> None:
        self._settings = settings
        self._admission = admission
        self._threads = threads = Supervisor(self._thread_failed)
        self._database = database = Database(settings.resolved_database_url)
        redis = connect(settings.redis_url)
        self._hints = Hints(redis)
        self._models = list(models.cards)
        self._fingerprints = models.fingerprints
        self._blobs = blobs = Blobs(settings.resolved_blob_url)
        self._held = held = HeldJobs()
        self._ending = threading.Lock()
        self._engine = Engine(models, self, threads, settings.checkpoint_seconds)
        self._leases = Leases(settings, database, redis, held, threads, self._drop, self._about)
        self._claimer = Claimer(settings, database, admission, held, self._leases, threads, self._take)
        self._half_made = CheckpointStore(blobs, self._fingerprints, threads)
        self._preparing = threads.pool("prepare", PREPARED_AT_ONCE)
        server = server_of(settings)
        self._understanding = InterpretationStage(
            database,
            interpreter_of(settings, server, threads),
            models.cards,
            threads,
            self._begin,
            lambda job: self._drop([job]),
        )
        presenter = Presenter(server, recognizers_of(models.cards))
        self._publisher = Publisher(database, blobs, self._hints, threads, admission.store, self._ended, presenter)
        self._sharing = Deduplicator(
            database, blobs, self._fingerprints, threads, held.is_working, self._engine.submit, self._share
        )
        self._reporter = Reporter(self._hints, threads)
        self._watchdog = Watchdog(
            threads, lambda: self._engine.stuck(settings.step_timeout_seconds), held.keys, self._end_process
        )

    def start(self) -> None:
        """Begin to work; the models are loaded already."""
        self._engine.start()
        self._leases.start()
        self._reporter.start()
        self._understanding.start()
        self._sharing.start()
        self._claimer.start()
        self._watchdog.start()

    def deliver(self, delivery: Delivery) -> None:
        """Take a message in. It is acknowledged when its jobs are committed, or found to be none of ours."""
        self._claimer.deliver(delivery)

    def stop(self) -> None:
        """Warm shutdown: go on with what is held for a while, hand the rest back, leave nothing unacknowledged."""
        self._claimer.stop()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while len(self._held) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._understanding.stop()
        self._preparing.close()
        self._sharing.stop()
        self._engine.stop()
        self._watchdog.stop()  # after it: a hanging step must not hold up the end
        self._publisher.close()
        self._half_made.close()
        self._hand_back(self._held.all())
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
        if self._held.is_working(job):
            self._half_made.keep(job, index, checkpoint)

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Hand the pictures to the publisher."""
        ours = [job for job in jobs if self._held.end(job)]
        if ours:
            model = ours[0].claim.spec.model
            self._admission.models[model].succeeded()
            self._publisher.succeed(ours, self._fingerprints[model])

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """Hand the reason to the publisher. While the model is left alone, jobs go back to the queue instead."""
        if not self._held.end(job):
            return
        breaker = self._admission.models[job.claim.spec.model]
        if isinstance(error, GenerationFailed):
            left_alone = breaker.state is BreakerState.OPEN
            breaker.failed()
            if left_alone:
                self._publisher.hand_back([job])
                return
        self._publisher.fail(job, error)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """Back to the queue, and no more of this model for a while."""
        ours = [job for job in jobs if self._held.end(job)]
        for model in {job.claim.spec.model for job in ours} & self._admission.models.keys():
            log.error("model unavailable, its jobs go back to the queue", model=model, reason=reason, jobs=len(ours))
            self._admission.models[model].trip()
        self._publisher.hand_back(ours)

    # --- from claim to engine ---

    def _take(self, jobs: Sequence[JobRun]) -> None:
        earlier = self._held.add(jobs)
        if earlier:
            log.warning("claimed again, earlier attempts are dropped", jobs=[job.id for job in earlier])
            self._drop(earlier)
        self._reporter.started(jobs)
        self._understanding.take([job for job in jobs if not job.claim.interpreted])
        self._begin([job for job in jobs if job.claim.interpreted])

    def _begin(self, jobs: Sequence[JobRun]) -> None:
        """Give jobs whose conditions are known to the engine, or the pictures of an equal one. For any thread.

        What has to be read from the blob store first is read on threads of its own: that may take long.
        """
        plain: list[JobRun] = []
        for job in jobs:
            if job.claim.spec.image is None and job.claim.attempt == 1:
                plain.append(job)
            else:
                self._preparing.submit(self._prepare, job)
        self._sharing.take([job for job in plain if self._held.is_working(job)])

    def _prepare(self, job: JobRun) -> None:
        """Fetch what the job starts from, or goes on from; one whose input is lost fails."""
        try:
            load_inputs(self._blobs, job)
            self._half_made.resume(job)
        except (StorageFailed, StorageFull) as error:
            log.warning("could not read an input, the job goes back to the queue", job=job.id, error=error.code)
            self._admission.store.failed()
            if self._held.end(job):
                self._publisher.hand_back([job])
        except LimnerError as error:
            if self._held.end(job):
                self._publisher.fail(job, error)
        except Exception:
            log.exception("could not prepare a job", job=job.id)
            self._drop([job])
        else:
            if self._held.is_working(job):
                self._sharing.take([job])

    def _share(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job with pictures that were drawn for an equal one."""
        if self._held.end(job):
            self._publisher.share(job, images)

    # --- the end of an attempt ---

    def _drop(self, jobs: Sequence[JobRun]) -> None:
        """Let go of attempts that are canceled, lost, or cannot go on: their leases are renewed no longer."""
        self._engine.drop(jobs)
        for job in jobs:
            ours = self._held.end(job)
            self._held.remove(job)
            self._reporter.ended(job)
            self._sharing.ended(job)
            if ours:
                job.settle()

    def _ended(self, job: JobRun) -> None:
        """The attempt's end is committed, or given up."""
        self._held.remove(job)
        self._reporter.ended(job)
        self._half_made.drop(job)
        self._sharing.ended(job)

    def _hand_back(self, jobs: Sequence[JobRun], suspects: Collection[AttemptKey] = ()) -> None:
        """Put attempts back into the queue, uncharged; the leases of the `suspects` run out now: each is one loss."""
        if not jobs:
            return
        innocent = [job.key for job in jobs if job.key not in suspects]
        try:
            with self._database.write() as session:
                changes = ledger.hand_back(session, innocent)
                if suspects:
                    ledger.forfeit(session, suspects)
            self._hints.changed(changes)
            log.info("handed back", jobs=len(changes), suspects=sorted(key.job_id for key in suspects))
        except Exception:
            log.exception("could not hand back; the leases will run out", jobs=len(jobs))
        for job in jobs:
            self._held.remove(job)
            if self._held.end(job):
                job.settle()

    # --- health, and the end of the process ---

    def _about(self) -> dict[str, object]:
        """What the worker's entry in Redis says."""
        return {
            "models": self._models,
            "device": self._settings.device,
            "held": len(self._held),
            "closed": self._admission.closed(),
            "stalled": sorted(self._threads.stalled()),
        }

    def _thread_failed(self, name: str, _error: BaseException) -> None:
        suspects = self._engine.suspects if name == "engine" else self._held.keys()
        self._end_process(f"the thread {name} failed", suspects)

    def _end_process(self, reason: str, suspects: set[AttemptKey]) -> None:
        """Hand back what is held, within a time limit, and end: the process's own supervisor starts a new one.

        The `suspects` are charged one loss each, so that a job that ends every worker is found: it runs alone after
        two losses, and only losses alone count against it.
        """
        with self._ending:  # one caller is enough; it does not return
            log.critical("this worker ends", reason=reason, suspects=sorted(key.job_id for key in suspects))
            self._threads.start("hand-back", lambda: self._hand_back(self._held.all(), suspects)).join(LAST_SECONDS)
            os._exit(EXIT_CODE)  # a hanging thread lets nothing else end the process
