"""The calls that a batch may hold. Each is read and answered by the functions of its own route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest
from limner_web.openai.image_answer import Address, Encode, Finished, answer
from limner_web.openai.image_edits import read_edit
from limner_web.openai.image_order import ImageOrder, Output, in_openai_terms, read_order
from limner_web.openai.response_answer import Mark, finished_response
from limner_web.openai.response_call import read_call
from limner_web.openai.response_request import in_response_terms, read_body
from limner_web.services import Services

EndpointPath = Literal["/v1/images/generations", "/v1/images/edits", "/v1/responses"]
OUTPUT: Final = TypeAdapter(Output)
TEXTS: Final = ("negative_prompt",)
"""Parameters of the tool that are not kept with a line: they are deleted with the job's texts, and a line is not."""


@dataclass(frozen=True, slots=True)
class LineCall:
    """The call of a line, read."""

    request: JobRequest
    form: Mapping[str, Any]
    """The form of its answer, as JSON, which `Endpoint.answer` is given. Its `warning` is for the client."""
    terms: Callable[[InvalidRequest], InvalidRequest]
    """Gives an error for the job request the names that the call's parameters have."""
    turns: tuple[Turn, ...] = ()
    """The earlier turns of its conversation, the oldest first."""
    items: list[dict[str, Any]] | None = None
    """The input items to store with its job, if it is a response that is stored."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the calls of an endpoint are read and answered."""

    read: Callable[[Services, str, dict[str, Any]], LineCall]
    """Reads the body of a tenant's call. Raises InvalidRequest, which names a parameter, or ModelNotFound."""
    answer: Callable[[Services, Mapping[str, Any], Finished, Address, Encode], dict[str, Any]]
    """The body of the answer. Raises ValidationError for a form that cannot be read, and what `Encode` raises."""


def _generation(services: Services, _tenant_id: str, body: dict[str, Any]) -> LineCall:
    return _image_call(services, read_order(body, services.model_names))


def _edit(services: Services, tenant_id: str, body: dict[str, Any]) -> LineCall:
    return _image_call(services, read_edit(services, tenant_id, body))


def _image_call(services: Services, order: ImageOrder) -> LineCall:
    if order.output.stream:
        raise _refuse_stream()
    return LineCall(order.request, asdict(order.output), partial(in_openai_terms, names=services.model_names))


def _response(services: Services, tenant_id: str, body: dict[str, Any]) -> LineCall:
    given = read_body(body)
    if given.stream:
        raise _refuse_stream()
    if given.background:
        raise refuse("background", "a response in the background of a batch", "false")
    call = read_call(services, tenant_id, given)
    tool = {name: value for name, value in call.mark.tool.items() if name not in TEXTS}
    form = call.mark.model_copy(update={"tool": tool}).model_dump(mode="json") | {"warning": call.order.warning}
    return LineCall(call.request, form, partial(in_response_terms, services, body=given), call.turns, call.items)


def _refuse_stream() -> InvalidRequest:
    return refuse("stream", "a stream in a batch", "no stream")


def _image_answer(
    services: Services, form: Mapping[str, Any], finished: Finished, address: Address, encode: Encode
) -> dict[str, Any]:
    card = services.catalogue.cards.get(finished.job.model)
    return answer(OUTPUT.validate_python(form), card, finished, address, encode)


def _response_answer(
    services: Services, form: Mapping[str, Any], finished: Finished, _address: Address, encode: Encode
) -> dict[str, Any]:
    mark = Mark.read(finished.job.metadata) or Mark.model_validate(form)
    return finished_response(services, mark, finished, encode)


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "/v1/images/generations": Endpoint(_generation, _image_answer),
    "/v1/images/edits": Endpoint(_edit, _image_answer),
    "/v1/responses": Endpoint(_response, _response_answer),
}
