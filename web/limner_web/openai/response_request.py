"""Reads the parameters of a response: the words, the pictures and the image_generation tool become an image order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from limner_shared.domain.conditions import MAX_DESCRIPTION
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.responses import MARK
from limner_shared.errors import InvalidRequest, ModelNotFound
from limner_web.http.problems import from_validation
from limner_web.openai.image_inputs import read_inputs
from limner_web.openai.image_order import (
    NATIVE,
    UNSUPPORTED,
    Fidelity,
    ImageOptions,
    ImageOrder,
    in_openai_terms,
    read_order,
)
from limner_web.pictures.input_images import REFERENCES
from limner_web.services import Services

TOOL: Final = "image_generation"
TOOL_ONLY: Final = ("type", "action", "input_image_mask")
TOOL_PICTURES: Final = ("input_image_mask", "control_image", REFERENCES)
"""Parameters of the tool that are not stored with it, nor repeated in the answer."""
NOT_OF_THE_TOOL: Final = ("prompt", "metadata", "stream", "response_format", "user", "safety_identifier", "interpret")
"""Parameters of the image calls that a response has elsewhere, or that it decides itself."""
TOOL_FIELDS: Final = frozenset((*NATIVE, *ImageOptions.model_fields, "strength")) - {*NOT_OF_THE_TOOL}
CLIENTS_DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "temperature": (1,),
    "top_p": (1,),
    "top_logprobs": (0,),
    "truncation": ("auto", "disabled"),
    "service_tier": ("auto", "default"),
    "parallel_tool_calls": (True, False),
    "include": ([],),
    "text": ({}, {"format": {"type": "text"}}),
    "reasoning": ({},),
    "stream_options": ({"include_obfuscation": False},),
}
"""Values of the language model's parameters that need no warning."""
Include = Literal[
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
"""What a client may ask for beside the items. Only the first concerns items that exist here."""
ROLES_NOT_FOLLOWED: Final = ("system", "developer")


class Part(BaseModel):
    """A part of a message."""

    type: Literal["input_text", "output_text", "text", "input_image"]
    text: str = ""
    image_url: str | None = None
    file_id: str | None = None


class Message(BaseModel):
    """A message and the role of its author."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """The text of the message, without its other parts."""
        if isinstance(self.content, str):
            return self.content
        return " ".join(part.text for part in self.content if part.type != "input_image")

    @property
    def images(self) -> list[Part]:
        """The pictures of the message."""
        return [] if isinstance(self.content, str) else [part for part in self.content if part.type == "input_image"]


class EarlierCall(BaseModel):
    """An earlier output that the client sends again, whole or by its id."""

    type: Literal["image_generation_call", "item_reference"]
    id: str


class PlainText(BaseModel):
    """The one format of texts here."""

    type: Literal["text"]


class TextOptions(BaseModel):
    """How the text of a response is to be."""

    model_config = ConfigDict(extra="forbid")

    format: PlainText | None = None
    verbosity: str | None = None


class LanguageModelParameters(BaseModel):
    """Parameters of a language model. None answers here, so they change nothing; agents and assistants send them."""

    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    truncation: str | None = None
    include: list[Include] | None = None
    text: TextOptions | None = None
    reasoning: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None

    @property
    def without_effect(self) -> list[str]:
        """The names of those that were sent, beside the values that clients send as a default."""
        sent = self.model_dump(include={*LanguageModelParameters.model_fields}, exclude_unset=True)
        return [name for name, value in sent.items() if value not in CLIENTS_DEFAULTS.get(name, ())]


class ResponseBody(LanguageModelParameters):
    """The parameters of a response."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[Annotated[Message | EarlierCall, Field(union_mode="left_to_right")]]
    tools: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    tool_choice: str | dict[str, Any] = "auto"
    model: str | None = None
    instructions: str | list[Any] | None = None
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    previous_response_id: str | None = None
    stream: StrictBool = False
    background: StrictBool = False
    store: StrictBool = True
    user: str | None = None
    safety_identifier: str | None = None

    @property
    def messages(self) -> list[Message | EarlierCall]:
        """The input as a list."""
        return [Message(role="user", content=self.input)] if isinstance(self.input, str) else self.input


@dataclass(frozen=True, slots=True)
class ResponseOrder:
    """A response, read: the image order, the earlier messages, and what its answer repeats."""

    images: ImageOrder
    body: ResponseBody
    tool: dict[str, Any]
    """The tool as it was sent, without its pictures."""
    earlier: Sequence[Message | EarlierCall]
    is_edit: bool

    @property
    def warning(self) -> str | None:
        """What the client asked for and does not get, or None."""
        roles = {message.role for message in self.body.messages if isinstance(message, Message)}
        warnings = [self.images.output.warning]
        if self.body.instructions or roles & {*ROLES_NOT_FOLLOWED}:
            warnings.append("instructions and messages of the roles system and developer are not followed here")
        if names := self.body.without_effect:
            warnings.append(f"no language model answers here, so this had no effect: {', '.join(names)}")
        return "; ".join(filter(None, warnings)) or None


def read_body(body: Mapping[str, Any]) -> ResponseBody:
    """Read the parameters beside the tool's; null counts as absent. Raises InvalidRequest, which names one."""
    given = {name: value for name, value in body.items() if value is not None}
    for name in given.keys() - ResponseBody.model_fields.keys():
        raise InvalidRequest(f"{name[:80]}: responses have no such parameter here. Leave it out.", field=name[:80])
    read = ResponseBody.model_validate(given)
    if read.background and not read.store:
        raise refuse("store", "store: false with background: true", "one of the two")
    if MARK in read.metadata:
        raise refuse("metadata", f"the member {MARK}", "other names")
    return read


def read_response(services: Services, tenant_id: str, body: ResponseBody, default_model: str | None) -> ResponseOrder:
    """Read the words, the pictures and the tool. `default_model` is used if the call names none.

    Raises InvalidRequest, which names the parameter, or ModelNotFound.
    """
    tool = _only_tool(body)
    *earlier, last = body.messages or [Message(role="assistant", content="")]
    if not isinstance(last, Message) or last.role != "user" or not last.text.strip():
        raise InvalidRequest("input: the last message must have the role `user` and contain text.", field="input")
    if len(last.text) > MAX_DESCRIPTION:
        raise refuse("input", f"a message of {len(last.text)} characters", f"at most {MAX_DESCRIPTION}")
    fields = {name: value for name, value in tool.items() if name not in TOOL_ONLY and value is not None}
    fields |= {"prompt": last.text, "metadata": dict(body.metadata), "interpret": True}
    can_stream = body.stream or body.background  # in the background, also later
    fields |= {"response_format": "b64_json", "stream": can_stream, "user": body.user}
    fields |= {"model": fields.get("model", body.model or default_model), "safety_identifier": body.safety_identifier}
    mask, images = tool.get("input_image_mask"), last.images
    if not images and fields.get("input_fidelity") in get_args(Fidelity):
        del fields["input_fidelity"]  # assistants always send it; it concerns input pictures alone
    _check_action(tool.get("action"), len(images), has_mask=mask is not None)
    try:
        size = None
        if images:
            given = [each.model_dump(include={"image_url", "file_id"}, exclude_none=True) for each in images]
            fields, size = read_inputs(services, tenant_id, fields | {"image": given, "mask": mask})
        order = read_order(fields, services.model_names, is_edit=bool(images), image_size=size)
    except InvalidRequest as error:
        raise in_response_terms(services, error, body) from error
    except ModelNotFound as error:
        name = _name("model", body)
        raise ModelNotFound(name + error.message.removeprefix("model"), field=name) from error
    except ValidationError as error:
        raise in_response_terms(services, from_validation(error), body) from error
    shown = {name: value for name, value in tool.items() if name not in TOOL_PICTURES}
    return ResponseOrder(order, body, shown, earlier, bool(images))


def in_response_terms(services: Services, error: InvalidRequest, body: ResponseBody) -> InvalidRequest:
    """The error for an image order, with the names that its parameters have in a response."""
    error = in_openai_terms(error, services.model_names)
    errors = cast("Sequence[dict[str, str]]", error.details.get("errors", ()))
    first: dict[str, str] = errors[0] if errors else {}
    field = str(error.details.get("field") or first.get("field"))
    name = _name(field, body)
    message = name + error.message.removeprefix(field) if error.message.startswith(f"{field}:") else error.message
    return type(error)(message, **error.details | {"field": name})


def _name(field: str, body: ResponseBody) -> str:
    tool, whole = body.tools[0], field.partition("[")[0]
    if field in ("image", "prompt", "description") or (whole == REFERENCES and REFERENCES not in tool):
        return "input"
    if field == "mask":
        return "tools[0].input_image_mask"
    of_tool = whole in {*TOOL_FIELDS, *UNSUPPORTED} and (field != "model" or "model" in tool)
    return f"tools[0].{field}" if of_tool else field


def _only_tool(body: ResponseBody) -> dict[str, Any]:
    """The image_generation tool. Raises InvalidRequest for another one, none, or a choice against it."""
    allowed = f'[{{"type": "{TOOL}"}}]'
    if not body.tools:
        raise refuse("tools", "a response without tools", f"{allowed}: this service answers with pictures")
    for place, tool in enumerate(body.tools):
        if tool.get("type") != TOOL or place:
            raise refuse(f"tools[{place}]", f"the tool {str(tool.get('type'))[:60]!r}", f"one tool of the type {TOOL}")
    if body.tool_choice not in ("auto", "required", {"type": TOOL}):
        raise refuse("tool_choice", repr(body.tool_choice)[:80], f'auto, required or {{"type": "{TOOL}"}}')
    tool = body.tools[0]
    for name in tool.keys() - {*TOOL_ONLY, *TOOL_FIELDS, *UNSUPPORTED}:
        raise InvalidRequest(
            f"tools[0].{name[:80]}: the tool has no such parameter here. Leave it out.", field=f"tools[0].{name[:80]}"
        )
    return tool


def _check_action(action: Any, images: int, *, has_mask: bool) -> None:
    field = "tools[0].action"
    if action not in (None, "auto", "generate", "edit"):
        raise refuse(field, repr(action)[:40], "auto, generate or edit")
    if action == "edit" and not images:
        raise refuse(field, "edit without a picture", "an input_image in the last message")
    if action == "generate" and images:
        raise refuse(field, "generate beside a picture", "edit or auto")
    if has_mask and not images:
        raise refuse("tools[0].input_image_mask", "a mask without a picture", "an input_image in the last message")
