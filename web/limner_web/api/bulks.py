"""Bulks: many jobs as one JSONL body, and their results as one JSONL answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from apiflask import APIBlueprint
from flask import Response, make_response, request, stream_with_context, url_for

from limner_shared import ledger, queries
from limner_shared.errors import UnsupportedMediaType
from limner_shared.views import BulkView
from limner_web import bulk_reader, intake
from limner_web.auth import tenant_id
from limner_web.schemas import CreateHeaders, bulk_view, result_view
from limner_web.services import Services, services

JSONL = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")

bp = APIBlueprint("bulks", __name__, url_prefix="/api/v1/bulks", tag="Bulks")


@bp.post("")
@bp.input(CreateHeaders, location="headers", arg_name="header")
@bp.output(BulkView, status_code=202)
@bp.doc(responses={413: "Too large", 415: "Not JSONL", 422: "Bad lines; nothing was queued"})
def create_bulk(header: CreateHeaders) -> Response:
    """Submit a bulk: a body of JSON Lines, each a job as for `POST /jobs`. All lines are accepted, or none."""
    if request.mimetype not in JSONL:
        raise UnsupportedMediaType(f"Send JSON Lines as one of {', '.join(JSONL)}, not {request.mimetype!r}.")
    held = services()
    with tempfile.TemporaryFile() as lines:
        digest = bulk_reader.spool(request.stream, lines, held.settings)
        total = bulk_reader.check(lines, held.catalogue, held.settings)
        jobs = bulk_reader.jobs(lines, held.catalogue)
        bulk_id = intake.submit_bulk(held, tenant_id(), jobs, total, header.idempotency_key, digest)
    answer = make_response(_view(held, bulk_id).model_dump(mode="json"), 202)
    answer.headers["Location"] = url_for("bulks.get_bulk", bulk_id=bulk_id)
    return answer


@bp.get("/<bulk_id>")
@bp.output(BulkView)
def get_bulk(bulk_id: str) -> BulkView:
    """Look at a bulk: how many of its jobs stand in which state."""
    return _view(services(), bulk_id)


@bp.post("/<bulk_id>/cancel")
@bp.output(BulkView)
def cancel_bulk(bulk_id: str) -> BulkView:
    """Cancel every job of a bulk that has not ended."""
    held = services()
    with held.database.write() as session:
        queries.bulk(session, tenant_id(), bulk_id)
        changes = ledger.cancel_bulk(session, bulk_id)
    held.hints.changed(changes)
    return _view(held, bulk_id)


@bp.get("/<bulk_id>/results")
@bp.doc(responses={200: {"description": "One job a line.", "content": {"application/jsonl": {}}}})
def get_results(bulk_id: str) -> Response:
    """Stream the bulk's jobs as JSON Lines, in the order of its lines, as they stand now."""
    held = services()
    with held.database.read() as session:
        queries.bulk(session, tenant_id(), bulk_id)
    return Response(stream_with_context(_results(held, bulk_id)), mimetype="application/jsonl")


def _view(held: Services, bulk_id: str) -> BulkView:
    with held.database.read() as session:
        return bulk_view(session, queries.bulk(session, tenant_id(), bulk_id))


def _results(held: Services, bulk_id: str) -> Iterator[str]:
    with held.database.read() as session:
        for row, images in queries.bulk_jobs(session, bulk_id):
            yield result_view(row, images).model_dump_json() + "\n"
