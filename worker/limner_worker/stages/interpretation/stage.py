"""The stage between claim and engine that interprets descriptions, and the presentation of finished pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from limner_shared import metrics, tracing
from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene
from limner_shared.errors import CardError, ConfigurationError, TooManyRequests
from limner_shared.settings import Settings
from limner_shared.telemetry import concerning, get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import stage_of
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture, locate
from limner_worker.stages.choosing import PictureEvaluator
from limner_worker.stages.interpretation import presentation
from limner_worker.stages.interpretation.client import ChatClient, LanguageError
from limner_worker.stages.interpretation.interpreter import MAX_BATCH, Interpreter, Request

log = get_logger(__name__)

UNIT_SECONDS: Final = 600.0
"""The time after which a batch of descriptions counts as stalled; each request to a server has its own timeout."""


class ImageRecognizer(PictureEvaluator, Protocol):
    """Names what the pictures of a model look like."""

    def __call__(self, picture: Picture, prompt: str) -> Sequence[tuple[str, float]]:
        """Return the names that a picture resembles more than its prompt, with their scores, best first."""
        ...

    def recognises(self, picture: Picture, name: str, *, recoloured: bool) -> bool:
        """Return whether a picture looks like what has this name, in whichever colour if it was `recoloured`."""
        ...

    def translated(self, name: str, language: str) -> str:
        """Return a name in another language, or the name itself if there is no translation."""
        ...

    def known_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names that the model was trained with, by language."""
        ...

    def read(self, spec: JobSpec, most: int) -> tuple[str | None, Scene | None]:
        """Return the name that is drawn of a spec's prompt, if that is not all of it, and its scene of at most `most`
        rows, if it is not drawn as a whole.
        """
        ...


def server_of(settings: Settings) -> ChatClient | None:
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
    from limner_worker.stages.interpretation.tagger import LazyTagger, Tagger  # noqa: PLC0415 - torch, which not every worker needs

    return Interpreter(server, tagger=LazyTagger(Tagger))


def recognizers_of(cards: Mapping[str, ModelCard]) -> dict[str, ImageRecognizer]:
    """Return the recognizers of the built-in models whose text encoder's folder contains the evaluator.

    Raises CardError for a card that offers candidates for its pictures, and has none that could choose.
    """
    folders = {name: locate(card.text_encoder) for name, card in cards.items() if card.text_encoder is not None}
    if not folders:
        return {}
    from limner_worker.stages.interpretation.image_recognition import TOWER, EvaluatorRecognizer  # noqa: PLC0415 - torch, which not every worker needs

    shared = {folder: EvaluatorRecognizer(folder) for folder in set(folders.values()) if (folder / TOWER).is_file()}
    if blind := [name for name, folder in folders.items() if folder not in shared and cards[name].candidates > 1]:
        raise CardError(f"{blind[0]}: candidates: no evaluator could choose, as the text encoder has no {TOWER}")
    return {name: shared[folder] for name, folder in folders.items() if folder in shared}


class InterpretationStage:
    """One thread that interprets the descriptions of claimed jobs, in batches of those that are waiting.

    A job is passed on once its conditions are committed, so that later attempts find them. A job that another attempt
    owns by then is aborted.
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
        """`ready` receives jobs with a complete spec, `aborted` those that another attempt owns or that failed here."""
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
        """Start the thread."""
        self._thread = self._threads.start("interpretation", self._run, limit_seconds=UNIT_SECONDS)

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
            self._threads.working()
            some = [job for job in jobs if not job.closed]
            with metrics.INTERPRETATION_SECONDS.time(), concerning(jobs=job_ids(job.id for job in some)):
                self._interpret(some)
            self._threads.idle()

    def _interpret(self, jobs: Sequence[JobRun]) -> None:
        requests = [Request(job.claim.spec, self._cards[job.claim.spec.model]) for job in jobs]
        committed: list[JobRun] = []
        started = tracing.clock()
        for job, request, found in zip(jobs, requests, self._interpretations(requests), strict=True):
            try:
                if found is not None and self._commit(job, request, found):
                    fallback = "no" if found.fallback is None else "yes"
                    metrics.INTERPRETATIONS.inc(backend=found.backend, fallback=fallback)
                    attributes = {"limner.interpretation.backend": found.backend, "limner.batch.jobs": len(jobs)}
                    stage_of([job.trace], "interpret", started, attributes)
                    committed.append(job)
                    continue
            except Exception:
                log.exception("could not store an interpretation", job=job.id)
            self._aborted(job)
        if committed:
            self._ready(committed)

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
        taken = [self._queue.get()]
        try:
            while len(taken) < MAX_BATCH:
                taken.append(self._queue.get_nowait())
        except Empty:
            pass
        return [] if self._stopping.is_set() else [job for job in taken if job is not None]

    def _commit(self, job: JobRun, request: Request, found: Interpretation) -> bool:
        """Commit the conditions and update the job's spec; without the database, the job's lease will expire."""
        fitted = request.card.fit(request.spec, found.conditions)
        try:
            return self._write(job, request.card, found, fitted)
        except SQLAlchemyError as error:
            log.warning("could not store an interpretation", job=job.id, error=describe(error))
            return False

    def _write(self, job: JobRun, card: ModelCard, found: Interpretation, fitted: JobSpec) -> bool:
        claim = job.claim
        try:
            with self._database.write() as session:
                done = ledger.interpreted(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        except TooManyRequests as error:
            # More pictures than the tenant's remaining units for today: keep the number that was granted.
            found = found.model_copy(update={"fallback": f"Fewer pictures than asked for: {error.message}"})
            fitted = fitted.model_copy(update={"n": claim.spec.n, "beyond": None})
            with self._database.write() as session:
                done = ledger.interpreted(session, claim.id, claim.attempt, found, fitted, card.cost(fitted))
        if done:
            job.revise(replace(claim, spec=fitted, interpreted=True))
        return done


class Presenter:
    """Writes the presentations of the pictures of described jobs. For the publisher's threads."""

    def __init__(
        self, server: ChatClient | None = None, recognizers: Mapping[str, ImageRecognizer] | None = None
    ) -> None:
        """`recognizers` name what the pictures of some models look like, by the model's name."""
        self._server = server
        self._recognizers = recognizers or {}

    def asks(self, spec: JobSpec) -> bool:
        """Return whether a language model server is asked, which may take a while."""
        return self._server is not None and spec.description is not None

    def __call__(
        self,
        spec: JobSpec,
        picture: Picture | None = None,
        drawn_as: str | None = None,
        scene: Scene | None = None,
        things: Sequence[Picture] = (),
    ) -> str | None:
        """Return a few sentences for a described job; None for a plain prompt. Never raises.

        `drawn_as` is the name that was drawn in place of the whole prompt, `scene` what the picture was put together
        from. The evaluator knows single things only, so of a scene it is asked about each of its `things` alone.
        """
        if spec.description is None:
            return None
        language = presentation.language_for(spec)
        looks_like = self._recognize(spec, picture, drawn_as) if scene is None else ()
        unclear = self._unclear(spec, scene, things)
        seen = [(self._translated(spec, name, language), score) for name, score in looks_like]
        named = None if drawn_as is None else self._translated(spec, drawn_as, language)
        told = None if scene is None else self._in_language(spec, scene, language)
        shown = presentation.Shown(seen, named, told, unclear)
        if self._server is not None:
            try:
                return presentation.by_server(self._server, spec, shown)
            except LanguageError as error:
                log.info("presented by rules", reason=str(error))
            except Exception:
                log.exception("request to the language model's server failed unexpectedly")
        return presentation.by_rules(spec, shown)

    def _in_language(self, spec: JobSpec, scene: Scene, language: str) -> Scene:
        """Return the scene with names in another language."""
        objects = [
            each.model_copy(update={"name": self._translated(spec, each.name, language)}) for each in scene.objects
        ]
        return scene.model_copy(update={"objects": tuple(objects)})

    def _translated(self, spec: JobSpec, name: str, language: str) -> str:
        recognizer = self._recognizers.get(spec.model)
        return name if recognizer is None else recognizer.translated(name, language)

    def _recognize(self, spec: JobSpec, picture: Picture | None, drawn_as: str | None) -> Sequence[tuple[str, float]]:
        recognizer = self._recognizers.get(spec.model)
        if recognizer is None or picture is None:
            return []
        try:
            return recognizer(picture, drawn_as or spec.prompt)
        except Exception:  # recognition is optional
            log.exception("could not recognize a picture")
            return []

    def _unclear(self, spec: JobSpec, scene: Scene | None, things: Sequence[Picture]) -> list[str]:
        """Return the person's words for the things of a scene of which the evaluator does not recognise one."""
        recognizer = self._recognizers.get(spec.model)
        if recognizer is None or scene is None or not things:
            return []
        objects = [each for each, drawings in zip(scene.objects, scene.drawings, strict=True) for _ in range(drawings)]
        try:
            return list(
                dict.fromkeys(
                    each.said
                    for each, thing in zip(objects, things, strict=True)
                    if not recognizer.recognises(thing, each.name, recoloured=each.colour is not None)
                )
            )
        except Exception:  # recognition is optional
            log.exception("could not recognize a picture")
            return []
