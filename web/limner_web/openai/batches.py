"""Batches in OpenAI's form: the requests of a file, queued together, with their answers in another file."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db import batches, files, ledger
from limner_shared.db.batch_tables import Batch
from limner_shared.db.batches import NewBatch
from limner_shared.db.tables import Bulk
from limner_shared.domain.batches import CANCELLING, INPUT_PURPOSE, MAX_HOURS, BatchState
from limner_shared.domain.durations import DAY_SECONDS, HOUR_SECONDS
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest, NotFound
from limner_web.auth import tenant_id
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.limits import CANCELED_AT_ONCE
from limner_web.openai.batch_calls import EndpointPath
from limner_web.services import Services, get_services, public_origin

bp = APIBlueprint("openai_batches", __name__, url_prefix="/v1/batches", enable_openapi=False)

MAX_ORIGIN: Final = 300
MAX_PAIRS: Final = 16
WINDOW: Final = re.compile("[1-9][0-9]{0,2}h")


class ExpiresAfter(BaseModel):
    """When the output files expire."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: float = Field(ge=HOUR_SECONDS, le=30 * DAY_SECONDS)


class BatchFields(BaseModel):
    """The fields of a new batch."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(min_length=1, max_length=40)
    endpoint: EndpointPath
    completion_window: str = Field(max_length=40)
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None

    @property
    def hours(self) -> int:
        """The completion window."""
        return int(self.completion_window[:-1])


class ListQuery(BaseModel):
    """The page of a list."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = None
    limit: int = Field(default=20, ge=1, le=100)


@bp.post("")
def create_batch() -> Response:
    """Create a batch."""
    services, fields = get_services(), BatchFields.model_validate(request.get_json())
    _check(fields)
    longest = services.settings.input_retention_days * DAY_SECONDS
    asked = fields.output_expires_after.seconds if fields.output_expires_after else longest
    origin = public_origin(services)
    new = NewBatch(
        fields.endpoint,
        fields.input_file_id,
        fields.completion_window,
        fields.hours * HOUR_SECONDS,
        min(longest, asked),
        origin[:MAX_ORIGIN],
        fields.metadata,
    )

    def create(session: Session) -> str:
        _check_file(session, fields.input_file_id)
        return batches.add_batch(session, tenant_id(), new)

    repeat = repeat_of(JobHeaders.read(request.headers), f"batches {fields.model_dump_json()}")
    batch_id = create_once(services, tenant_id(), repeat, ResourceKind(create, str, batches.batch))
    return _answer(services, batch_id)


@bp.get("")
def list_batches() -> Response:
    """List the batches, newest first."""
    query = ListQuery.model_validate(request.args.to_dict())
    with get_services().database.read() as session:
        found = batches.batches(session, tenant_id(), query.limit + 1, query.after)
        rows = found[: query.limit]
        bulks = batches.bulks_of(session, rows)
    data = [_view(row, bulks.get(row.bulk_id or "")) for row in rows]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return jsonify({"object": "list", "data": data, "has_more": len(found) > query.limit} | ends)


@bp.get("/<id:batch_id>")
def get_batch(batch_id: str) -> Response:
    """Retrieve a batch."""
    return _answer(get_services(), batch_id)


@bp.post("/<id:batch_id>/cancel")
def cancel_batch(batch_id: str) -> Response:
    """Cancel a batch: no more of its jobs start, and its output has those that have succeeded."""
    services = get_services()
    with services.database.write() as session:
        row = batches.cancel(session, tenant_id(), batch_id)
    if row.bulk_id is not None:
        with services.database.write() as session:
            changes = ledger.sweep_bulk(session, row.bulk_id, CANCELED_AT_ONCE)  # the dispatcher cancels the rest
        services.hints.changed(changes)
    services.hints.deliveries_wait()
    return _answer(services, batch_id)


def _check(fields: BatchFields) -> None:
    """Raise InvalidRequest for a window or metadata beyond the limits."""
    if not WINDOW.fullmatch(fields.completion_window) or fields.hours > MAX_HOURS:
        raise refuse("completion_window", repr(fields.completion_window), f"1h to {MAX_HOURS}h, such as 24h")
    pairs = fields.metadata or {}
    if len(pairs) > MAX_PAIRS or any(len(key) > 64 or len(value) > 512 for key, value in pairs.items()):  # noqa: PLR2004
        raise refuse("metadata", "this", f"at most {MAX_PAIRS} keys of 64 characters, with values of 512")


def _check_file(session: Session, file_id: str) -> None:
    try:
        row = files.file(session, tenant_id(), file_id)
    except NotFound as error:
        raise InvalidRequest(f"input_file_id: {error.message}", field="input_file_id") from error
    if row.purpose != INPUT_PURPOSE:
        raise refuse("input_file_id", f"a file with the purpose {row.purpose}", f"one with {INPUT_PURPOSE}")


def _answer(services: Services, batch_id: str) -> Response:
    with services.database.read() as session:
        row = batches.batch(session, tenant_id(), batch_id)
        bulk = batches.bulks_of(session, [row]).get(row.bulk_id or "")
    return jsonify(_view(row, bulk))


def _view(row: Batch, bulk: Bulk | None) -> dict[str, Any]:
    stored = {"total": row.total, "completed": row.completed, "failed": row.failed}
    errors = None if row.errors is None else {"object": "list", "data": row.errors["data"]}
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "errors": errors,
        "input_file_id": row.input_file_id,
        "completion_window": row.window,
        "status": _status(row),
        "output_file_id": row.output_file_id,
        "error_file_id": row.error_file_id,
        "request_counts": stored if bulk is None else batches.counts_of(bulk),
        "metadata": row.extra,
        "bulk_id": row.bulk_id,
    } | _times(row)


def _status(row: Batch) -> str:
    cancelling = row.state == BatchState.FINALIZING and row.outcome == BatchState.CANCELLED
    return CANCELLING if cancelling else row.state


def _times(row: Batch) -> dict[str, int | None]:
    closed = "cancelling_at" if row.outcome == BatchState.CANCELLED else "finalizing_at"
    times = {"created_at": row.created_at, "expires_at": row.expires_at, "in_progress_at": row.in_progress_at}
    times |= dict.fromkeys(("finalizing_at", "cancelling_at")) | {closed: row.finalizing_at}
    times |= {f"{state}_at": row.ended_at if row.state == state else None for state in BatchState if state.ended}
    return {name: None if at is None else int(at) for name, at in times.items()}
