"""What the tools answer: pictures as image content, and everything else as structured JSON."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import BaseModel, Field

from limner_client.client import Client
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import ErrorView, ImageView, JobView
from limner_shared.errors import LimnerError, NotFound

MAX_SHOWN: Final = 4
"""Pictures in one answer; agents have to read all of them."""
THUMBNAIL_WIDTH: Final = 256
LARGE_BYTES: Final = 700_000
"""Larger files are sent as JPEG: agents' hosts limit the size of an answer, often to 1 MB."""


class Picture(BaseModel):
    """One picture of a job."""

    id: str = Field(description="Give it to edit_image as `image` to start from this picture.")
    url: str = Field(description="Where its file is; needs the same API key.")
    width: int
    height: int
    seed: int
    style: str | None = None
    alt_text: str | None = None


class JobResult(BaseModel):
    """A job and its pictures."""

    job_id: str
    status: JobState
    finished: bool = Field(description="Whether the status is final.")
    model: str
    prompt: str
    seed: int
    position: int | None = Field(default=None, description="Jobs ahead of it, while it is queued.")
    progress: float | None = Field(default=None, description="From 0 to 1, while it is running.")
    pictures: list[Picture] = Field(default_factory=list[Picture])
    error: ErrorView | None = None
    next_step: str | None = Field(default=None, description="What to do now.")


class FoundJob(BaseModel):
    """A job that a search has found."""

    job_id: str
    prompt: str
    model: str
    style: str | None
    created_at: datetime
    tags: list[str]
    thumbnail: int | None = Field(description="Which image of this answer shows its first picture, from 0.")
    pictures: list[Picture]


class Found(BaseModel):
    """The jobs that a search has found, the newest first."""

    jobs: list[FoundJob]
    next_cursor: str | None = Field(description="For the next page: call search_images again with it as `cursor`.")


class ModelSummary(BaseModel):
    """A model and its limits."""

    name: str
    title: str
    description: str
    is_default: bool
    tasks: list[str]
    sizes: list[str]
    styles: list[str]
    default_steps: float
    max_steps: float
    max_images: int
    takes_negative_prompts: bool
    follows_control_picture: bool = Field(description="Whether each request must give a control_image.")
    most_references: int = Field(description="How many reference_images a request may give.")


class Models(BaseModel):
    """The models of the service."""

    models: list[ModelSummary]


def job_answer(client: Client, job: JobView) -> CallToolResult:
    """The answer about a job: its first pictures, and the job as JSON.

    A picture that cannot be read now is not shown: without the job's id, an agent would draw it again.
    """
    shown: list[ContentBlock] = []
    for image in job.images[:MAX_SHOWN]:
        with suppress(LimnerError):
            shown.append(_content(client, image))
    return as_answer(_result(client, job, len(shown)), shown)


def found_answer(client: Client, jobs: Sequence[JobView], next_cursor: str | None) -> CallToolResult:
    """The answer of a search: thumbnails, and the jobs as JSON. Raises what the downloads raise, except NotFound."""
    shown: list[ContentBlock] = []
    found: list[FoundJob] = []
    for job in jobs:
        place = None
        with suppress(NotFound):  # the picture was deleted meanwhile
            data = client.convert(job.images[0], "jpeg", THUMBNAIL_WIDTH)
            shown.append(_image_content(data, "image/jpeg"))
            place = len(shown) - 1
        found.append(_found(client, job, place))
    return as_answer(Found(jobs=found, next_cursor=next_cursor), shown)


def as_answer(result: BaseModel, pictures: Sequence[ContentBlock] = ()) -> CallToolResult:
    """An answer with these pictures and this result, as structured content and, for older clients, as text."""
    text = TextContent(type="text", text=result.model_dump_json(exclude_none=True))
    return CallToolResult(content=[*pictures, text], structured_content=result.model_dump(mode="json"))


def _found(client: Client, job: JobView, thumbnail: int | None) -> FoundJob:
    return FoundJob(
        job_id=job.id,
        prompt=job.prompt,
        model=job.model,
        style=job.style,
        created_at=job.created_at,
        tags=job.tags,
        thumbnail=thumbnail,
        pictures=_pictures(client, job),
    )


def _pictures(client: Client, job: JobView) -> list[Picture]:
    return [
        Picture(
            id=image.id,
            url=f"{client.server}{image.url}",
            width=image.width,
            height=image.height,
            seed=image.seed,
            style=image.style,
            alt_text=image.alt_text,
        )
        for image in job.images
    ]


def _result(client: Client, job: JobView, shown: int) -> JobResult:
    done = job.progress.done / job.progress.total if job.progress and job.progress.total else None
    return JobResult(
        job_id=job.id,
        status=job.status,
        finished=job.status.terminal,
        model=job.model,
        prompt=job.prompt,
        seed=job.seed,
        position=job.position,
        progress=done,
        pictures=_pictures(client, job),
        error=job.error,
        next_step=_next_step(job, shown),
    )


def _next_step(job: JobView, shown: int) -> str | None:
    if not job.status.terminal:
        return f"Not finished: call get_job with job_id {job.id} and wait_seconds. Do not generate the picture again."
    if shown < min(len(job.images), MAX_SHOWN):
        return f"A picture cannot be read now: call get_job with job_id {job.id} later. Do not generate it again."
    if len(job.images) > MAX_SHOWN:
        return f"The first {MAX_SHOWN} pictures are shown; the others are at their URLs."
    return None


def _content(client: Client, image: ImageView) -> ImageContent:
    large = image.bytes > LARGE_BYTES
    data = client.convert(image, "jpeg") if large else client.download(image)
    media_type = "image/jpeg" if large else image.media_type
    return _image_content(data, media_type)


def _image_content(data: bytes, media_type: str) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=media_type)
