"""Reads a chat completion: its messages, the pictures that the last one shows, and what no picture can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import MAX_SEED, JobRequest
from limner_shared.domain.request_limits import nearest_size, refuse
from limner_shared.errors import InvalidRequest
from limner_web.http.problems import renamed
from limner_web.openai.image_inputs import read_inputs
from limner_web.openai.image_order import in_openai_terms
from limner_web.openai.picture_addresses import image_id_at
from limner_web.pictures.input_images import REFERENCES
from limner_web.services import Services

CALLED: Final[Mapping[str, str]] = dict.fromkeys(("description", "image", REFERENCES, "width", "height"), "messages")
"""OpenAI's name of our fields."""
IDENTIFIERS: Final = ("user", "safety_identifier")


class PictureAddress(BaseModel):
    """Where the picture of a message is."""

    url: str


class Part(BaseModel):
    """A part of a message: a text or a picture."""

    type: str
    text: str = ""
    image_url: PictureAddress | None = Field(default=None, exclude=True)


class ChatMessage(BaseModel):
    """A message and the role of its author."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The text of the message, without its other parts."""
        if isinstance(self.content, list):
            return " ".join(part.text for part in self.content if part.type == "text")
        return self.content or ""

    @property
    def others(self) -> list[Part]:
        """The parts that are no text."""
        return [part for part in self.content if part.type != "text"] if isinstance(self.content, list) else []


class StreamOptions(BaseModel):
    """What a stream has beside the answer."""

    include_usage: bool = False


class AnswerFormat(BaseModel):
    """The form in which a program wants the text of the answer."""

    type: str


class ChatRequest(BaseModel):
    """The fields of OpenAI's request that have a meaning here. Those of language models alone are ignored."""

    model_config = ConfigDict(extra="ignore")
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    metadata: dict[str, Any] | None = None
    user: str | None = Field(default=None, max_length=512)
    safety_identifier: str | None = Field(default=None, max_length=512)
    response_format: AnswerFormat | None = None
    modalities: list[Literal["text", "image"]] | None = None
    tool_choice: str | dict[str, Any] | None = None

    @property
    def last_text(self) -> str:
        """The text of the last message. Raises InvalidRequest if it is no user's, or has none."""
        last = self.messages[-1]
        if last.role != "user" or not last.text.strip():
            told = "messages: the last message must have the role `user` and contain text."
            raise InvalidRequest(told, field="messages")
        return last.text

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


def job_request(services: Services, tenant_id: str, body: ChatRequest, card: ModelCard) -> JobRequest:
    """The job that the last message asks for. Raises InvalidRequest, which names the parameter."""
    _refuse_other_answers(body)
    fields = body.model_dump(include={"n", "seed"}, exclude_none=True)
    fields |= {"description": body.last_text, "model": card.name if body.model else None}
    fields["metadata"] = (body.metadata or {}) | body.model_dump(include={*IDENTIFIERS}, exclude_none=True)
    others = body.messages[-1].others
    try:
        if others:
            fields |= _pictures(services, tenant_id, others, card)
        return JobRequest.model_validate(fields)
    except InvalidRequest as error:
        raise in_chat_terms(services, error) from error
    except ValidationError as error:
        raise renamed(error, CALLED) from error


def in_chat_terms(services: Services, error: InvalidRequest) -> InvalidRequest:
    """The error for a job request, with the names that its fields have in a chat."""
    return renamed(in_openai_terms(error, services.model_names), CALLED)


def _refuse_other_answers(body: ChatRequest) -> None:
    """Raise InvalidRequest for what an answer with a picture cannot be."""
    if body.response_format is not None and body.response_format.type != "text":
        raise refuse("response_format", body.response_format.type, "text: pictures are presented in plain words")
    if body.tool_choice == "required" or isinstance(body.tool_choice, dict):
        raise refuse("tool_choice", "a call of a function", "auto or none: this service answers with pictures")


def _pictures(services: Services, tenant_id: str, parts: list[Part], card: ModelCard) -> dict[str, Any]:
    """The pictures of a message as the job's inputs, and the model's size that is nearest to the first."""
    addresses: list[str] = []
    for part in parts:
        if part.image_url is None:
            raise refuse("messages", f"a part of the type {part.type[:40]!r}", "text, and pictures as `image_url`")
        addresses.append(image_id_at(services.links, part.image_url.url) or part.image_url.url)
    read, size = read_inputs(services, tenant_id, {"image": addresses, "model": card.name})
    width, height = (None, None) if size is None else nearest_size(card.sizes, *size)
    return {"width": width, "height": height} | {name: read[name] for name in ("image", REFERENCES) if name in read}
