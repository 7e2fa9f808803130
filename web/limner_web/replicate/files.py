"""Files that clients of Replicate upload to use as inputs. They expire after 24 hours, as they do there.

The bytes are stored like all input pictures; their records are in Redis. If Redis loses a record, the client's next
use of the file is answered with 404, and it uploads the file again.
"""

from __future__ import annotations

import base64
import re
import time
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError
from redis import Redis
from redis.exceptions import RedisError

from limner_shared.db import queries
from limner_shared.domain.ids import new_id
from limner_shared.errors import InvalidLink, InvalidRequest, NotFound, ServiceUnavailable
from limner_web.services import Services
from limner_web.view_builders import moment

LIFE_SECONDS: Final = 24 * 3600
MOST_FILES: Final = 1000
"""Files of one tenant; the oldest are forgotten."""
FILE_URL: Final = re.compile(r"https?://[^/?#]+/replicate/v1/files/(file_[0-9a-z]{1,32})")
PICTURE_URL: Final = re.compile(r"https?://[^/?#]+/api/v1/images/(img_[0-9a-z]{1,32})(?:\?format=\w+)?")
LINK: Final = re.compile(r"https?://[^/?#]+/images/([\w.-]{1,300})(?:\?format=\w+)?", re.ASCII)
DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)?;base64,", re.IGNORECASE)
SIGNATURES: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


class File(BaseModel):
    """What is known of an uploaded file."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    metadata: dict[str, Any]
    created_at: float


def upload(services: Services, tenant_id: str, name: str, content_type: str, data: bytes, metadata: Any) -> File:
    """Store a file. Raises InvalidRequest, StorageFull, StorageFailed or ServiceUnavailable."""
    if not isinstance(metadata, dict):
        raise InvalidRequest("metadata: send a JSON object.", field="metadata")
    digest = services.storage.call(services.blobs.put_input, data)
    file = File(
        id=new_id("file"),
        name=name[:255],
        content_type=content_type[:255],
        size=len(data),
        sha256=digest,
        metadata=cast("dict[str, Any]", metadata),
        created_at=time.time(),
    )
    try:
        with services.hints.redis.pipeline(transaction=True) as pipe:
            pipe.set(_key(tenant_id, file.id), file.model_dump_json(), ex=LIFE_SECONDS)
            pipe.zadd(_index(tenant_id), {file.id: file.created_at})
            pipe.zremrangebyrank(_index(tenant_id), 0, -MOST_FILES - 1)
            pipe.expire(_index(tenant_id), LIFE_SECONDS)
            pipe.execute()
    except RedisError as error:
        raise _away() from error
    return file


def get(redis: Redis, tenant_id: str, file_id: str) -> File:
    """A tenant's file. Raises NotFound or ServiceUnavailable."""
    [found] = _read(redis, tenant_id, [file_id])
    if found is None:
        raise NotFound(f"There is no file {file_id}; files expire after 24 hours. Upload it again.")
    return found


def newest(redis: Redis, tenant_id: str) -> list[File]:
    """A tenant's files, the newest first. Raises ServiceUnavailable."""
    try:
        ids = cast("list[str]", redis.zrange(_index(tenant_id), 0, -1, desc=True))
    except RedisError as error:
        raise _away() from error
    return [file for file in _read(redis, tenant_id, ids) if file is not None]


def delete(redis: Redis, tenant_id: str, file_id: str) -> None:
    """Forget a file; its bytes are deleted with unused inputs. Raises NotFound or ServiceUnavailable."""
    get(redis, tenant_id, file_id)
    try:
        redis.delete(_key(tenant_id, file_id))
        redis.zrem(_index(tenant_id), file_id)
    except RedisError as error:
        raise _away() from error


def file_object(file: File, origin: str) -> dict[str, Any]:
    """A file as Replicate's clients see it."""
    created = file.created_at
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.content_type,
        "size": file.size,
        "etag": file.sha256,
        "checksums": {"sha256": file.sha256},
        "metadata": file.metadata,
        "created_at": moment(created).isoformat(),
        "expires_at": moment(created + LIFE_SECONDS).isoformat(),
        "urls": {"get": f"{origin}/replicate/v1/files/{file.id}"},
    }


def as_input(services: Services, tenant_id: str, field: str, value: str) -> str:
    """An input picture in the native API's form: the URL of one of our files or pictures, or a data URL, of any type.

    Raises NotFound, LinkExpired, or InvalidRequest for another URL, which this service does not fetch.
    """
    uploaded, data_url = FILE_URL.fullmatch(value), DATA_URL.match(value)
    if uploaded is not None:
        digest = get(services.hints.redis, tenant_id, uploaded[1]).sha256
        data = services.storage.call(services.blobs.get_input, digest)
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


def _read(redis: Redis, tenant_id: str, file_ids: list[str]) -> list[File | None]:
    if not file_ids:
        return []
    try:
        stored = cast("list[str | None]", redis.mget([_key(tenant_id, file_id) for file_id in file_ids]))
    except RedisError as error:
        raise _away() from error
    return [None if text is None else _parse(text) for text in stored]


def _parse(text: str) -> File | None:
    try:
        return File.model_validate_json(text)
    except ValidationError:
        return None


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("Files cannot be stored or read now. Try again shortly.", retry_after=2)


def _key(tenant_id: str, file_id: str) -> str:
    return f"limner:replicate:file:{tenant_id}:{file_id}"


def _index(tenant_id: str) -> str:
    return f"limner:replicate:files:{tenant_id}"
