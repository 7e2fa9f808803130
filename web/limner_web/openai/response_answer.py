"""The objects of responses: a job as a response, its pictures and its message as items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from limner_shared.db.tables import Image
from limner_shared.domain.jobs import JobState
from limner_shared.domain.responses import JOB, MARK, response_id
from limner_shared.domain.views import JobView
from limner_web.openai import image_answer
from limner_web.openai.image_answer import WORD, Encode, Finished
from limner_web.openai.image_order import Output
from limner_web.openai.response_request import ResponseOrder
from limner_web.services import Services

CALL: Final = "ig_"
STATUSES: Final[dict[JobState, str]] = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELED: "cancelled",
}
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
        "id": call_id(job, index),
        "type": "image_generation_call",
        "status": "completed",
        "action": "edit" if mark.is_edit else "generate",
        "result": encode(mark.output, image),
        "revised_prompt": image_answer.revised_prompt(job, image),
        "image_id": image.id,
        "seed": image.seed,
    } | about(mark, job)


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


def call_id(job: JobView, index: int) -> str:
    """The id of the image_generation_call of a picture."""
    return CALL + job.id.removeprefix(JOB) + (f"_{index}" if index else "")


def _completed_at(job: JobView) -> int | None:
    done = job.finished_at if job.status is JobState.SUCCEEDED else None
    return None if done is None else int(done.timestamp())


def about(mark: Mark, job: JobView) -> dict[str, Any]:
    """The members that an output and a preview of a picture have."""
    shown = image_answer.about_picture(mark.output, job)
    return {name: shown[name] for name in ("size", "quality", "background", "output_format")}


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
