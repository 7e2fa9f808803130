"""What a client of Replicate sends for a prediction: body, inputs and headers, turned into our request."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import MAX_SEED
from limner_shared.domain.predictions import NAMES
from limner_shared.domain.webhooks import PredictionEvent, WebhookUrl
from limner_shared.errors import InvalidRequest

CALLED: Final = {ours: theirs for theirs, ours in NAMES.items()}
MAX_WAIT_SECONDS: Final = 60
WAIT: Final = re.compile(r"wait(?:=(\d{1,3}))?", re.IGNORECASE)
DURATION: Final = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?", re.IGNORECASE)
MIN_LIFE_SECONDS: Final = 5
MAX_LIFE_SECONDS: Final = 86_400


class Inputs(BaseModel):
    """The inputs of a prediction."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    negative_prompt: str | None = None
    style: str | None = None
    width: int | None = None
    height: int | None = None
    num_outputs: int = Field(default=1, ge=1)
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    image: str | None = None
    mask: str | None = None
    prompt_strength: float | None = None


class NewPrediction(BaseModel):
    """The body of a request for a prediction. Clients send `stream` to have a stream's URL, which is always there."""

    model_config = ConfigDict(extra="forbid")

    version: str | None = None
    input: Inputs
    stream: bool = False
    webhook: WebhookUrl | None = None
    webhook_events_filter: tuple[PredictionEvent, ...] | None = Field(default=None, min_length=1)


def job_fields(asked: NewPrediction, card: ModelCard) -> dict[str, Any]:
    """The fields of our request."""
    given = asked.input.model_dump(exclude_none=True)
    return {NAMES[name]: value for name, value in given.items()} | {"model": card.name}


def wait_seconds(prefer: str) -> int | None:
    """For how long the `Prefer` header asks to wait, or None. Raises InvalidRequest for a time that is not allowed."""
    for part in prefer.split(","):
        asked = WAIT.fullmatch(part.strip())
        if asked is not None:
            seconds = MAX_WAIT_SECONDS if asked[1] is None else int(asked[1])
            if not 1 <= seconds <= MAX_WAIT_SECONDS:
                raise InvalidRequest(f"Prefer: wait for 1 to {MAX_WAIT_SECONDS} seconds.", field="Prefer")
            return seconds
    return None


def life_seconds(cancel_after: str | None) -> int | None:
    """The seconds of the `Cancel-After` header (`90`, `90s`, `5m`, `1h30m`), or None without it.

    Raises InvalidRequest.
    """
    if cancel_after is None:
        return None
    found = DURATION.fullmatch(cancel_after.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    life = hours * 3600 + minutes * 60 + seconds
    if not MIN_LIFE_SECONDS <= life <= MAX_LIFE_SECONDS:
        message = "Cancel-After: use a duration from 5s to 24h, such as 90s, 5m or 1h30m."
        raise InvalidRequest(message, field="Cancel-After")
    return life
