"""The objects of responses: a job as a response, and the events of its stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from limner_shared.db.tables import Image
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView
from limner_web.openai import image_answer
from limner_web.openai.calls import KEEPALIVE, event
from limner_web.openai.image_answer import WORD, Encode, Finished, Partial, encoded
from limner_web.openai.image_order import Output
from limner_web.openai.response_request import MARK, ResponseOrder
from limner_web.services import Services

JOB: Final = "job_"
RESPONSE: Final = "resp_"
CALL: Final = "ig_"
STATUSES: Final[dict[JobState, str]] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELED: "cancelled",
}
Send = Callable[..., str]
"""Makes an event of a kind with these members."""
USERS: Final = ("user", "safety_identifier")


class Mark(BaseModel):
    """What is kept of a response with its job, to answer later calls about it."""

    model_config = ConfigDict(frozen=True)

    output: Output
    tool: dict[str, Any]
    tool_choice: str | dict[str, Any]
    background: bool
    previous: str | None
    is_edit: bool

    @classmethod
    def of(cls, order: ResponseOrder) -> Mark:
        """The mark of a new response."""
        body = order.body
        return cls(
            output=replace(order.images.output, warning=None),
            tool={name: value for name, value in order.tool.items() if value is not None},
            tool_choice=body.tool_choice,
            background=body.background,
            previous=body.previous_response_id,
            is_edit=order.is_edit,
        )

    @classmethod
    def read(cls, metadata: dict[str, Any]) -> Mark | None:
        """The mark of a job with this metadata; None if it is no response, or its metadata were deleted."""
        try:
            return cls.model_validate(metadata.get(MARK))
        except ValidationError:
            return None


def response_id(job_id: str) -> str:
    """The id of a job's response."""
    return RESPONSE + job_id.removeprefix(JOB)


def job_id_of(response: str) -> str:
    """The id of the job of a response; any other text yields the id of no job."""
    return JOB + response.removeprefix(RESPONSE) if response.startswith(RESPONSE) else ""


def job_id_of_call(call: str) -> str:
    """The id of the job of an image_generation_call; any other text yields the id of no job."""
    return JOB + call.removeprefix(CALL).partition("_")[0] if call.startswith(CALL) else ""


def finished_response(services: Services, mark: Mark, finished: Finished, encode: Encode) -> dict[str, Any]:
    """The response of a job that has succeeded. Raises what `encode` raises."""
    job = finished.job
    items = [picture_item(encode, mark, job, image, index) for index, image in enumerate(finished.images)]
    card = services.catalogue.cards.get(job.model)
    counts = None if card is None else image_answer.usage(card, job, finished.cost)
    return response(mark, job) | {
        "output": [*items, message_item(job)],
        "usage": _usage(job, counts),
        "tool_usage": None if counts is None else {"image_gen": counts, "web_search": {"num_requests": 0}},
    }


def response(mark: Mark, job: JobView) -> dict[str, Any]:
    """The response of a job, without output."""
    own = {name: value for name, value in job.metadata.items() if name not in (MARK, *USERS)}
    users = {name: job.metadata[name] for name in USERS if name in job.metadata}
    return users | {
        "id": response_id(job.id),
        "object": "response",
        "created_at": int(job.created_at.timestamp()),
        "completed_at": _completed_at(job),
        "status": STATUSES[job.status],
        "background": mark.background,
        "error": _error(job),
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": own,
        "model": job.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": mark.previous,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": mark.tool_choice,
        "tools": [mark.tool],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "job_id": job.id,
        "seed": job.seed,
    }


def picture_item(encode: Encode, mark: Mark, job: JobView, image: Image, index: int) -> dict[str, Any]:
    """A finished picture as an output. Raises what `encode` raises."""
    return {
        "id": _call_id(job, index),
        "type": "image_generation_call",
        "status": "completed",
        "action": "edit" if mark.is_edit else "generate",
        "result": encode(mark.output, image),
        "revised_prompt": image_answer.revised_prompt(job, image),
        "image_id": image.id,
        "seed": image.seed,
    } | _about(mark, job)


def message_item(job: JobView) -> dict[str, Any]:
    """What is said about the pictures, as an output."""
    text: dict[str, Any] = {
        "type": "output_text",
        "text": job.presentation or job.prompt,
        "annotations": [],
        "logprobs": [],
    }
    about = {"id": f"msg_{job.id.removeprefix(JOB)}", "type": "message", "role": "assistant", "status": "completed"}
    return about | {"content": [text]}


def events(services: Services, tenant_id: str, mark: Mark, views: Iterable[JobView]) -> Iterator[str]:
    """Yield the events of a stream; the numbers of the events begin with 0."""
    numbers, begun, drawn = count(), False, False

    def send(kind: str, **members: Any) -> str:
        return f"event: {kind}\n" + event({"type": kind, "sequence_number": next(numbers)} | members)

    for seen in image_answer.progress(services, mark.output, views):
        job = seen.job if isinstance(seen, Partial) else seen
        call = {"item_id": _call_id(job, 0), "output_index": 0}
        if not begun:
            started = response(mark, job) | {"status": "in_progress", "error": None, "completed_at": None}
            yield send("response.created", response=started)
            yield send("response.in_progress", response=started)
            yield from _call_begins(send, call)
            begun = True
        if not drawn and (isinstance(seen, Partial) or job.status in (JobState.RUNNING, JobState.SUCCEEDED)):
            yield send("response.image_generation_call.generating", **call)
            drawn = True
        if isinstance(seen, Partial):
            shown = _about(mark, job) | {"partial_image_b64": seen.b64, "partial_image_index": seen.index}
            yield send("response.image_generation_call.partial_image", **call, **shown)
        elif job.status is JobState.SUCCEEDED:
            finished, encode = image_answer.read_finished(services, tenant_id, job), partial(encoded, services)
            yield from _end_events(send, finished_response(services, mark, finished, encode))
        elif job.status.terminal:
            yield send("response.failed", response=response(mark, job))
        else:
            yield KEEPALIVE


def _call_begins(send: Send, call: dict[str, Any]) -> Iterator[str]:
    item = {"id": call["item_id"], "type": "image_generation_call", "status": "in_progress", "result": None}
    yield send("response.output_item.added", output_index=call["output_index"], item=item)
    yield send("response.image_generation_call.in_progress", **call)


def _end_events(send: Send, done: dict[str, Any]) -> Iterator[str]:
    """The events of the finished pictures, of the message about them, and of the end."""
    *pictures, message = done["output"]
    for index, item in enumerate(pictures):
        call = {"item_id": item["id"], "output_index": index}
        if index:
            yield from _call_begins(send, call)
            yield send("response.image_generation_call.generating", **call)
        yield send("response.image_generation_call.completed", **call)
        yield send("response.output_item.done", output_index=index, item=item)
    yield from _message_events(send, message, len(pictures))
    yield send("response.completed", response=done)


def _message_events(send: Send, message: dict[str, Any], place: int) -> Iterator[str]:
    [part] = message["content"]
    where = {"item_id": message["id"], "output_index": place, "content_index": 0}
    begun: dict[str, Any] = message | {"content": [], "status": "in_progress"}
    yield send("response.output_item.added", output_index=place, item=begun)
    yield send("response.content_part.added", **where, part=part | {"text": ""})
    yield send("response.output_text.delta", **where, delta=part["text"], logprobs=[])
    yield send("response.output_text.done", **where, text=part["text"], logprobs=[])
    yield send("response.content_part.done", **where, part=part)
    yield send("response.output_item.done", output_index=place, item=message)


def _call_id(job: JobView, index: int) -> str:
    return CALL + job.id.removeprefix(JOB) + (f"_{index}" if index else "")


def _completed_at(job: JobView) -> int | None:
    done = job.finished_at if job.status is JobState.SUCCEEDED else None
    return None if done is None else int(done.timestamp())


def _about(mark: Mark, job: JobView) -> dict[str, Any]:
    about = image_answer.about_picture(mark.output, job)
    return {name: about[name] for name in ("size", "quality", "background", "output_format")}


def _error(job: JobView) -> dict[str, Any] | None:
    """Why a response failed. Its code is one that OpenAI's clients know; `type` has ours."""
    if job.status is not JobState.FAILED:
        return None
    code, message = (job.error.code, job.error.message) if job.error else ("", "The job failed.")
    return {"code": "server_error", "message": message, "param": None, "type": code}


def _usage(job: JobView, counts: dict[str, Any] | None) -> dict[str, Any] | None:
    """The words and punctuation marks read and said; the cost of the pictures is in `tool_usage`."""
    if counts is None:
        return None
    read, said = counts["input_tokens_details"]["text_tokens"], len(WORD.findall(job.presentation or job.prompt))
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + said,
    }
