"""Bulks: many jobs as one JSONL body, and their results as JSONL or as a ZIP of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Literal

from apiflask import APIBlueprint
from flask import Response, make_response, request, stream_with_context, url_for
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger, queries
from limner_shared.db.tables import Image, Job
from limner_shared.domain.views import BulkList, BulkView
from limner_shared.errors import InvalidState, UnsupportedMediaType
from limner_web.api import archive
from limner_web.auth import tenant_id
from limner_web.intake import submission
from limner_web.intake.bulk_reader import BulkReader
from limner_web.intake.headers import CreateHeaders
from limner_web.services import Services, get_services
from limner_web.view_builders import bulk_view, result_view

JSONL = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")
CANCELED_AT_ONCE = 1000
PAGE = 500

bp = APIBlueprint("bulks", __name__, url_prefix="/api/v1/bulks", tag="Bulks")


class ResultsQuery(BaseModel):
    """In which form."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["jsonl", "zip"] = Field(
        default="jsonl", description="`zip`: the pictures, named by line, and results.jsonl."
    )


class BulkQuery(BaseModel):
    """What is done about lines that cannot be accepted."""

    model_config = ConfigDict(extra="forbid")
    on_error: Literal["refuse", "skip"] = Field(
        default="refuse", description="`skip`: accept the others; `skipped` then tells which were left out, and why."
    )


@bp.post("")
@bp.input(BulkQuery, location="query", arg_name="query")
@bp.input(CreateHeaders, location="headers", arg_name="header")
@bp.output(BulkView, status_code=202)
@bp.doc(
    responses={
        400: "Cut off on its way",
        409: "Another bulk's key, or still being read",
        413: "Too large",
        415: "Not JSONL",
        422: "Bad lines",
    }
)
def create_bulk(header: CreateHeaders, query: BulkQuery) -> Response:
    """Submit a bulk: a body of JSON Lines, each a job as for `POST /jobs`.

    All lines are accepted, or none; with `on_error=skip`, all that can be.

    It is read as it comes; `GET /bulks` shows how far.
    """
    if request.mimetype not in JSONL:
        raise UnsupportedMediaType(f"Send JSON Lines as one of {', '.join(JSONL)}, not {request.mimetype!r}.")
    services = get_services()
    reader = BulkReader(
        request.stream,
        services.catalogue,
        services.settings,
        partial(services.inputs.store, tenant_id()),
        length=request.content_length,
        skip_bad=query.on_error == "skip",
    )
    bulk_id = submission.submit_bulk(services, tenant_id(), reader, header.idempotency_key)
    answer = make_response(_view(services, bulk_id).model_dump(mode="json"), HTTPStatus.ACCEPTED)
    answer.headers["Location"] = url_for("bulks.get_bulk", bulk_id=bulk_id)
    return answer


@bp.get("")
@bp.output(BulkList)
def list_bulks() -> BulkList:
    """List the newest bulks, those that are still being read among them."""
    services = get_services()
    with services.database.read() as session:
        return BulkList(items=[bulk_view(session, row) for row in queries.bulks(session, tenant_id())])


@bp.get("/<id:bulk_id>")
@bp.output(BulkView)
def get_bulk(bulk_id: str) -> BulkView:
    """Look at a bulk: how many of its jobs stand in which state."""
    return _view(get_services(), bulk_id)


@bp.post("/<id:bulk_id>/cancel")
@bp.output(BulkView)
def cancel_bulk(bulk_id: str) -> BulkView:
    """Cancel every job of a bulk that has not ended; of a large one, the last within seconds or minutes."""
    services = get_services()
    with services.database.write() as session:
        queries.bulk(session, tenant_id(), bulk_id)
        ledger.cancel_bulk(session, bulk_id)
    with services.database.write() as session:
        changes = ledger.sweep_bulk(session, bulk_id, CANCELED_AT_ONCE)  # the dispatcher goes on with what is left
    services.hints.changed(changes)
    return _view(services, bulk_id)


@bp.post("/<id:bulk_id>/pause")
@bp.output(BulkView)
@bp.doc(responses={409: "Its state does not allow it"})
def pause_bulk(bulk_id: str) -> BulkView:
    """Start none of its jobs any more, until it is resumed; the few that were handed out already go on."""
    return _pause(bulk_id, paused=True)


@bp.post("/<id:bulk_id>/resume")
@bp.output(BulkView)
@bp.doc(responses={409: "Its state does not allow it"})
def resume_bulk(bulk_id: str) -> BulkView:
    """Go on with a paused bulk."""
    return _pause(bulk_id, paused=False)


@bp.get("/<id:bulk_id>/results")
@bp.input(ResultsQuery, location="query", arg_name="query")
@bp.doc(
    responses={200: {"description": "One job a line.", "content": {"application/jsonl": {}, "application/zip": {}}}}
)
def get_results(bulk_id: str, query: ResultsQuery) -> Response:
    """Stream the bulk's jobs, in the order of its lines, as they stand now."""
    services = get_services()
    with services.database.read() as session:
        queries.bulk(session, tenant_id(), bulk_id)
    if query.format == "zip":
        fetch = partial(services.storage.call, services.blobs.get)
        stream = archive.zipped(fetch, lambda: _pages(services, bulk_id), _line)
        headers = {"Content-Disposition": f'attachment; filename="{bulk_id}.zip"'}
        return Response(stream_with_context(stream), mimetype="application/zip", headers=headers)
    lines = (_line(row, images) for row, images in _pages(services, bulk_id))
    return Response(stream_with_context(lines), mimetype="application/jsonl")


def _pause(bulk_id: str, *, paused: bool) -> BulkView:
    services = get_services()
    with services.database.write() as session:
        row = queries.bulk(session, tenant_id(), bulk_id)
        if not ledger.pause_bulk(session, bulk_id, paused=paused):
            raise InvalidState(f"The bulk is {row.state} and cannot be paused or resumed.", state=row.state)
    return _view(services, bulk_id)


def _view(services: Services, bulk_id: str) -> BulkView:
    with services.database.read() as session:
        return bulk_view(session, queries.bulk(session, tenant_id(), bulk_id))


def _line(row: Job, images: list[Image]) -> str:
    return result_view(row, images).model_dump_json() + "\n"


def _pages(services: Services, bulk_id: str) -> Iterator[tuple[Job, list[Image]]]:
    """Every job with its images, a page in memory at a time, and no transaction open while a slow client reads."""
    line = 0
    while True:
        with services.database.read() as session:
            page = queries.bulk_jobs(session, bulk_id, line, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        line = page[-1][0].bulk_line or 0
