"""The input items of responses: what is stored of them, and how they are listed with those of earlier responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from limner_shared.db import queries, response_inputs
from limner_shared.db.tables import Job
from limner_shared.db.views import plain_view
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.responses import JOB
from limner_shared.domain.views import JobView
from limner_shared.errors import NotFound
from limner_web.auth import tenant_id
from limner_web.openai.response_answer import Mark, job_id_of_call, message_item, picture_item
from limner_web.openai.response_request import EarlierCall, Include, Message, Part, ResponseBody
from limner_web.services import Services

MAX_STORED_BYTES: Final = 256 << 10
"""The largest input of a stored response, as JSON without the bytes of pictures."""
CALL_TYPE: Final = "image_generation_call"
IMAGE_URL: Final = "message.input_image.image_url"
INCLUDE: Final = ("include", "include[]")


class IncludeQuery(BaseModel):
    """What a client asks for beside an object."""

    model_config = ConfigDict(extra="forbid")

    include: list[Include] = Field(default_factory=list[Include])

    @classmethod
    def read(cls, arguments: MultiDict[str, str]) -> Self:
        """Read a query; OpenAI's clients write a list as `include[]`. Raises ValidationError."""
        plain = {name: value for name, value in arguments.items() if name not in INCLUDE}
        include = [value for name in INCLUDE for value in arguments.getlist(name)]
        return cls.model_validate(plain | {"include": include})


class ItemsQuery(IncludeQuery):
    """The page of the list."""

    after: str | None = None
    limit: int = Field(default=20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the list, and the digests of its input pictures, in the order of its parts."""

    value: dict[str, Any]
    pictures: Sequence[str] = ()


def stored_items(body: ResponseBody) -> list[dict[str, Any]]:
    """What is stored of a response's input: its messages and the earlier pictures that it names.

    Raises InvalidRequest if that is too much.
    """
    named = (item for item in body.messages if isinstance(item, Message) or job_id_of_call(item.id))
    items = [_stored(item) for item in named]
    size = len(json.dumps(items, ensure_ascii=False).encode())
    if size > MAX_STORED_BYTES:
        allowed = f"at most {MAX_STORED_BYTES} bytes beside the pictures, or store: false"
        raise refuse("input", f"a stored input of {size} bytes", allowed)
    return items


def input_items(session: Session, row: Job, chain: Sequence[Job]) -> list[Item]:
    """The items that a response was created from, the oldest first: the inputs and outputs of the earlier responses,
    then its own inputs. Each id comes once.
    """
    rows = [*chain, row]
    stored = response_inputs.inputs_of(session, [each.id for each in rows])
    items: dict[str, Item] = {}
    for shown in queries.shown(session, rows):
        job = plain_view(shown)
        own = _inputs(job, stored.get(job.id))
        outputs = [] if shown.job.id == row.id else _outputs(job, shown)
        for item in (*own, *outputs):
            items.setdefault(item.value["id"], item)
    return list(items.values())


def page(services: Services, items: Sequence[Item], query: ItemsQuery) -> dict[str, Any]:
    """A page of the list. Raises InvalidRequest for an `after` that is none of the items, or StorageFailed."""
    ordered = list(items if query.order == "asc" else reversed(items))
    begin = 0
    if query.after is not None:
        places = [place for place, item in enumerate(ordered) if item.value["id"] == query.after]
        if not places:
            raise refuse("after", repr(query.after[:60]), "the id of one of the items")
        begin = places[0] + 1
    found = ordered[begin : begin + query.limit]
    data = [_with_pictures(services, item) if IMAGE_URL in query.include else item.value for item in found]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": len(ordered) > begin + query.limit} | ends


def _stored(item: Message | EarlierCall) -> dict[str, Any]:
    if isinstance(item, EarlierCall):
        return {"type": CALL_TYPE, "id": item.id}
    parts = [Part(type="input_text", text=item.content)] if isinstance(item.content, str) else item.content
    return {"role": item.role, "content": [_stored_part(part) for part in parts]}


def _stored_part(part: Part) -> dict[str, Any]:
    if part.type != "input_image":
        return {"type": "text", "text": part.text}
    named = {"file_id": part.file_id, "image_url": part.image_url}
    kept = {name: value for name, value in named.items() if value is not None and not value.startswith("data:")}
    return {"type": part.type} | kept


def _inputs(job: JobView, stored: Sequence[Mapping[str, Any]] | None) -> Iterable[Item]:
    """A response's own items; those of an earlier release have only the description."""
    words = {"role": "user", "content": [{"type": "text", "text": job.description or job.prompt}]}
    items = [words] if stored is None else stored
    pictures = job.reference_images if job.image is None else [job.image]
    for number, item in enumerate(items):
        is_last = number == len(items) - 1
        yield Item(_listed(item, f"msg_{job.id.removeprefix(JOB)}_{number}"), pictures if is_last else ())


def _listed(item: Mapping[str, Any], item_id: str) -> dict[str, Any]:
    """An item in OpenAI's form. An earlier output that the client sent again has its own id."""
    if "role" not in item:
        return {"type": CALL_TYPE, "id": item["id"], "status": "completed", "result": None}
    said = item["role"] == "assistant"
    content = [_listed_part(part, said=said) for part in item["content"]]
    return {"id": item_id, "type": "message", "role": item["role"], "status": "completed", "content": content}


def _listed_part(part: Mapping[str, Any], *, said: bool) -> dict[str, Any]:
    if part["type"] == "input_image":
        return {"detail": "auto", **dict.fromkeys(("file_id", "image_url")), **part}
    if said:
        return {"type": "output_text", "text": part["text"], "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": part["text"]}


def _outputs(job: JobView, shown: queries.Shown) -> list[Item]:
    """What an earlier response has answered, without the bytes of its pictures."""
    mark = Mark.read(job.metadata)
    if mark is None or not job.images:
        return []
    pictures = [picture_item(lambda _output, _image: "", mark, job, each, at) for at, each in enumerate(shown.images)]
    return [Item(each) for each in ({**item, "result": None} for item in pictures)] + [Item(message_item(job))]


def _with_pictures(services: Services, item: Item) -> dict[str, Any]:
    """An item with its pictures as the model got them; without those that are no longer stored."""
    if not item.pictures:
        return item.value
    left, parts = iter(item.pictures), list[dict[str, Any]]()
    for part in item.value["content"]:
        digest = next(left, None) if part["type"] == "input_image" else None
        parts.append(part if digest is None else part | _address(services, digest))
    return item.value | {"content": parts}


def _address(services: Services, digest: str) -> dict[str, str]:
    try:
        data = services.storage.call_for(tenant_id(), services.blobs.get_input, digest)
    except NotFound:
        return {}
    return {"image_url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}
