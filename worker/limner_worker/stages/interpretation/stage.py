"""The stage between claim and engine, and the one before the end: descriptions to conditions, pictures to words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import ConfigurationError, TooManyRequests
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture, locate
from limner_worker.stages.interpretation import presentation
from limner_worker.stages.interpretation.client import ChatClient, LanguageError
from limner_worker.stages.interpretation.interpreter import AT_ONCE, Interpreter, Request
from limner_worker.stages.interpretation.prompt_enricher import PromptEnricher

log = get_logger(__name__)

UNIT_SECONDS = 600.0
"""One batch of descriptions that lasts longer is stalled; each question to a server has a time limit of its own."""


class ImageRecognizer(Protocol):
    """Looks at the pictures of a model, and knows its names."""

    def __call__(self, picture: Picture, prompt: str) -> Sequence[tuple[str, float]]:
        """What a picture looks like rather than its prompt: names and how sure that is, the surest first."""
        ...

    def translated(self, name: str, language: str) -> str:
        """A name in another language, or the same where it has none."""
        ...


def server_of(settings: Settings) -> ChatClient | None:
    """The language model's server that the settings name, if they want one. Raises ConfigurationError."""
    if settings.interpreter not in ("auto", "server"):
        return None
    if not settings.llm_url:
        if settings.interpreter == "server":
            raise ConfigurationError("LIMNER_INTERPRETER=server needs LIMNER_LLM_URL: the base URL of the server.")
        return None
    if not settings.llm_model:
        raise ConfigurationError("LIMNER_LLM_URL needs LIMNER_LLM_MODEL: the name of the language model.")
    return ChatClient(settings.llm_url, settings.llm_model, settings.llm_key, settings.llm_timeout_seconds)


def interpreter_of(settings: Settings, server: ChatClient | None, threads: Supervisor) -> Interpreter:
    """Who turns descriptions into conditions, as the settings say."""
    local = PromptEnricher(settings.cache_dir, threads) if settings.interpreter == "local" else None
    return Interpreter(server, local, plain=settings.interpreter == "off")


def recognizers_of(cards: Mapping[str, ModelCard]) -> dict[str, ImageRecognizer]:
    """Who looks at the pictures of the built-in models, where the evaluator lies beside their text encoder."""
    folders = {name: locate(card.text_encoder) for name, card in cards.items() if card.text_encoder is not None}
    if not folders:
        return {}
    from limner_worker.stages.interpretation.image_recognition import TOWER, EvaluatorRecognizer  # noqa: PLC0415 - torch, which not every worker needs

    shared = {folder: EvaluatorRecognizer(folder) for folder in set(folders.values()) if (folder / TOWER).is_file()}
    return {name: shared[folder] for name, folder in folders.items() if folder in shared}


class InterpretationStage:
    """One thread that interprets the descriptions of claimed jobs, all that have come by then together.

    A job is handed on when its conditions are committed, so that another attempt finds them; one that is no longer ours
    by then is dropped.
    """

    def __init__(
        self,
        database: Database,
        interpreter: Interpreter,
        cards: Mapping[str, ModelCard],
        threads: Supervisor,
        ready: Callable[[Sequence[JobRun]], None],
        aborted: Callable[[JobRun], None],
    ) -> None:
        """`ready` gets jobs whose spec is complete; `dropped` those that another attempt owns, or that failed here."""
        self._database = database
        self._interpreter = interpreter
        self._cards = cards
        self._threads = threads
        self._ready = ready
        self._aborted = aborted
        self._queue: SimpleQueue[JobRun | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread = self._threads.start("interpretation", self._run, limit_seconds=UNIT_SECONDS)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Jobs that nobody has interpreted yet."""
        for job in jobs:
            self._queue.put(job)

    def stop(self) -> None:
        """End after the batch in progress; what waits is handed back by its owner."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while jobs := self._next():
            self._threads.working()
            self._interpret([job for job in jobs if not job.closed])
            self._threads.idle()

    def _interpret(self, jobs: Sequence[JobRun]) -> None:
        requests = [Request(job.claim.spec, self._cards[job.claim.spec.model]) for job in jobs]
        kept: list[JobRun] = []
        for job, request, found in zip(jobs, requests, self._found(requests), strict=True):
            try:
                if found is not None and self._keep(job, request, found):
                    kept.append(job)
                    continue
            except Exception:
                log.exception("could not keep an interpretation", job=job.id)
            self._aborted(job)
        if kept:
            self._ready(kept)

    def _found(self, requests: Sequence[Request]) -> Sequence[Interpretation | None]:
        """All together; where that raises, each alone, and None for the one at fault."""
        try:
            return self._interpreter(requests) if requests else []
        except Exception:
            log.exception("could not interpret", descriptions=len(requests))
            return [None] if len(requests) == 1 else [found for each in requests for found in self._found([each])]

    def _next(self) -> list[JobRun]:
        """What waits, at least one job; none at the end."""
        taken = [self._queue.get()]
        try:
            while len(taken) < AT_ONCE:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        return [] if self._stopping.is_set() else [job for job in taken if job is not None]

    def _keep(self, job: JobRun, request: Request, found: Interpretation) -> bool:
        """Commit what was found, and give the job its spec; without the database, its lease will run out."""
        fitted = request.card.fit(request.spec, found.conditions)
        try:
            return self._write(job, request.card, found, fitted)
        except SQLAlchemyError as error:
            log.warning("could not keep an interpretation", job=job.id, error=describe(error))
            return False

    def _write(self, job: JobRun, card: ModelCard, found: Interpretation, fitted: JobSpec) -> bool:
        claim = job.claim
        try:
            with self._database.write() as session:
                done = ledger.interpreted(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        except TooManyRequests as error:
            # More pictures than the tenant's units for today allow: as many as were granted.
            found = found.model_copy(update={"fallback": f"Fewer pictures than asked for: {error.message}"})
            fitted = fitted.model_copy(update={"n": claim.spec.n})
            with self._database.write() as session:
                done = ledger.interpreted(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        if done:
            job.revise(replace(claim, spec=fitted, interpreted=True))
        return done


class Presenter:
    """Words for finished pictures of described jobs. For the publisher's threads."""

    def __init__(
        self, server: ChatClient | None = None, recognizers: Mapping[str, ImageRecognizer] | None = None
    ) -> None:
        """`recognizers` tell of some models' pictures what is to be seen in them."""
        self._server = server
        self._recognizers = recognizers or {}

    def asks(self, spec: JobSpec) -> bool:
        """Whether somebody is asked, which may take a while."""
        return self._server is not None and spec.description is not None

    def __call__(self, spec: JobSpec, picture: Picture | None = None, drawn_as: str | None = None) -> str | None:
        """A few sentences, for a job that was described; None for a plain prompt. Never raises.

        `drawn_as` is the name that was drawn instead of all of the prompt.
        """
        if spec.description is None:
            return None
        language = presentation.language_for(spec)
        seen = [(self._say(spec, name, language), sure) for name, sure in self._look(spec, picture, drawn_as)]
        named = None if drawn_as is None else self._say(spec, drawn_as, language)
        if self._server is not None:
            try:
                return presentation.by_server(self._server, spec, seen, named)
            except LanguageError as error:
                log.info("presented by rules", reason=str(error))
            except Exception:
                log.exception("a question to the language model's server went wrong")
        return presentation.by_rules(spec, seen, named)

    def _say(self, spec: JobSpec, name: str, language: str) -> str:
        recognizer = self._recognizers.get(spec.model)
        return name if recognizer is None else recognizer.translated(name, language)

    def _look(self, spec: JobSpec, picture: Picture | None, drawn_as: str | None) -> Sequence[tuple[str, float]]:
        recognizer = self._recognizers.get(spec.model)
        if recognizer is None or picture is None:
            return []
        try:
            return recognizer(picture, drawn_as or spec.prompt)
        except Exception:  # it is a help only
            log.exception("could not look at a picture")
            return []
