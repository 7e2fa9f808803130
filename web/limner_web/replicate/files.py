"""Files that clients of Replicate upload to use as inputs. They expire after 24 hours, as they do there."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final, cast

from werkzeug.datastructures import FileStorage

from limner_shared.db import files, queries
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.files import NewFile
from limner_shared.db.views import as_datetime
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.inputs import INPUT_FIELDS, reference_field
from limner_shared.domain.jobs import MAX_METADATA_BYTES
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidLink, InvalidRequest
from limner_web.http import strict_json
from limner_web.intake import uploads
from limner_web.intake.headers import JobHeaders
from limner_web.pictures.input_images import REFERENCES
from limner_web.services import Services

LIFE_SECONDS: Final = DAY_SECONDS
PURPOSE: Final = "vision"
"""The purpose of an input picture in OpenAI's API, which lists these files as well."""
PAGE: Final = 1000
MAX_NAME: Final = 255
ANY_TYPE: Final = "application/octet-stream"
FILE_URL: Final = re.compile(r"https?://[^/?#]+/replicate/v1/files/(file_[0-9a-z]{1,32})")
PICTURE_URL: Final = re.compile(r"https?://[^/?#]+/api/v1/images/(img_[0-9a-z]{1,32})(?:\?[\w=&]{1,60})?")
LINK: Final = re.compile(r"https?://[^/?#]+/images/([\w.~-]{1,300})(?:\?[\w=&]{1,60})?", re.ASCII)
DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?;base64,", re.IGNORECASE)
SIGNATURES: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


def upload(services: Services, tenant_id: str, content: FileStorage, metadata: Any, header: JobHeaders) -> StoredFile:
    """Store a file. Raises InvalidRequest, and what `store_file` raises."""
    name = content.filename or "file"
    if not (strict_json.is_storable(name) and strict_json.is_storable(content.mimetype)):
        raise strict_json.refuse_text("content")
    if not isinstance(metadata, dict):
        raise InvalidRequest("metadata: send a JSON object.", field="metadata")
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise refuse("metadata", "this much JSON", f"at most {MAX_METADATA_BYTES} bytes")
    new = NewFile(
        id="",
        name=name[:MAX_NAME],
        purpose=PURPOSE,
        size_bytes=0,
        parts=0,
        expires_in=min(LIFE_SECONDS, services.settings.input_retention_days * DAY_SECONDS),
        content_type=content.mimetype[:MAX_NAME],
        metadata=cast("dict[str, Any]", metadata),
    )
    return get(services, tenant_id, uploads.store_file(services, tenant_id, content.stream, new, header))


def get(services: Services, tenant_id: str, file_id: str) -> StoredFile:
    """A tenant's file. Raises NotFound."""
    with services.database.read() as session:
        return files.file(session, tenant_id, file_id)


def newest(services: Services, tenant_id: str) -> list[StoredFile]:
    """A tenant's newest PAGE files, the newest first, without the outputs of batches."""
    with services.database.read() as session:
        return files.files(session, tenant_id, PAGE, uploaded=True)


def file_object(file: StoredFile, origin: str) -> dict[str, Any]:
    """A file as Replicate's clients see it."""
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.content_type or ANY_TYPE,
        "size": file.size_bytes,
        "etag": file.sha256 or file.id,
        "checksums": {"sha256": file.sha256} if file.sha256 else {},
        "metadata": file.extra or {},
        "created_at": as_datetime(file.created_at).isoformat(),
        "expires_at": as_datetime(file.expires_at).isoformat(),
        "urls": {"get": f"{origin}/replicate/v1/files/{file.id}"},
    }


def with_pictures(services: Services, tenant_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a job request with its input pictures in the native API's form. Raises what `as_input` raises."""
    read: dict[str, Any] = {}
    for name in fields.keys() & {*INPUT_FIELDS}:
        read[name] = as_input(services, tenant_id, name, fields[name])
    if references := fields.get(REFERENCES):
        named = ((reference_field(index), value) for index, value in enumerate(references))
        read[REFERENCES] = [as_input(services, tenant_id, field, value) for field, value in named]
    return fields | read


def as_input(services: Services, tenant_id: str, field: str, value: str) -> str:
    """An input picture in the native API's form: the URL of one of our files or pictures, or a data URL, of any type.

    Raises NotFound, LinkExpired, or InvalidRequest for a file that is too large, or for another URL, which this
    service does not fetch.
    """
    uploaded, data_url = FILE_URL.fullmatch(value), DATA_URL.match(value)
    if uploaded is not None:
        data = uploads.read_image(services, tenant_id, field, uploaded[1])
        return f"data:image/{_kind(data)};base64,{base64.b64encode(data).decode()}"
    picture_id = _picture_of(services, value)
    if picture_id is not None:
        with services.database.read() as session:
            return queries.image(session, tenant_id, picture_id).id
    if data_url is not None:
        encoded = value[data_url.end() :]
        return f"data:image/{_kind(_start(encoded))};base64,{encoded}"
    message = (
        f"{field}: give a file, a data URL, or the URL of a picture that was made here; other URLs are not fetched."
    )
    raise InvalidRequest(message, field=field)


def _picture_of(services: Services, url: str) -> str | None:
    """The id of the picture that a URL of this service leads to, if it is one. Raises LinkExpired."""
    picture, link = PICTURE_URL.fullmatch(url), LINK.fullmatch(url)
    if picture is not None or link is None:
        return None if picture is None else picture[1]
    try:
        return services.links.read(link[1])[0]
    except InvalidLink:  # a file of another site in a folder of this name
        return None


def _start(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded[:16])
    except ValueError:
        return b""


def _kind(data: bytes) -> str:
    """The format of a picture file by its first bytes; clients often send another type, or none."""
    return next((kind for signature, kind in SIGNATURES.items() if data.startswith(signature)), "png")
