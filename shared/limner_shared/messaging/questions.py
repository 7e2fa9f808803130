"""Questions that a web process asks the workers through Redis: what does a description ask for, and what does a picture
show? Nothing is stored.

A question waits in a list of its model until a worker takes it, and expires with the client that asked. A lost question
costs its client another try.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene
from limner_shared.messaging.typed_redis import pipeline
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EXPIRES_SECONDS: Final = 30
"""How long a question and an answer are kept: longer than a client waits."""
M = TypeVar("M", bound=BaseModel)
POLL_SECONDS: Final = 1
"""The longest blocking call; less than the time limit of a connection."""


class Question(BaseModel):
    """A job that is not submitted: its description is to be interpreted, or a picture named."""

    model_config = ConfigDict(frozen=True)

    id: str
    spec: JobSpec
    picture: str | None = None
    """A picture to be named instead, as a PNG in base64."""
    language: str = "en"
    """The code of the language of the picture's names."""


class Answer(BaseModel):
    """The interpretation of a description, the code of its language, and what the model would draw of it; or the names
    of what a picture shows.
    """

    model_config = ConfigDict(frozen=True)

    interpretation: Interpretation
    language: str
    drawn_as: str | None = None
    """The known name that would be drawn, if that is not all of the prompt."""
    scene: Scene | None = None
    """What the picture would be put together from, if it is not drawn as a whole."""
    names: tuple[tuple[str, float], ...] | None = None
    """What the picture shows, with the likeness of each name, best first; None if no picture was asked about."""


def ask(redis: Redis, spec: JobSpec, seconds: float, gone: Callable[[], bool] = lambda: False) -> Answer | None:
    """Ask for the interpretation of a spec's description; see `ask_workers`."""
    return ask_workers(redis, Question(id=new_id("ask"), spec=spec), seconds, gone)


def ask_names(
    redis: Redis, spec: JobSpec, picture: bytes, language: str, seconds: float, gone: Callable[[], bool]
) -> Answer | None:
    """Ask what a picture, a small PNG, shows to the evaluator of the spec's model; see `ask_workers`."""
    encoded = base64.b64encode(picture).decode()
    return ask_workers(redis, Question(id=new_id("ask"), spec=spec, picture=encoded, language=language), seconds, gone)


def ask_workers(redis: Redis, question: Question, seconds: float, gone: Callable[[], bool]) -> Answer | None:
    """Put a question to the workers that serve its model; None if none answers in `seconds`, the client has gone, or
    the answer cannot be read.

    Raises RedisError.
    """
    spec = question.spec
    deadline = time.monotonic() + seconds
    with pipeline(redis) as pipe:
        pipe.set(_question(question.id), question.model_dump_json(), ex=EXPIRES_SECONDS)
        pipe.rpush(_waiting(spec.model), question.id)
        pipe.expire(_waiting(spec.model), EXPIRES_SECONDS)
        pipe.execute()
    while time.monotonic() < deadline and not gone():
        found = cast("list[str] | None", redis.blpop([_answer(question.id)], timeout=POLL_SECONDS))
        if found is not None:
            return _read(Answer, found[1])
    redis.lrem(_waiting(spec.model), 1, question.id)
    return None


def take(redis: Redis, models: Sequence[str], most: int) -> list[Question]:
    """Wait for a moment for questions about these models, and take at most `most`; those that expired are left out.

    Raises RedisError.
    """
    found = cast("list[str] | None", redis.blpop([_waiting(model) for model in models], timeout=POLL_SECONDS))
    if found is None:
        return []
    key, first = found
    others = cast("list[str] | None", redis.lpop(key, most - 1)) if most > 1 else None
    values = cast("list[Any]", redis.mget([_question(each) for each in [first, *(others or [])]]))
    return [question for value in values if value and (question := _read(Question, value)) is not None]


def answer(redis: Redis, question_id: str, reply: Answer) -> None:
    """Answer a question. Raises RedisError."""
    with pipeline(redis) as pipe:
        pipe.rpush(_answer(question_id), reply.model_dump_json())
        pipe.expire(_answer(question_id), EXPIRES_SECONDS)
        pipe.execute()


def _read(kind: type[M], value: str) -> M | None:
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:  # of another version, or damaged
        log.warning("unreadable question", errors=error.error_count())
        return None


def _waiting(model: str) -> str:
    return f"limner:questions:{model}"


def _question(question_id: str) -> str:
    return f"limner:question:{question_id}"


def _answer(question_id: str) -> str:
    return f"limner:answer:{question_id}"
