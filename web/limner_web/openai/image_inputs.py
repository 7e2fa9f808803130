"""Reads the body of an edit or a variation: a form with files, or JSON with data URLs. Its images become data URLs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from flask import request
from werkzeug.datastructures import FileStorage

from limner_shared.db import queries
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest, MalformedBody, NotFound
from limner_web.http import strict_json
from limner_web.intake.uploads import read_image
from limner_web.openai.image_order import Size
from limner_web.pictures.input_images import DATA_URL, REFERENCES, size_of, transparent_area
from limner_web.services import Services

AS_JSON: Final = frozenset(
    (
        *("n", "seed", "steps", "guidance", "guidance_rescale", "strength", "output_compression", "partial_images"),
        *("padding_mask_crop", "control_scale", "control_start", "control_end", "reference_scale"),
        *("stream", "fit", "interpret", "reproducible", "provenance", "expires_in", "max_retries"),
        *("adapters", "metadata"),
    )
)
"""Fields that a form has as JSON text: numbers, booleans, lists and objects."""
MASK_SIZES: Final = "the image's size"


def read_form() -> dict[str, Any]:
    """The fields of a form, each with the type that it has in JSON; images and mask as data URLs.

    Raises InvalidRequest, which names the field, or MalformedBody.
    """
    parts: list[tuple[str | None, list[Any]]] = [*request.form.lists(), *request.files.lists()]
    fields: dict[str, Any] = {}
    for name, values in parts:
        if name is None:  # a part whose Content-Disposition names no field
            raise MalformedBody("A part of the form has no name.")
        if not strict_json.is_storable(name):
            raise MalformedBody("The name of a field has characters that cannot be stored.")
        _add(fields, name, [_value(name, value) for value in values if value != ""])
    return fields


def read_inputs(services: Services, tenant_id: str, fields: dict[str, Any]) -> tuple[dict[str, Any], Size | None]:
    """Return the fields with the pictures as a job request has them, and the image's size if it is known.

    OpenAI's mask is transparent where the image may change; a job's mask is white there. Raises InvalidRequest.
    """
    given = dict(fields)
    images = _images(services, tenant_id, given)
    if not images:
        raise refuse("image", "an edit without an image", "one PNG, WebP or JPEG file")
    pictures = _as_fields(services, given, images)
    image = images[0]
    size = _image_size(services, tenant_id, image)
    mask = _source(services, tenant_id, "mask", given.pop("mask", None))
    if mask is not None:
        data = _decoded("mask", mask)
        mask_size = services.pillow.call_for(tenant_id, size_of, data, "mask")
        if size is not None and mask_size != size:
            raise refuse("mask", f"a mask of {_text(mask_size)} for an image of {_text(size)}", MASK_SIZES)
        mask = _data_url(services.pillow.call_for(tenant_id, transparent_area, data, "mask"))
    control = _source(services, tenant_id, "control_image", given.pop("control_image", None))
    return given | pictures | {"mask": mask, "control_image": control}, size


def earlier_prompt(services: Services, tenant_id: str, image: str) -> dict[str, Any]:
    """The prompts of the job that made this image; empty if none of the tenant's jobs did."""
    with services.database.read() as session:
        try:
            found = (
                queries.image(session, tenant_id, image)
                if image.startswith("img_")
                else queries.image_with_bytes(session, tenant_id, _sha256(image))
            )
            spec = None if found is None else JobSpec.read(queries.job(session, tenant_id, found.job_id).spec)
        except NotFound:
            spec = None
    if spec is None or not spec.prompt:
        return {}
    return {"prompt": spec.prompt, "negative_prompt": spec.negative_prompt or None}


def _value(name: str, value: str | FileStorage) -> Any:
    if isinstance(value, FileStorage):
        return _data_url(value.stream.read())
    if not strict_json.is_storable(value):
        raise strict_json.refuse_text(name)
    if name not in AS_JSON:
        return value
    try:
        return strict_json.loads_field(name, value)
    except MalformedBody as error:
        raise refuse(name, repr(value[:40]), "a number, true or false, or JSON text, in a form") from error


def _add(fields: dict[str, Any], name: str, values: list[Any]) -> None:
    """Add a field of a form: `image[]` is a list, `metadata[key]` an entry, and any other field has one value."""
    plain, bracket, key = name.partition("[")
    if plain == "image":
        fields.setdefault("image", []).extend(values)
    elif bracket and plain == "metadata" and isinstance(fields.get("metadata", {}), dict):
        fields.setdefault("metadata", {})[key.removesuffix("]")] = values[-1] if values else ""
    elif bracket:
        raise InvalidRequest(f"{plain}: send it as JSON text in one field of this name.", field=plain)
    elif len(values) > 1 or (values and name in fields):
        raise refuse(name, f"{name} more than once", "one value")
    elif values:
        fields[name] = values[0]


def _images(services: Services, tenant_id: str, given: dict[str, Any]) -> list[str]:
    """Take the images out of the fields: `image`, one or a list, or `images`, as JSON bodies have it."""
    found: list[Any] = []
    for name in ("image", "images"):
        value = given.pop(name, None)
        found += cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]
    sources = [_source(services, tenant_id, "image", value) for value in found]
    return [source for source in sources if source is not None]


def _as_fields(services: Services, given: Mapping[str, Any], images: Sequence[str]) -> dict[str, Any]:
    """The images as fields of a job request: references if there are several, or if the model starts from none.

    Raises InvalidRequest, or ModelNotFound.
    """
    name = given.get("model")
    card = services.model_names.resolve(name if isinstance(name, str) else None).card
    is_start = len(images) == 1 and "image-to-image" in card.tasks
    if card.reference is not None and not is_start:
        if given.get(REFERENCES) is not None:
            raise refuse(REFERENCES, f"{REFERENCES} beside images that are references", "all of them in one of the two")
        if "text-to-image" in card.tasks or card.reference.adapter is not None:
            return {REFERENCES: list(images)}
        return {"image": images[0], REFERENCES: list(images[1:])}  # a model that edits needs a picture to start from
    if len(images) > 1 and {"image-to-image", "inpainting"} & {*card.tasks}:
        message = f"image: send one, not {len(images)}: {card.name} starts from one image, and takes no references."
        raise InvalidRequest(message, field="image")
    return {"image": images[0]}


def _source(services: Services, tenant_id: str, field: str, value: Any) -> str | None:
    """The data URL or id of an image; an object has it as `image_url`, or the `file_id` of an uploaded file."""
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        file_id = members.get("file_id")
        value = members.get("image_url") if file_id is None else _file(services, tenant_id, field, file_id)
    if value is None or isinstance(value, str):
        return value
    raise refuse(field, "this type", "a file in a form, or a data URL in JSON")


def _file(services: Services, tenant_id: str, field: str, file_id: Any) -> str:
    """An uploaded file as a data URL. Raises InvalidRequest, which names the field."""
    try:
        return _data_url(read_image(services, tenant_id, field, str(file_id)))
    except NotFound as error:
        raise refuse(field, f"the file {str(file_id)[:60]!r}", "an uploaded file that has not expired") from error


def _image_size(services: Services, tenant_id: str, image: str) -> Size | None:
    """The size of an image; None if it is not known, because the image will be refused."""
    if not image.startswith("img_"):
        return services.pillow.call_for(tenant_id, size_of, _decoded("image", image), "image")
    try:
        with services.database.read() as session:
            row = queries.image(session, tenant_id, image)
            return row.width, row.height
    except NotFound:
        return None


def _decoded(field: str, url: str) -> bytes:
    prefix = DATA_URL.match(url)
    if prefix is None:
        raise refuse(field, repr(url[:40]), "a data URL of a PNG, WebP or JPEG, data:image/png;base64,…")
    try:
        return base64.b64decode(url[prefix.end() :], validate=True)
    except ValueError as error:
        raise refuse(field, "a data URL that is not base64", "data:image/png;base64,…") from error


def _data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"  # the real type is read from the data


def _sha256(url: str) -> str:
    return hashlib.sha256(_decoded("image", url)).hexdigest()


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
