"""Answers the web processes' questions about descriptions and pictures, and tells them the models' known names, on a
thread of its own: no job waits for them.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from limner_shared import metrics
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene
from limner_shared.messaging import known_names, questions
from limner_shared.messaging.questions import Answer, Question
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.generators.base import Picture
from limner_worker.stages.interpretation.interpreter import MAX_BATCH, Interpreter, Request
from limner_worker.stages.interpretation.presenting.presenter import ImageRecognizer, language_of_answer

log = get_logger(__name__)

RETRY_SECONDS: Final = 2.0
"""The pause after Redis failed."""
UNIT_SECONDS: Final = 600.0


class Answering:
    """Takes questions from Redis, interprets them in batches as jobs' descriptions are, and answers."""

    def __init__(
        self,
        redis: Redis,
        interpreter: Interpreter,
        cards: Mapping[str, ModelCard],
        supervisor: Supervisor,
        recognizers: Mapping[str, ImageRecognizer] | None = None,
    ) -> None:
        """`recognizers` know the names of their models, and what these draw of a prompt."""
        self._redis = redis
        self._interpreter = interpreter
        self._cards = cards
        self._turns = deque(cards)
        """The models, in the order in which their questions are taken next."""
        self._supervisor = supervisor
        self._recognizers = recognizers or {}
        self._names_due = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("answering", self._run, limit_seconds=UNIT_SECONDS)

    def stop(self) -> None:
        """Stop after the questions in progress."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._write_names()
                taken = questions.take(self._redis, list(self._turns), MAX_BATCH)
                self._turns.rotate(-1)  # many questions about one model must not hold up those about others
                self._supervisor.working()
                self._answer([each for each in taken if each.spec.model in self._cards])
            except RedisError as error:
                log.info("no questions while Redis is unavailable", error=repr(error)[:200])
                self._stopping.wait(RETRY_SECONDS)
            except Exception:  # a question may be asked again
                log.exception("could not answer questions")
            finally:
                self._supervisor.idle()

    def _write_names(self) -> None:
        if time.monotonic() < self._names_due:
            return
        self._names_due = time.monotonic() + known_names.WRITE_SECONDS  # first: an error must not hold up questions
        try:
            for model, recognizer in self._recognizers.items():
                known_names.write_names(self._redis, model, recognizer.known_names())
        except RedisError:
            self._names_due = 0.0
            raise

    def _answer(self, taken: Sequence[Question]) -> None:
        if not taken:
            return
        described = [each for each in taken if each.picture is None]
        for question in (each for each in taken if each.picture is not None):
            questions.answer(self._redis, question.id, self._named(question))
        if described:
            self._interpret(described)

    def _named(self, question: Question) -> Answer:
        """Return the names of what a picture shows, in the language of the question; none if that fails."""
        spec, recognizer = question.spec, self._recognizers.get(question.spec.model)
        names: tuple[tuple[str, float], ...] = ()
        try:
            if recognizer is not None and question.picture is not None:
                seen = recognizer.names_of(_picture(question.picture))
                names = tuple((recognizer.translated(name, question.language), score) for name, score in seen)
        except Exception:  # the client may ask again
            log.exception("could not name a picture", model=spec.model)
        nothing = Interpretation(conditions=Conditions(prompt=spec.prompt), backend="none")
        return Answer(interpretation=nothing, language=question.language, names=names)

    def _interpret(self, taken: Sequence[Question]) -> None:
        found = self._interpreter([Request(each.spec, self._cards[each.spec.model]) for each in taken])
        for question, interpretation in zip(taken, found, strict=True):
            metrics.INTERPRETATIONS.inc(
                backend=interpretation.backend, fallback="no" if interpretation.fallback is None else "yes"
            )
            language = language_of_answer(question.spec, self._recognizers.get(question.spec.model))
            drawn_as, scene = self._read(question.spec, interpretation)
            told = Answer(interpretation=interpretation, language=language, drawn_as=drawn_as, scene=scene)
            questions.answer(self._redis, question.id, told)

    def _read(self, spec: JobSpec, interpretation: Interpretation) -> tuple[str | None, Scene | None]:
        """Return the name and the scene that would be drawn of what was understood: hints, which may be missing."""
        card, recognizer = self._cards[spec.model], self._recognizers.get(spec.model)
        if recognizer is None:
            return None, None
        try:
            return recognizer.read(card.fit(spec, interpretation.conditions), max(card.buckets))
        except Exception:
            log.exception("could not read a prompt", model=spec.model)
            return None, None


def _picture(encoded: str) -> Picture:
    """Return uint8 [height, width, 3]; the web process made it small."""
    with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as opened:
        return np.asarray(opened.convert("RGB"))
