"""What a description is understood as, before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field
from redis import Redis
from redis.exceptions import RedisError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Description
from limner_shared.domain.description_views import UnderstoodView, understood
from limner_shared.domain.inputs import RequestedName
from limner_shared.domain.jobs import MAX_SEED, JobRequest
from limner_shared.domain.request_limits import placeholders
from limner_shared.errors import InterpreterUnavailable
from limner_shared.messaging import questions
from limner_shared.messaging.questions import Answer
from limner_shared.messaging.reports import WorkerReport, read_reports
from limner_web.http.caller_languages import caller_languages
from limner_web.http.throttling import release_request_slot
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check

bp = APIBlueprint("interpretation", __name__, url_prefix="/api/v1/interpret", tag="Jobs")

WAIT_SECONDS: Final = 25.0


class DescriptionRequest(BaseModel):
    """A description, and fields that take precedence over it."""

    model_config = ConfigDict(extra="forbid")

    description: Description = Field(description="What you want, in your own words and language.")
    model: RequestedName | None = Field(default=None, description="A name from `GET /models`.")
    negative_prompt: str | None = Field(default=None, max_length=20_000)
    style: RequestedName | None = None
    width: int | None = Field(default=None, strict=True)
    height: int | None = Field(default=None, strict=True)
    n: int | None = Field(default=None, ge=1, strict=True)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, strict=True)


@bp.post("")
@bp.input(DescriptionRequest, arg_name="body")
@bp.output(UnderstoodView)
def interpret(body: DescriptionRequest) -> UnderstoodView:
    """Interpret a description.

    Returns what a job with this description would draw, without drawing it: the request can be changed and sent to
    `POST /jobs`. `drawn_as` and `scene` say what a built-in model would draw of the prompt. A worker of the model
    interprets it, as it does a job's; without one the answer is `503` with the code `interpreter_unavailable`.
    """
    services = get_services()
    fields = body.model_dump(exclude_none=True) | placeholders(services.catalogue.get(body.model).control)
    request = JobRequest.model_validate(fields)
    card, spec = services.catalogue.resolve(request)
    spec = spec.model_copy(update={"languages": caller_languages()})
    told = answer_of(services, card, lambda redis: questions.ask(redis, spec, WAIT_SECONDS, hang_up_check()))
    fitted = card.fit(spec, told.interpretation.conditions)
    return understood(fitted, told.interpretation, told.language, told.drawn_as, told.scene)


def answer_of(services: Services, card: ModelCard, ask: Callable[[Redis], Answer | None]) -> Answer:
    """What a worker of the model answers to a question. Raises InterpreterUnavailable."""
    try:
        _require_worker(services, card)
        release_request_slot(services.limiter)
        told = ask(services.hints.redis)
    except RedisError as error:
        message = "No worker can be asked while Redis is unavailable. A prompt can be drawn as it is."
        raise InterpreterUnavailable(message, retry_after=5) from error
    if told is None:
        raise InterpreterUnavailable(f"No worker answered within {WAIT_SECONDS:g} seconds.")
    return told


def _require_worker(services: Services, card: ModelCard) -> None:
    """Raise InterpreterUnavailable at once if no worker of the model runs."""
    if not any(card.name in report.models for report in read_reports(services.hints.redis, WorkerReport)):
        raise InterpreterUnavailable(
            f"No worker that serves {card.name} is running, and workers interpret descriptions: start one, or write a "
            "prompt, which waits in the queue as it is.",
            retry_after=5,
        )
