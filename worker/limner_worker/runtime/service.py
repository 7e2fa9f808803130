"""Connects a worker's parts: inbox → claim → stages → engine → publisher. Imports no Celery, which only delivers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from redis import Redis

from limner_shared import trace_export
from limner_shared.db.engine import Database
from limner_shared.db.ledger import AttemptKey, NewImage
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import GenerationFailed, LimnerError
from limner_shared.messaging.hints import Hints, connect
from limner_shared.messaging.reports import WorkerReport
from limner_shared.metrics.exposition import at_scrape
from limner_shared.operator_port import serve_metrics
from limner_shared.process_end import EXIT_CODE, LAST_SECONDS, run_for
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import Picture
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime import worker_metrics
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.answering import Answering
from limner_worker.runtime.claiming import Claimer, JobMessage
from limner_worker.runtime.draining import Draining
from limner_worker.runtime.handing_back import hand_back
from limner_worker.runtime.held_jobs import HeldJobs
from limner_worker.runtime.leases import Leases
from limner_worker.runtime.model_trials import ModelTrials, TrialVerdict
from limner_worker.runtime.placement import Placement
from limner_worker.runtime.progress import ProgressReporter
from limner_worker.runtime.watchdog import Watchdog, engine_limit
from limner_worker.stages.checkpoints import CheckpointStore
from limner_worker.stages.deduplication import Deduplicator
from limner_worker.stages.finishing import Finishing
from limner_worker.stages.interpretation.presenting.presenter import Presenter, recognizers_of
from limner_worker.stages.interpretation.stage import InterpretationStage, chat_client_of, interpreter_of
from limner_worker.stages.moderation import ModerationStage
from limner_worker.stages.picture_files import PictureEncoder
from limner_worker.stages.preparation import Preparation
from limner_worker.stages.publishing import Publisher
from limner_worker.stages.refusals import CardChanges, first_refusal
from limner_worker.stages.safety import SafetyStage

log = get_logger(__name__)


class WorkerService:
    """Accepts messages from any thread; its own supervised threads do the work and acknowledge."""

    def __init__(self, settings: Settings, models: ModelCache, admission: Admission) -> None:
        self._settings = settings
        self._admission = admission
        self._supervisor = supervisor = Supervisor(self._thread_failed)
        self._database = database = Database.of(settings)
        self._hints = Hints(redis := connect(settings.redis_url))
        self._models = list(models.cards)
        self._fingerprints, self._findings = models.fingerprints, models.findings
        self._blobs = Blobs(settings.resolved_blob_url, supervisor.working)
        self._held = held = HeldJobs()
        self._end_lock, self._metrics_address = threading.Lock(), ""
        self._engine = Engine(models, self, supervisor, settings.checkpoint_seconds, engine_limit(settings))
        self._trials = ModelTrials(models.cards, admission.model_breakers, self._engine.submit)
        self._leases = Leases(settings, database, redis, held, supervisor, self._abort, self._report)
        self._claimer = Claimer(settings, database, admission, held, self._leases, supervisor, self._start_attempts)
        owner, on_drained = self._leases.owner, self._suspend_and_hand_back
        self._draining = Draining(settings, database, owner, admission, held, supervisor, on_drained)
        self._placement = Placement(settings, database, models, admission, supervisor)
        self._checkpoints = CheckpointStore(self._blobs, self._fingerprints, supervisor)
        self._connect_stages(settings, models.cards, redis)
        self._reporter = ProgressReporter(self._hints, supervisor)
        self._watchdog = Watchdog(settings, supervisor, self._engine, models, held.keys, self._end_process)

    def _connect_stages(self, settings: Settings, cards: Mapping[str, ModelCard], redis: Redis) -> None:
        """Build the stages before and after the engine, each with what follows it."""
        database, blobs, supervisor = self._database, self._blobs, self._supervisor
        store_breaker = self._admission.store_breaker
        self._moderation = ModerationStage(
            settings, self._admission.moderation_breaker, supervisor, self._schedule, self._return_jobs, self._refuse
        )
        server = chat_client_of(settings)
        interpreter = interpreter_of(settings, server)
        self._interpretation = InterpretationStage(
            database, interpreter, cards, supervisor, self._moderation.submit, self._abort, self._refuse
        )
        presenter = Presenter(server, recognizers := recognizers_of(cards))
        self._answering = Answering(redis, interpreter, cards, supervisor, recognizers)
        self._safety, self._changes = SafetyStage(settings, cards), CardChanges(cards)
        self._encoder = files = PictureEncoder.of(settings, self._safety, recognizers)
        delete = self._checkpoints.delete
        self._publisher = Publisher(
            database, blobs, self._hints, supervisor, store_breaker, self._clean_up, delete, presenter, files
        )
        self._finishing = Finishing(supervisor, self._publisher.publish, self._publisher.fail)
        is_working, generate, reuse = self._held.is_working, self._engine.submit, files.may_reuse
        self._deduplicator = Deduplicator(
            database, blobs, self._fingerprints, supervisor, is_working, generate, self._publish_duplicate, reuse
        )
        self._preparation = Preparation(
            blobs, self._checkpoints, store_breaker, supervisor, self._deduplicate, self._return_jobs, self._refuse
        )

    def start(self) -> None:
        """Start all threads. The models are loaded already."""
        at_scrape(lambda: worker_metrics.measure(len(self._held), self._models, self._admission))
        self._metrics_address = serve_metrics(self._settings, self._supervisor)
        stages = (self._interpretation, self._moderation, self._answering, self._deduplicator)
        intake = (self._placement, self._claimer, self._draining)
        for part in (self._engine, self._leases, self._reporter, *stages, *intake, self._watchdog):
            part.start()

    def deliver(self, message: JobMessage) -> None:
        """Accept a message. It is acknowledged when each of its jobs is committed, or is found not to be claimable."""
        self._claimer.deliver(message)

    def stop(self) -> None:
        """Warm shutdown: work on held jobs for `shutdown_seconds` at most, hand back the rest, acknowledge all."""
        self._draining.stop()
        self._claimer.stop()
        self._placement.stop()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while len(self._held) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._interpretation.stop()
        self._moderation.stop()
        self._answering.stop()
        self._preparation.close()
        self._deduplicator.stop()
        self._engine.stop()
        self._watchdog.stop()  # after the engine: a hanging step must not block the shutdown
        self._finishing.close()
        self._publisher.close()
        self._checkpoints.close()
        self._hand_back(self._held.all())
        self._reporter.stop()
        self._leases.stop()
        self._database.dispose()

    # --- the engine's events ---

    def progressed(self, job: JobRun) -> None:
        """Pass the job to the reporter, which sends its progress a few times a second."""
        self._reporter.report_progress(job)

    def previewed(self, job: JobRun, picture: Picture) -> None:
        """Pass the preview to the reporter, unless pictures of the job may have to be blocked."""
        if self._safety.may_preview(job.claim):
            self._reporter.report_preview(job, picture)

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Store the checkpoint."""
        if self._held.is_working(job):
            self._checkpoints.store(job, index, checkpoint)

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Finish the pictures, and pass them to the publisher."""
        if finished := [job for job in self._trials.end_trials(jobs) if self._held.finish(job)]:
            model = finished[0].claim.spec.model
            self._trials.job_succeeded(model)
            self._finishing.submit(finished, self._fingerprints[model])

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """Pass the error to the publisher. While the model pauses or is tried, hand the job back instead."""
        if not self._trials.end_trials([job], error) or not self._held.finish(job):
            return
        if self._trials.job_failed(job.claim.spec.model, error) is TrialVerdict.HAND_BACK:
            self._publisher.hand_back([job])
        else:
            self._publisher.fail(job, error)

    def _refuse(self, job: JobRun, error: LimnerError) -> None:
        """Fail a job before its model saw it: that says nothing about the model."""
        if self._held.finish(job):
            self._publisher.fail(job, error)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """Hand the jobs back, and open the model's circuit breaker."""
        left = self._trials.end_trials(jobs, GenerationFailed(reason))
        finished = [job for job in left if self._held.finish(job)]
        for model in {job.claim.spec.model for job in finished} & self._admission.model_breakers.keys():
            ids = job_ids(job.id for job in finished)
            log.error("model unavailable, handing its jobs back", model=model, reason=reason, jobs=ids)
            self._admission.model_breakers[model].trip()
        self._publisher.hand_back(finished)

    # --- from claim to engine ---

    def _start_attempts(self, jobs: Sequence[JobRun]) -> None:
        """Hold newly claimed jobs and begin their first stage."""
        if earlier := self._held.add(jobs):
            log.warning("claimed again, dropping earlier attempts", jobs=job_ids(job.id for job in earlier))
            self._abort(earlier)
        self._reporter.add(jobs)
        self._interpretation.submit([job for job in jobs if not job.claim.interpreted])
        self._moderation.submit([job for job in jobs if job.claim.interpreted])

    def _schedule(self, jobs: Sequence[JobRun]) -> None:
        """Pass jobs whose conditions are known to deduplication, and from there to the engine. Safe from any thread.

        Jobs that need data from the picture store are prepared on separate threads first, because reads may take long.
        """
        ready: list[JobRun] = []
        for job in jobs:
            checks = self._safety.refuse_text, self._changes.refuse, self._encoder.outage
            if (error := first_refusal(job.claim, *checks)) is not None:
                self._refuse(job, error)
            elif not job.claim.spec.inputs and job.claim.attempt == 1:
                ready.append(job)
            else:
                self._preparation.submit(job)
        self._deduplicate(ready)

    def _deduplicate(self, jobs: Sequence[JobRun]) -> None:
        self._deduplicator.submit([job for job in jobs if self._held.is_working(job)])

    def _return_jobs(self, jobs: Sequence[JobRun]) -> None:
        """Hand back jobs for which something is away that this worker needs."""
        self._publisher.hand_back([job for job in jobs if self._held.finish(job)])

    def _publish_duplicate(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job with the pictures of an equal one."""
        if self._held.finish(job):
            self._publisher.publish_stored(job, images)

    # --- the end of an attempt ---

    def _abort(self, jobs: Sequence[JobRun]) -> None:
        """Stop work on attempts that are canceled, lost their lease or cannot go on, and stop renewing their leases."""
        self._engine.abort(jobs)
        for job in jobs:
            was_working = self._held.finish(job)
            self._held.remove(job)
            self._reporter.remove(job)
            self._deduplicator.attempt_ended(job)
            if was_working and job.trace is not None:
                job.trace.ended("aborted")
            if was_working:
                job.acknowledge()

    def _clean_up(self, job: JobRun) -> None:
        """After an attempt's outcome is committed or given up: stop renewing its lease and following it."""
        self._held.remove(job)
        self._reporter.remove(job)
        self._deduplicator.attempt_ended(job)

    def _suspend_and_hand_back(self, jobs: Sequence[JobRun]) -> None:
        """Return unfinished jobs of a draining worker to the queue; other workers continue from their checkpoints."""
        if not jobs:
            return
        self._engine.suspend(jobs)
        self._checkpoints.flush()
        unfinished = [job for job in jobs if self._held.is_working(job)]
        hand_back(self._database, self._hints, unfinished, ())
        self._abort(unfinished)

    def _hand_back(self, jobs: Sequence[JobRun], suspects: Collection[AttemptKey] = ()) -> None:
        """Return attempts to the queue without a loss. The leases of `suspects` end now; each counts as one loss."""
        hand_back(self._database, self._hints, jobs, suspects)
        for job in jobs:
            self._held.remove(job)
            if job.trace is not None:
                job.trace.ended("handed back")
            if self._held.finish(job):
                job.acknowledge()

    # --- health, and the end of the process ---

    def _report(self, owner: str) -> WorkerReport:
        device, address, stalled = self._settings.device, self._metrics_address, self._supervisor.stalled()
        held, full = len(self._held), self._database.is_full
        found = worker_metrics.report(owner, device, self._models, held, self._admission, stalled, full, address)
        return found.model_copy(update=self._findings)

    def _thread_failed(self, name: str, _error: BaseException) -> None:
        suspects = self._engine.suspects if name == "engine" else self._held.keys()
        self._end_process(f"the thread {name} failed", suspects)

    def _end_process(self, reason: str, suspects: set[AttemptKey]) -> None:
        """Hand back the held jobs, within a time limit, and end the process; its supervisor starts a new one.

        Each of the `suspects` is charged one loss, so that a job that ends every worker is found: it runs alone after
        two losses, and only losses while it runs alone count against it.
        """
        with self._end_lock:  # the first caller does not return
            try:
                names = sorted(key.job_id for key in suspects)
                run_for(LAST_SECONDS, "log", lambda: log.critical("ending this worker", reason=reason, suspects=names))
                run_for(LAST_SECONDS, "hand-back", lambda: self._hand_back(self._held.all(), suspects))
                trace_export.close()
            finally:
                os._exit(EXIT_CODE)  # a hanging thread would block any other exit
