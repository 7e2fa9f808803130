"""The answers of OpenAI's image calls: the finished pictures, and the events of a stream."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from limner_shared.db import queries
from limner_shared.db.signed_links import ANSWER_SECONDS
from limner_shared.db.tables import Image
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.replay import DRAWN_AS
from limner_shared.domain.views import JobView
from limner_web import synchronous_jobs
from limner_web.openai.calls import KEEPALIVE, event
from limner_web.openai.image_order import ImageOrder, Output
from limner_web.services import Services

PREVIEW_POLL_SECONDS: Final = 0.4
"""The interval at which a stream with partial images looks for a preview; workers make about one a second."""
KEEPALIVE_SECONDS: Final = 3.0
WORD: Final = re.compile(r"\w+|[^\w\s]")
"""A token of text, as `usage` counts it: a word or a punctuation mark."""

Call = Literal["image_generation", "image_edit"]
Encode = Callable[[Output, Image], str]
"""Gives a picture in the form of the answer, in base64; see `encoded`."""
Address = Callable[[Image], str]
"""Gives a picture's URL."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that has succeeded, its pictures, and its cost in cost units."""

    job: JobView
    images: Sequence[Image]
    cost: int


@dataclass(frozen=True, slots=True)
class Partial:
    """A preview of a running job, in base64, and its place among those of a stream."""

    index: int
    b64: str
    job: JobView


def read_finished(services: Services, tenant_id: str, job: JobView) -> Finished:
    """The pictures and the cost of a job. Raises the job's error if it has not succeeded, or NotFound."""
    synchronous_jobs.require_success(job)
    with services.database.read() as session:
        row = queries.job(session, tenant_id, job.id)
        return Finished(job, queries.images(session, [job.id])[job.id], row.cost)


def answer(
    output: Output, card: ModelCard | None, finished: Finished, address: Address, encode: Encode
) -> dict[str, Any]:
    """The body of the answer, without `usage` if the model's card is gone. `address` gives a picture's URL.

    Raises what `encode` raises.
    """
    job = finished.job
    about = {
        "created": int(job.created_at.timestamp()),
        "background": "opaque",
        "output_format": output.format,
        "size": _size(output, job),
        "quality": output.quality,
        "safety_identifier": output.identifier,
        "usage": None if card is None else usage(card, job, finished.cost),
        "model": job.model,
        "job_id": job.id,
        "seed": job.seed,
    }
    data = [picture(encode, output, job, image, address) for image in finished.images]
    return {name: value for name, value in about.items() if value is not None} | {"data": data}


def usage(card: ModelCard, job: JobView, cost: int) -> dict[str, Any]:
    """What the job took: words and punctuation marks of its texts, 64-pixel squares of its input images, and, as
    output, its cost units.
    """
    text = sum(len(WORD.findall(part)) for part in (job.description or job.prompt, job.negative_prompt))
    pictures = sum(given is not None for given in (job.image, job.mask, job.control_image))
    inputs = (pictures + len(job.reference_images or ())) * card.tokens(job.width, job.height)
    return {
        "input_tokens": text + inputs,
        "input_tokens_details": {"text_tokens": text, "image_tokens": inputs},
        "output_tokens": cost,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": cost},
        "total_tokens": text + inputs + cost,
    }


def preview_interval(output: Output) -> float:
    """How often the stream of such a call looks at its job, in seconds."""
    return PREVIEW_POLL_SECONDS if output.partial_images else KEEPALIVE_SECONDS


def events(
    services: Services, tenant_id: str, order: ImageOrder, views: Iterable[JobView], call: Call
) -> Iterator[str]:
    """Yield the events of a stream: previews while the job runs, comments between them, at last the pictures."""
    output = order.output
    job: JobView | None = None
    for seen in progress(services, tenant_id, output, views):
        if isinstance(seen, Partial):
            shown = {"b64_json": seen.b64, "partial_image_index": seen.index}
            yield event({"type": f"{call}.partial_image"} | shown | about_picture(output, seen.job))
        elif seen.status.terminal:
            job = seen
        else:
            yield KEEPALIVE
    if job is None:
        return
    finished, encode = read_finished(services, tenant_id, job), partial(encoded, services, tenant_id)
    address = partial(link, services, "")
    for index, image in enumerate(finished.images):
        completed = picture(encode, output, job, image, address) | {
            "index": index,
            "job_id": job.id,
        }
        counts = {"usage": usage(order.card, job, finished.cost)} if index == 0 else {"usage": NO_USAGE}
        yield event({"type": f"{call}.completed"} | completed | counts | about_picture(output, job))


NO_USAGE: Final[dict[str, Any]] = {
    "input_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
"""The usage of the second and later pictures of a job: the first one's has all of it, so that sums are right."""


def progress(
    services: Services, tenant_id: str, output: Output, views: Iterable[JobView], known: int = 0
) -> Iterator[Partial | JobView]:
    """Yield the previews of a stream while the job runs, a view where a comment is due, at last the view of its end.

    The client has `known` previews already.
    """
    sent, last, quiet_since = known, None, time.monotonic()
    for job in views:
        if job.status.terminal:
            yield job
            return
        preview = services.hints.request_preview(job.id) if sent < output.partial_images else None
        if preview is not None and preview != last:
            yield Partial(sent, _encode(services, tenant_id, output, preview), job)
            sent, last, quiet_since = sent + 1, preview, time.monotonic()
        elif time.monotonic() - quiet_since >= KEEPALIVE_SECONDS or sent == known:
            yield job
            quiet_since = time.monotonic()


def about_picture(output: Output, job: JobView) -> dict[str, Any]:
    """The members that all events about a picture have."""
    return {
        "created_at": int(job.created_at.timestamp()),
        "size": _size(output, job),
        "quality": output.quality or "auto",
        "background": "opaque",
        "output_format": output.format,
    }


def _size(output: Output, job: JobView) -> str:
    width, height = output.letterbox or (job.width, job.height)
    return f"{width}x{height}"


def link(services: Services, origin: str, image: Image) -> str:
    """A URL of the picture that needs no key for ANSWER_SECONDS; `origin` is the service's own."""
    path, _ = services.links.make(image.id, ANSWER_SECONDS)
    return f"{origin}{path}"


def encoded(services: Services, tenant_id: str, output: Output, image: Image) -> str:
    """A stored picture in the form of the answer, in base64.

    Raises NotFound, ObjectUnreadable, StorageFailed, SigningFailed or Overloaded.
    """
    stored = services.storage.call_for(tenant_id, services.blobs.get_checked, image.sha256)
    return base64.b64encode(stored).decode() if output.as_stored else _encode(services, tenant_id, output, stored)


def picture(encode: Encode, output: Output, job: JobView, image: Image, address: Address) -> dict[str, Any]:
    """One picture of an answer, in base64 or by its URL. Raises what `encode` raises."""
    about = {"id": image.id, "seed": image.seed, "revised_prompt": revised_prompt(job, image)}
    if output.as_url:
        return about | {"url": address(image) + output.query}
    return about | {"b64_json": encode(output, image)}


def revised_prompt(job: JobView, image: Image) -> str:
    """The prompt from which a picture was made."""
    return image.receipt.get(DRAWN_AS) or job.revised_prompt or job.prompt


def _encode(services: Services, tenant_id: str, output: Output, stored: bytes) -> str:
    data = services.renditions.convert(tenant_id, stored, output.format, output.compression, output.letterbox)
    return base64.b64encode(data).decode()
