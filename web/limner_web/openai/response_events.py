"""The events of a response's stream.

Their numbers follow from the job and its mark alone, so that a client that lost its stream continues in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView
from limner_web.openai import image_answer
from limner_web.openai.calls import KEEPALIVE, event
from limner_web.openai.image_answer import Partial, encoded
from limner_web.openai.response_answer import Mark, about, call_id, finished_response, response
from limner_web.services import Services

FIRST_PREVIEW: Final = 5
"""The number of the first preview, after the five events that begin a stream. Each preview that the call may have has a
number; a job that is faster leaves some out."""


@dataclass(slots=True)
class _Numbered:
    """Makes events with consecutive numbers; those that the client has already are empty."""

    after: int
    next: int = 0

    def send(self, kind: str, **members: Any) -> str:
        """An event of a kind with these members."""
        number, self.next = self.next, self.next + 1
        if number <= self.after:
            return ""
        return f"event: {kind}\n" + event({"type": kind, "sequence_number": number} | members)


def events(services: Services, tenant_id: str, mark: Mark, views: Iterable[JobView], after: int = -1) -> Iterator[str]:
    """Yield the events with a number beyond `after`, and comments while nothing happens."""
    numbered = _Numbered(after)
    return (text for text in _all(services, tenant_id, mark, views, numbered) if text)


def _all(
    services: Services, tenant_id: str, mark: Mark, views: Iterable[JobView], numbered: _Numbered
) -> Iterator[str]:
    begun, drawn, send = False, False, numbered.send
    known = max(0, numbered.after + 1 - FIRST_PREVIEW)
    for seen in image_answer.progress(services, tenant_id, mark.output, views, known):
        job = seen.job if isinstance(seen, Partial) else seen
        call = {"item_id": call_id(job, 0), "output_index": 0}
        if not begun:
            started = response(mark, job) | {"status": "in_progress", "error": None, "completed_at": None}
            yield send("response.created", response=started)
            yield send("response.in_progress", response=started)
            yield from _call_begins(numbered, call)
            begun = True
        if not drawn and (isinstance(seen, Partial) or job.status in (JobState.RUNNING, JobState.SUCCEEDED)):
            yield send("response.image_generation_call.generating", **call)
            drawn = True
        if isinstance(seen, Partial):
            numbered.next = FIRST_PREVIEW + seen.index
            shown = about(mark, job) | {"partial_image_b64": seen.b64, "partial_image_index": seen.index}
            yield send("response.image_generation_call.partial_image", **call, **shown)
        elif job.status.terminal:
            numbered.next = FIRST_PREVIEW + mark.output.partial_images
            yield from _end(services, tenant_id, mark, job, numbered)
        else:
            yield KEEPALIVE


def _end(services: Services, tenant_id: str, mark: Mark, job: JobView, numbered: _Numbered) -> Iterator[str]:
    if job.status is not JobState.SUCCEEDED:
        yield numbered.send("response.failed", response=response(mark, job))
        return
    finished, encode = image_answer.read_finished(services, tenant_id, job), partial(encoded, services, tenant_id)
    done = finished_response(services, mark, finished, encode)
    *pictures, message = done["output"]
    for index, item in enumerate(pictures):
        call = {"item_id": item["id"], "output_index": index}
        if index:
            yield from _call_begins(numbered, call)
            yield numbered.send("response.image_generation_call.generating", **call)
        yield numbered.send("response.image_generation_call.completed", **call)
        yield numbered.send("response.output_item.done", output_index=index, item=item)
    yield from _message_events(numbered, message, len(pictures))
    yield numbered.send("response.completed", response=done)


def _call_begins(numbered: _Numbered, call: dict[str, Any]) -> Iterator[str]:
    item = {"id": call["item_id"], "type": "image_generation_call", "status": "in_progress", "result": None}
    yield numbered.send("response.output_item.added", output_index=call["output_index"], item=item)
    yield numbered.send("response.image_generation_call.in_progress", **call)


def _message_events(numbered: _Numbered, message: dict[str, Any], place: int) -> Iterator[str]:
    [part] = message["content"]
    where = {"item_id": message["id"], "output_index": place, "content_index": 0}
    begun: dict[str, Any] = message | {"content": [], "status": "in_progress"}
    send = numbered.send
    yield send("response.output_item.added", output_index=place, item=begun)
    yield send("response.content_part.added", **where, part=part | {"text": ""})
    yield send("response.output_text.delta", **where, delta=part["text"], logprobs=[])
    yield send("response.output_text.done", **where, text=part["text"], logprobs=[])
    yield send("response.content_part.done", **where, part=part)
    yield send("response.output_item.done", output_index=place, item=message)
