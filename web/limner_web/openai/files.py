"""Files in OpenAI's form: uploaded once, and named in later calls."""

from __future__ import annotations

from typing import Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import FileStorage

from limner_shared.db import batches, files
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.files import NewFile
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest, UnsupportedMediaType
from limner_web.auth import tenant_id
from limner_web.http import strict_json
from limner_web.intake import uploads
from limner_web.intake.headers import JobHeaders
from limner_web.openai import batch_output
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.serving.downloads import download

bp = APIBlueprint("openai_files", __name__, url_prefix="/v1/files", enable_openapi=False)

MAX_NAME: Final = 255


class UploadFields(BaseModel):
    """The fields of an upload beside the file."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    purpose: Literal["vision", "user_data", "batch"]
    anchor: Literal["created_at"] | None = Field(default=None, alias="expires_after[anchor]")
    seconds: float | None = Field(default=None, alias="expires_after[seconds]", ge=3600, le=30 * DAY_SECONDS)


class ListQuery(BaseModel):
    """The page of a list."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = None


@bp.post("")
def create_file() -> Response:
    """Upload a file."""
    services = get_services()
    uploads.require_room(services, tenant_id(), request.content_length)
    file, fields = _form()
    longest = services.settings.input_retention_days * DAY_SECONDS
    expires_in = min(longest, fields.seconds or longest)
    new = NewFile("", _name(file), fields.purpose, 0, 0, expires_in)
    file_id = uploads.store_file(services, tenant_id(), file.stream, new, JobHeaders.read(request.headers))
    return jsonify(_view(_row(services, file_id)))


@bp.get("")
def list_files() -> Response:
    """List the files, newest first."""
    query = ListQuery.model_validate(request.args.to_dict())
    with get_services().database.read() as session:
        rows = files.files(
            session,
            tenant_id(),
            query.limit + 1,
            after=query.after,
            purpose=query.purpose,
            oldest_first=query.order == "asc",
        )
        data = [_view(row) for row in rows[: query.limit]]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return jsonify({"object": "list", "data": data, "has_more": len(rows) > query.limit} | ends)


@bp.get("/<id:file_id>")
def get_file(file_id: str) -> Response:
    """Retrieve what is known of a file."""
    return jsonify(_view(_row(get_services(), file_id)))


@bp.get("/<id:file_id>/content")
def get_content(file_id: str) -> Response:
    """Stream a file's bytes, as an attachment: a browser never shows them as a page."""
    services = get_services()
    row = _row(services, file_id)
    headers = {"Content-Disposition": f'attachment; filename="{row.id}"'}
    if row.batch_id is None:
        headers["Content-Length"] = str(row.size_bytes)
        content = uploads.read_file(services, row)
    else:  # without a length: pictures may have been deleted since it was measured
        with services.database.read() as session:
            batch = batches.batch(session, tenant_id(), row.batch_id)
        content = batch_output.read(services, batch, errors=batch.error_file_id == row.id, gone=hang_up_check())
    return download(content, "application/octet-stream", headers)


@bp.delete("/<id:file_id>")
def delete_file(file_id: str) -> Response:
    """Delete a file."""
    uploads.delete_file(get_services(), tenant_id(), file_id)
    return jsonify({"id": file_id, "object": "file", "deleted": True})


def _form() -> tuple[FileStorage, UploadFields]:
    """The file and the other fields of an upload. Raises UnsupportedMediaType, InvalidRequest or MalformedBody."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send a form with `Content-Type: multipart/form-data`, with `file` and `purpose`.")
    found, fields = request.files.to_dict(flat=False), request.form.to_dict()
    sent = found.pop("file", [])
    for name in found:
        raise InvalidRequest(f"{name[:80]}: send the file as `file`.", field=name[:80])
    if len(sent) != 1:
        raise refuse("file", f"{len(sent)} files", "one file")
    return sent[0], UploadFields.model_validate(fields)


def _name(file: FileStorage) -> str:
    name = file.filename or "file"
    if len(name) > MAX_NAME or not strict_json.is_storable(name):
        raise refuse("file", "this file name", f"at most {MAX_NAME} characters, without NUL")
    return name


def _row(services: Services, file_id: str) -> StoredFile:
    with services.database.read() as session:
        return files.file(session, tenant_id(), file_id)


def _view(row: StoredFile) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.size_bytes,
        "created_at": int(row.created_at),
        "expires_at": int(row.expires_at),
        "filename": row.name,
        "purpose": row.purpose,
        "status": "processed",
    }
