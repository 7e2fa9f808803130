"""Reads the parameters of OpenAI's image calls: each becomes part of a job request or of its answer, or is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from limner_shared.domain.card_fields import Quality
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.picture_urls import MAX_SIDE, rendition_query
from limner_shared.domain.request_limits import nearest_size, refuse
from limner_shared.errors import InvalidRequest
from limner_web.http.problems import renamed
from limner_web.long_texts import within_card
from limner_web.model_names import ModelNames

Size = tuple[int, int]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Fidelity = Literal["high", "low"]

NATIVE: Final = (
    *("prompt", "n", "seed", "steps", "guidance", "guidance_rescale", "negative_prompt", "style", "scheduler"),
    *("control_image", "control_scale", "control_start", "control_end", "reference_images", "reference_scale"),
    *("adapters", "metadata", "priority", "expires_in", "max_retries", "reproducible", "provenance"),
)
"""Parameters with the name and the meaning of the same field of a job request."""
CALLED: Final = {"description": "prompt"}
"""What a field of the job request is called in the call, where the name differs: with `interpret`."""
EDIT_ONLY: Final = ("image", "mask", "padding_mask_crop", "strength")
UNSUPPORTED: Final = {
    "complexity": "plans of pictures",
    "frame_count": "moving pictures",
    "frame_duration_ms": "moving pictures",
    "svg": "vector graphics",
    "markup": "pictures with markup; say in the prompt what to change, and use a mask",
}
"""Parameters of OpenAI's own models, and what the models of this service do not have."""
QUALITIES: Final[dict[str, Quality]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "auto": "medium",
    "standard": "medium",
    "hd": "high",
    "xhigh": "high",
    "max": "high",
    "best": "medium",
}
"""The steps of each quality that a call may name; `best` is ours, and draws candidates in these steps."""
URL_NAMES: Final = "dall-e-"
"""Models of this name answer with URLs unless the call says otherwise; all others answer with base64."""
URL_STYLES: Final = ("vivid", "natural")
"""The styles of those models, one of which their clients always send."""
BEYOND: Final = ("xhigh", "max")
"""Qualities of OpenAI's newer models above any that a card has."""
BEST: Final = "best"
LEAST_COMPRESSION: Final = 100
"""The default of `output_compression`, which programs also send beside PNG: it asks for nothing there."""
SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class ImageOptions(BaseModel):
    """The parameters that a job request does not have under the same name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    size: str = "auto"
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd", "best"] | None = None
    background: Literal["transparent", "opaque", "auto"] = "auto"
    output_format: Literal["png", "webp", "jpeg"] = "png"
    output_compression: int | None = Field(default=None, ge=0, le=100, strict=True)
    response_format: Literal["url", "b64_json"] | None = None
    moderation: Literal["low", "auto"] = "auto"
    input_fidelity: Fidelity | None = None
    user: str | None = Field(default=None, max_length=512)
    safety_identifier: str | None = Field(default=None, max_length=512)
    stream: StrictBool = False
    partial_images: int | None = Field(default=None, ge=0, le=3, strict=True)
    fit: StrictBool = False
    """Scale the picture to `size` and center it on white, where the model does not have that size."""
    interpret: StrictBool = False
    """Take the prompt as a description in natural language, as the native API's `description`."""

    @property
    def identifier(self) -> str | None:
        """The end user's identifier; `user` is its older name."""
        return self.safety_identifier or self.user or None


@dataclass(frozen=True, slots=True)
class Output:
    """The form of a call's answer. It is kept with a response's job, in metadata that any client could write."""

    format: Literal["png", "webp", "jpeg"]
    compression: Annotated[int, Field(ge=0, le=100)] | None
    """The quality of WebP and JPEG."""
    as_url: bool
    letterbox: tuple[Side, Side] | None
    """The size to which the picture is scaled; None if it stays as it was made."""
    quality: Quality | Literal["best"] | None
    identifier: str | None
    stream: bool
    partial_images: Annotated[int, Field(ge=0, le=3)]
    warning: str | None

    @property
    def query(self) -> str:
        """What the URL of a picture has to say to give it in this form."""
        return rendition_query(self.format, self.compression, self.letterbox)

    @property
    def as_stored(self) -> bool:
        """Whether pictures are answered as they are stored."""
        return self.format == "png" and self.letterbox is None


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """A call, read: the job request, and the form of its answer."""

    request: JobRequest
    output: Output
    card: ModelCard

    @property
    def digest_prefix(self) -> str:
        """What the call says beside its job request."""
        return f"images {self.output}"


def read_order(
    body: Mapping[str, Any], names: ModelNames, *, is_edit: bool = False, image_size: Size | None = None
) -> ImageOrder:
    """Read a call's parameters; null counts as absent. An edit has input images as well.

    `image_size` is the size of an edit's image, to which `size: "auto"` comes near. Raises InvalidRequest, which names
    the parameter, or ModelNotFound.
    """
    given = {name: value for name, value in body.items() if value is not None}
    native = (*NATIVE, *EDIT_ONLY) if is_edit else NATIVE
    for name in given.keys() - {*native, *ImageOptions.model_fields}:
        raise _unknown(name)
    options = ImageOptions.model_validate({name: given[name] for name in given.keys() & ImageOptions.model_fields})
    if options.input_fidelity is not None and not is_edit:
        raise refuse("input_fidelity", "input_fidelity without an image", "in an edit")
    _refuse_combinations(options, given)
    card, warning = names.resolve(options.model)
    quality = None if "steps" in given else QUALITIES[options.quality or "auto"]
    fits = names.fits_sizes(built_in=names.is_foreign(options.model))
    size, letterbox = _size(options, card, image_size, fits=fits)
    fields = {name: value for name, value in given.items() if name in native}
    fields |= {"model": card.name} | _translated(options, given, card, quality, size)
    fields, cuts = within_card(fields, card)
    warnings = [warning, *cuts, _warning_of_style(options, fields, card), *_warnings(options, letterbox)]
    output = Output(
        format=options.output_format,
        compression=None if options.output_format == "png" else options.output_compression,
        as_url=_as_url(options),
        letterbox=letterbox,
        quality=BEST if options.quality == BEST else quality,
        identifier=options.identifier,
        stream=options.stream,
        partial_images=(options.partial_images or 0) if options.stream else 0,
        warning="; ".join(filter(None, warnings)) or None,
    )
    try:
        return ImageOrder(JobRequest.model_validate(fields), output, card)
    except ValidationError as error:
        raise renamed(error, CALLED) from error


def _translated(
    options: ImageOptions, given: Mapping[str, Any], card: ModelCard, quality: Quality | None, size: Size | None
) -> dict[str, Any]:
    """The fields of the job request that have other names or values in the call."""
    fields: dict[str, Any] = {"metadata": _metadata(options, given.get("metadata", {}))}
    if options.quality is not None and quality is not None:
        fields |= {"steps": card.quality.steps(quality, card.steps)} | _candidates(options)
    if size is not None:
        fields |= {"width": size[0], "height": size[1]}
    if options.interpret:
        fields |= {"description": given.get("prompt"), "prompt": None}
    return fields


def in_openai_terms(error: InvalidRequest, names: ModelNames) -> InvalidRequest:
    """The error for a job request, with the names that its fields have in OpenAI's API."""
    field, allowed = error.details.get("field"), error.details.get("allowed", ())
    if field in ("width", "height"):
        sizes = ", ".join(allowed)
        message = f"size: this model does not have it; allowed: {sizes}, or auto. `fit: true` scales to any size."
        return InvalidRequest(message, **error.details | {"field": "size"})
    return renamed(names.with_able_models(error), CALLED)


def _unknown(name: str) -> InvalidRequest:
    if name in UNSUPPORTED:
        return InvalidRequest(f"{name}: no model here has {UNSUPPORTED[name]}. Leave it out.", field=name)
    message = f"{name[:80]}: this call has no such parameter. Check its name, or leave it out."
    return InvalidRequest(message, field=name[:80])


def _refuse_combinations(options: ImageOptions, given: Mapping[str, Any]) -> None:
    """Raise InvalidRequest, which names the parameter, for values that no model has or that exclude each other."""
    kind = options.output_format
    if options.background == "transparent":
        raise refuse("background", "transparent", "opaque or auto: no model here makes transparent pictures")
    if options.quality is not None and "steps" in given:
        raise refuse("quality", "quality beside steps", "one of the two")
    if options.output_compression not in (None, LEAST_COMPRESSION) and kind == "png":
        raise refuse("output_compression", "compression of PNG, which is lossless,", "with webp or jpeg")
    if options.stream and options.response_format == "url":
        raise refuse("response_format", "a URL in a stream", "b64_json")
    if options.fit and options.size == "auto":
        raise refuse("fit", "fit without a size", "with size, such as 1024x1024")


def _as_url(options: ImageOptions) -> bool:
    if options.response_format is None:
        return (options.model or "").startswith(URL_NAMES) and not options.stream
    return options.response_format == "url"


def _warning_of_style(options: ImageOptions, fields: dict[str, Any], card: ModelCard) -> str | None:
    """Take out the style that a client of another model always sends; returns what to tell it, or None."""
    style = fields.get("style")
    if style not in URL_STYLES or style in card.styles or not (options.model or "").startswith(URL_NAMES):
        return None
    del fields["style"]
    return f"style {style} is unknown here; the model's own was used"


def _warnings(options: ImageOptions, letterbox: Size | None) -> Iterator[str]:
    """What to tell a client of the other parameters that programs send without their user's choice."""
    if letterbox is not None and not options.fit:
        yield f"size {options.size} is not drawn here; the picture was scaled to it"
    if options.input_fidelity is not None:
        yield "input_fidelity is not followed here; strength says how much of the image may change"
    if options.quality in BEYOND:
        yield f"quality {options.quality} is drawn as {QUALITIES[options.quality]} here"
    if options.partial_images and not options.stream:
        yield "partial_images has no effect without a stream"


def _size(
    options: ImageOptions, card: ModelCard, image_size: Size | None, *, fits: bool
) -> tuple[Size | None, Size | None]:
    """The size of the job, None for the model's default, and the size to which its pictures are scaled, if they are.

    `fits` says that they are also scaled to a size that the model lacks if the call does not ask for it.
    """
    if options.size == "auto":
        return None if image_size is None else nearest_size(card.sizes, *image_size), None
    found = SIZE.fullmatch(options.size)
    if found is None:
        raise refuse("size", repr(options.size[:40]), "WIDTHxHEIGHT in pixels, such as 256x256, or auto")
    size = int(found[1]), int(found[2])
    if size in card.sizes or not (options.fit or (fits and max(size) <= MAX_SIDE)):
        return size, None
    if max(size) > MAX_SIDE:
        raise refuse("fit", f"fit to {options.size}", f"at most {MAX_SIDE} pixels a side")
    return nearest_size(card.sizes, *size), size


def _candidates(options: ImageOptions) -> dict[str, str]:
    """The field of the job request for quality best; none for any other."""
    return {"quality": BEST} if options.quality == BEST else {}


def _metadata(options: ImageOptions, metadata: Any) -> Any:
    """The job's metadata with the end user's identifiers; unchanged if it is not an object, which is refused later."""
    users = options.model_dump(include={"user", "safety_identifier"}, exclude_none=True)
    if not isinstance(metadata, dict):
        return metadata
    given = cast("dict[str, Any]", metadata)
    for name in users.keys() & given.keys():
        raise refuse(name, f"{name} beside metadata.{name}", "one of the two")
    return given | users
