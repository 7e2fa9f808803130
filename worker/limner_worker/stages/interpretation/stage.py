"""The stage between claim and engine that interprets descriptions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from limner_shared import metrics, tracing
from limner_shared.db import ledger
from limner_shared.db.engine import DATABASE_AWAY, Database, describe
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import ConfigurationError, GenerationFailed, LimnerError, TooManyRequests
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger, job_ids, log_context
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import stage_of
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.interpretation.chat_client import ChatClient
from limner_worker.stages.interpretation.interpreter import MAX_BATCH, Interpreter, Request
from limner_worker.stages.waiting_items import take_waiting

log = get_logger(__name__)

UNIT_SECONDS: Final = 600.0
"""The time after which a batch of descriptions counts as stalled; each request to a server has its own timeout."""
RETRY_SECONDS: Final = 0.5
"""Pause after the database was away while conditions were to be committed."""
NOT_INTERPRETED: Final = "This description could not be interpreted: send what the picture shows as `prompt` instead."


def chat_client_of(settings: Settings) -> ChatClient | None:
    """Return the client of the configured language model server, if any. Raises ConfigurationError."""
    if settings.interpreter not in ("auto", "server"):
        return None
    if not settings.llm_url:
        if settings.interpreter == "server":
            raise ConfigurationError("LIMNER_INTERPRETER=server needs LIMNER_LLM_URL: the base URL of the server.")
        return None
    if not settings.llm_model:
        raise ConfigurationError("LIMNER_LLM_URL needs LIMNER_LLM_MODEL: the name of the language model.")
    return ChatClient(settings.llm_url, settings.llm_model, settings.llm_key, settings.llm_timeout_seconds)


def interpreter_of(settings: Settings, server: ChatClient | None) -> Interpreter:
    """Return the interpreter that the settings select. Without the tagger's files, rules alone interpret."""
    if settings.interpreter == "off":
        return Interpreter(server, plain=True)
    from limner_worker.stages.interpretation.tagging.tagger import LazyTagger, Tagger  # noqa: PLC0415 - torch, which not every worker needs

    tagger = LazyTagger(Tagger)
    return Interpreter(server, tagger=tagger, finder=tagger.parts)


class InterpretationStage:
    """One thread that interprets the descriptions of claimed jobs, in batches of those that are waiting.

    A job is passed on once its conditions are committed, so that later attempts find them. A job that another attempt
    owns by then, or whose conditions the database did not take, is aborted. One that cannot be interpreted fails. While
    the database is away, the commit is retried: nothing else could be done with the job, and the attempt is not lost.
    """

    def __init__(
        self,
        database: Database,
        interpreter: Interpreter,
        cards: Mapping[str, ModelCard],
        supervisor: Supervisor,
        ready: Callable[[Sequence[JobRun]], None],
        aborted: Callable[[Sequence[JobRun]], None],
        failed: Callable[[JobRun, LimnerError], None],
    ) -> None:
        """`ready` receives jobs with a complete spec, `aborted` those that this attempt must leave alone."""
        self._database = database
        self._interpreter = interpreter
        self._cards = cards
        self._supervisor = supervisor
        self._ready = ready
        self._aborted = aborted
        self._failed = failed
        self._queue: SimpleQueue[JobRun | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("interpretation", self._run, limit_seconds=UNIT_SECONDS)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Queue jobs whose descriptions are not interpreted yet."""
        for job in jobs:
            self._queue.put(job)

    def stop(self) -> None:
        """Stop after the batch in progress; the owner of the queued jobs hands them back."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while jobs := self._next():
            self._supervisor.working()
            some = [job for job in jobs if not job.closed]
            with metrics.INTERPRETATION_SECONDS.time(), log_context(jobs=job_ids(job.id for job in some)):
                self._interpret(some)
            self._supervisor.idle()

    def _interpret(self, jobs: Sequence[JobRun]) -> None:
        requests = [Request(job.claim.spec, self._cards[job.claim.spec.model]) for job in jobs]
        committed: list[JobRun] = []
        started = tracing.clock()
        for job, request, found in zip(jobs, requests, self._interpretations(requests), strict=True):
            try:
                if found is None:
                    self._failed(job, GenerationFailed(NOT_INTERPRETED))
                elif self._commit(job, request, found):
                    self._note(job, found, started, len(jobs))
                    committed.append(job)
                elif not self._stopping.is_set():  # otherwise the owner hands it back
                    self._aborted([job])
            except Exception:
                log.exception("could not store an interpretation", job=job.id)
                self._failed(job, GenerationFailed(NOT_INTERPRETED))
        if committed:
            self._ready(committed)

    @staticmethod
    def _note(job: JobRun, found: Interpretation, started: int, batch: int) -> None:
        metrics.INTERPRETATIONS.inc(backend=found.backend, fallback="no" if found.fallback is None else "yes")
        attributes = {"limner.interpretation.backend": found.backend, "limner.batch.jobs": batch}
        stage_of([job.trace], "interpret", started, attributes)

    def _interpretations(self, requests: Sequence[Request]) -> Sequence[Interpretation | None]:
        """Interpret all together; if that raises, each alone, with None for a request that fails."""
        try:
            return self._interpreter(requests) if requests else []
        except Exception:
            log.exception("could not interpret a batch")
            if len(requests) == 1:
                return [None]
            return [found for each in requests for found in self._interpretations([each])]

    def _next(self) -> list[JobRun]:
        """Wait for jobs and return at most MAX_BATCH; an empty list to stop."""
        taken = take_waiting(self._queue, MAX_BATCH)
        return [] if self._stopping.is_set() else [job for job in taken if job is not None]

    def _commit(self, job: JobRun, request: Request, found: Interpretation) -> bool:
        """Commit the conditions and update the job's spec; False if this attempt must leave the job alone."""
        fitted = request.card.fit(request.spec, found.conditions)
        while not job.closed:
            try:
                return self._write(job, request.card, found, fitted)
            except DATABASE_AWAY as error:
                log.warning("database away, retrying", jobs=[job.id], error=describe(error))
                self._supervisor.working()  # waiting for the database is not a stall
                if self._stopping.wait(RETRY_SECONDS):
                    return False
            except (DataError, IntegrityError):
                raise  # of this job's values, so every attempt would end so, and lost attempts make a job run alone
            except SQLAlchemyError as error:
                log.warning("could not store an interpretation", job=job.id, error=describe(error))
                return False
        return False

    def _write(self, job: JobRun, card: ModelCard, found: Interpretation, fitted: JobSpec) -> bool:
        claim = job.claim
        try:
            with self._database.write() as session:
                done = ledger.store_interpretation(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        except TooManyRequests as error:
            # More than the tenant's remaining units for today: keep the number and the size that were granted.
            fallback = f"Fewer or smaller pictures than asked for: {error.message}"
            found = found.model_copy(update={"fallback": fallback})
            granted = {name: getattr(claim.spec, name) for name in ("n", "width", "height")}
            fitted = fitted.model_copy(update=granted | {"beyond": None})
            with self._database.write() as session:
                done = ledger.store_interpretation(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        if done:
            job.revise(replace(claim, spec=fitted, interpreted=True))
        return done
