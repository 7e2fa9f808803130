"""Chat completions: images by conversation with OpenAI's client. Stateless, as that API is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.signed_links import MAX_SECONDS, SignedLinks
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import MAX_DESCRIPTION, Turn
from limner_shared.domain.ids import new_id
from limner_shared.domain.views import ImageView, JobView
from limner_shared.errors import InvalidRequest, NotFound
from limner_web import small_talk, synchronous_jobs
from limner_web.auth import tenant_id
from limner_web.http.caller_languages import caller_languages
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.intake import conversations
from limner_web.limits import MAX_HISTORY_TURNS
from limner_web.openai import chat_tasks
from limner_web.openai.calls import KEEPALIVE, event, event_stream, submit
from limner_web.openai.chat_request import ChatMessage, ChatRequest, in_chat_terms, job_request
from limner_web.openai.image_answer import WORD
from limner_web.openai.picture_addresses import image_id_at
from limner_web.services import Services, get_services, public_origin

bp = APIBlueprint("openai", __name__, url_prefix="/v1", enable_openapi=False)

CHUNK: Final = "chat.completion.chunk"
DONE: Final = "data: [DONE]\n\n"
Address = Callable[[ImageView], str]
"""Gives a picture's URL."""


@bp.post("/chat/completions")
def create_chat_completion() -> Response:
    """Make the image that the last message asks for, taking the earlier messages into account; answer small talk and
    the tasks of chat programs in words.
    """
    services = get_services()
    body = ChatRequest.model_validate(request.get_json())
    card, warning = services.model_names.resolve(body.model)
    said = None if body.messages[-1].others else _words(body.last_text, card)
    if said is not None:
        return with_warning(_said(body, card.name, said), warning)
    caller = synchronous_jobs.WaitingClient.of_request()
    job_id = _submit(services, body, card)
    release_request_slot(services.limiter)
    address = partial(_address, services, public_origin(services))
    views = synchronous_jobs.follow(services, tenant_id(), job_id, caller)
    if body.stream:
        return with_warning(event_stream(_chunks(body, views, address)), warning)
    *_, job = views
    return with_warning(jsonify(_completion(body, synchronous_jobs.require_success(job), address)), warning)


def _submit(services: Services, body: ChatRequest, card: ModelCard) -> str:
    request = job_request(services, tenant_id(), body, card)
    with services.database.read() as session:
        history = _history(session, services.links, body.messages[:-1])[-MAX_HISTORY_TURNS:]
    messages = body.model_dump_json(include={"messages"})  # all of them: another chat may end with the same message
    try:
        return submit(services, request, f"chat {messages}", tuple(history))
    except InvalidRequest as error:
        raise in_chat_terms(services, error) from error


def _words(text: str, card: ModelCard) -> str | None:
    """The answer to a message that describes no picture: small talk, or a task of the chat program; otherwise None."""
    talk = small_talk.read(text)
    if talk is None:
        return chat_tasks.answer(text)
    said = small_talk.answer(talk, card, caller_languages())
    examples = "\n".join(f"- {example}" for example in said.examples)
    return f"{said.text}\n\n{examples}"


def _said(body: ChatRequest, model: str, content: str) -> Response:
    """The answer in words. It has no job."""
    envelope = {"id": f"chatcmpl-{new_id('chat')}", "created": int(time.time()), "model": model}
    if body.stream:
        return event_stream([*_deltas(body, envelope | {"object": CHUNK}, content), DONE])
    return jsonify(_finished(body, envelope | {"object": "chat.completion"}, content))


def _history(session: Session, links: SignedLinks, messages: Sequence[ChatMessage]) -> list[Turn]:
    """The user's messages as turns, with the conditions of the images that the assistant's answers link to."""
    turns: list[Turn] = []
    for message in messages:
        if message.role == "user" and message.text.strip() and small_talk.read(message.text) is None:
            turns.append(Turn(text=message.text[:MAX_DESCRIPTION]))
        image_id = image_id_at(links, message.text) if message.role == "assistant" else None
        if image_id and turns:
            try:
                image = queries.image(session, tenant_id(), image_id)
            except NotFound:
                continue
            conditions = conversations.conditions_of(queries.job(session, tenant_id(), image.job_id))
            turns[-1] = turns[-1].model_copy(update={"conditions": conditions})
    return turns


def _address(services: Services, origin: str, image: ImageView) -> str:
    """A picture's URL. The page that shows a chat has no key, so where one is required the URL is a link."""
    if services.settings.keys_required:
        return origin + services.links.make(image.id, MAX_SECONDS)[0]
    return origin + image.url


def _content(job: JobView, address: Address) -> str:
    pictures = (f"![{_plain(image.alt_text or job.prompt)}]({address(image)})" for image in job.images)
    return "\n\n".join([job.presentation or job.prompt, *pictures])


def _plain(text: str) -> str:
    return re.sub(r"[\[\]\n]", " ", text)


def _completion(body: ChatRequest, job: JobView, address: Address) -> dict[str, Any]:
    """The answer with its pictures: in the text, as OpenRouter's members of the message, and with their seeds."""
    answer = _finished(body, _envelope(job, "chat.completion"), _content(job, address))
    shown = [{"type": "image_url", "image_url": {"url": address(image)}} for image in job.images]
    answer["choices"][0]["message"]["images"] = shown
    return answer | {
        "images": [{"id": image.id, "url": address(image), "seed": image.seed} for image in job.images],
        "revised_prompt": job.revised_prompt,
    }


def _finished(body: ChatRequest, envelope: dict[str, Any], content: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    return envelope | {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _usage(body, content),
    }


def _usage(body: ChatRequest, content: str) -> dict[str, int]:
    """The words and punctuation marks read and said."""
    read, said = sum(len(WORD.findall(message.text)) for message in body.messages), len(WORD.findall(content))
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def _envelope(job: JobView, kind: str) -> dict[str, Any]:
    created = int(job.created_at.timestamp())
    return {"id": f"chatcmpl-{job.id}", "object": kind, "created": created, "model": job.model, "job_id": job.id}


def _chunks(body: ChatRequest, views: Iterator[JobView], address: Address) -> Iterator[str]:
    """Yield server-sent events: comments while the job runs, then the whole answer in one chunk."""
    job: JobView | None = None
    for job in views:
        if not job.status.terminal:
            yield KEEPALIVE
    if job is not None:
        content = _content(synchronous_jobs.require_success(job), address)
        yield from _deltas(body, _envelope(job, CHUNK), content)
    yield DONE


def _deltas(body: ChatRequest, envelope: dict[str, Any], content: str) -> Iterator[str]:
    """The events of an answer: its role, its whole content, its end, and the usage if the client wants that."""
    deltas: Sequence[tuple[dict[str, str], str | None]] = (
        ({"role": "assistant", "content": ""}, None),
        ({"content": content}, None),
        ({}, "stop"),
    )
    for delta, reason in deltas:
        yield event(envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}]})
    if body.wants_usage:
        yield event(envelope | {"choices": [], "usage": _usage(body, content)})
