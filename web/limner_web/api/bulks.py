"""Bulks: many jobs in one JSONL body, with results as JSONL or as a ZIP of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Final, Literal

from apiflask import APIBlueprint
from flask import Response, make_response, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger, queries
from limner_shared.db.queries import Shown
from limner_shared.db.views import bulk_view, plain_view
from limner_shared.domain.views import BulkList, BulkView
from limner_shared.domain.webhooks import WebhookUrl
from limner_shared.errors import InvalidState, StorageFailed, UnsupportedMediaType
from limner_web.api import archive
from limner_web.auth import tenant_id
from limner_web.intake.bulk_reader import BulkReader
from limner_web.intake.bulk_submission import submit_bulk
from limner_web.intake.busy import wait_while_busy
from limner_web.intake.final_checks import check_and_store_inputs
from limner_web.intake.headers import JobHeaders
from limner_web.intake.webhooks import bulk_webhook
from limner_web.limits import CANCELED_AT_ONCE
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.serving.downloads import download

JSONL: Final = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")
RESULTS_PAGE: Final = 100
"""Jobs that are read at a time: as many as take few milliseconds, since other requests wait meanwhile."""
LINES_AT_ONCE: Final = 20
"""Lines that are sent at a time."""

bp = APIBlueprint("bulks", __name__, url_prefix="/api/v1/bulks", tag="Bulks")


class ResultsQuery(BaseModel):
    """The form of the results."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["jsonl", "zip"] = Field(
        default="jsonl",
        description="`jsonl`: one job per line. `zip`: the images, named by line number, with `bulk.json` and "
        "`results.jsonl`.",
    )


class ListQuery(BaseModel):
    """The page of the list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=20, ge=1, le=100, description="The number of bulks per page.")
    cursor: str | None = Field(default=None, description="The value of `next` from the previous page.")


class BulkQuery(BaseModel):
    """How invalid lines are treated."""

    model_config = ConfigDict(extra="forbid")
    on_error: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="`refuse`: one invalid line refuses the whole bulk. `skip`: invalid lines are left out, and "
        "`skipped` lists them with their errors.",
    )
    webhook: WebhookUrl | None = Field(
        default=None, description="An https URL that receives the bulk's end; signed with `GET /webhook_secret`."
    )
    webhook_events_filter: str | None = Field(
        default=None,
        pattern=r"^bulk\.(completed|canceled)(,bulk\.(completed|canceled))?$",
        description="Which events, separated by commas. Default: `bulk.completed,bulk.canceled`.",
    )


@bp.post("")
@bp.input(BulkQuery, location="query", arg_name="query")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(BulkView, status_code=202)
@bp.doc(
    responses={
        400: "The body was cut off",
        409: "The idempotency key was used for another bulk, or the same bulk, or one with the same "
        "unique key, is still being read",
        413: "The body is too large",
        415: "The body is not JSON Lines",
        422: "The body has invalid lines",
    }
)
def create_bulk(header: JobHeaders, query: BulkQuery) -> Response:
    """Create a bulk.

    Submits many jobs at once. The body is JSON Lines: each line is a job as for `POST /jobs`. Either all lines are
    accepted or none; with `on_error=skip`, all valid lines are accepted. The body is read as it arrives, and
    `GET /bulks` shows the progress.
    """
    if request.mimetype not in JSONL:
        raise UnsupportedMediaType(f"Send JSON Lines as one of {', '.join(JSONL)}, not {request.mimetype!r}.")
    services = get_services()
    webhook = bulk_webhook(services.targets, query.webhook, query.webhook_events_filter)
    reader = BulkReader(
        request.stream,
        services.catalogue,
        services.settings,
        partial(check_and_store_inputs, services, tenant_id()),
        length=request.content_length,
        skip_bad=query.on_error == "skip",
    )
    bulk_id = submit_bulk(services, tenant_id(), reader, header, webhook)
    answer = make_response(_view(services, bulk_id).model_dump(mode="json"), HTTPStatus.ACCEPTED)
    answer.headers["Location"] = url_for("bulks.get_bulk", bulk_id=bulk_id)
    return answer


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(BulkList)
def list_bulks(query: ListQuery) -> BulkList:
    """List bulks.

    Returns bulks, newest first. Bulks that are still being read are included.
    """
    services = get_services()
    with services.database.read() as session:
        rows = queries.bulks(session, tenant_id(), query.limit + 1, query.cursor)
        views = [bulk_view(session, row) for row in rows[: query.limit]]
    return BulkList(items=views, next=views[-1].id if len(rows) > query.limit else None)


@bp.get("/<id:bulk_id>")
@bp.output(BulkView)
def get_bulk(bulk_id: str) -> BulkView:
    """Retrieve a bulk.

    Returns the bulk with the number of its jobs in each state.
    """
    return _view(get_services(), bulk_id)


@bp.post("/<id:bulk_id>/cancel")
@bp.output(BulkView)
def cancel_bulk(bulk_id: str) -> BulkView:
    """Cancel a bulk.

    Cancels all jobs of the bulk that have not ended. For a large bulk this takes seconds to minutes.
    """
    services = get_services()
    with services.database.write() as session:
        queries.bulk(session, tenant_id(), bulk_id)
        ledger.cancel_bulk(session, bulk_id)
    with services.database.write() as session:
        changes = ledger.sweep_bulk(session, bulk_id, CANCELED_AT_ONCE)  # the dispatcher cancels the rest
    services.hints.changed(changes)
    return _view(services, bulk_id)


@bp.post("/<id:bulk_id>/pause")
@bp.output(BulkView)
@bp.doc(responses={409: "The bulk's state does not allow this"})
def pause_bulk(bulk_id: str) -> BulkView:
    """Pause a bulk.

    Starts no more of its jobs until the bulk is resumed. Jobs that were already released to workers still run.
    """
    return _pause(bulk_id, paused=True)


@bp.post("/<id:bulk_id>/resume")
@bp.output(BulkView)
@bp.doc(responses={409: "The bulk's state does not allow this"})
def resume_bulk(bulk_id: str) -> BulkView:
    """Resume a bulk.

    Continues a paused bulk.
    """
    return _pause(bulk_id, paused=False)


@bp.get("/<id:bulk_id>/results")
@bp.input(ResultsQuery, location="query", arg_name="query")
@bp.doc(
    responses={
        200: {
            "description": "The jobs, one per line, or the ZIP archive",
            "content": {"application/jsonl": {}, "application/zip": {}},
        }
    }
)
def get_results(bulk_id: str, query: ResultsQuery) -> Response:
    """Retrieve the results of a bulk.

    Streams the bulk's jobs in the order of its lines, each in its current state.
    """
    services = get_services()
    view = _view(services, bulk_id)
    jobs = _jobs(services, tenant_id(), bulk_id, hang_up_check())
    if query.format == "zip":
        stream = archive.zipped(partial(_picture, services, tenant_id()), view.model_dump_json().encode(), jobs)
        headers = {"Content-Disposition": f'attachment; filename="{bulk_id}.zip"'}
        return download(stream, "application/zip", headers)
    return download(_grouped(line for _, line in jobs), "application/jsonl")


def _pause(bulk_id: str, *, paused: bool) -> BulkView:
    services = get_services()
    with services.database.write() as session:
        row = queries.bulk(session, tenant_id(), bulk_id)
        if not ledger.pause_bulk(session, bulk_id, paused=paused):
            raise InvalidState(f"The bulk is {row.state}, so it cannot be paused or resumed.", state=row.state)
    return _view(services, bulk_id)


def _view(services: Services, bulk_id: str) -> BulkView:
    with services.database.read() as session:
        return bulk_view(session, queries.bulk(session, tenant_id(), bulk_id))


def _picture(services: Services, owner: str, digest: str) -> bytes:
    """The bytes of a picture. A short fault must not cut off an archive, which a client can only begin again."""
    blobs = services.blobs
    return wait_while_busy(lambda: services.storage.call_for(owner, blobs.get_checked, digest), or_while=StorageFailed)


def _grouped(lines: Iterator[str]) -> Iterator[bytes]:
    while group := list(islice(lines, LINES_AT_ONCE)):
        yield "".join(group).encode()


def _jobs(services: Services, owner: str, bulk_id: str, gone: Callable[[], bool]) -> Iterator[tuple[Shown, str]]:
    """Yield every job with its images, and its line of the results, until the client has hung up.

    Keeps one page in memory, and no transaction open while a slow client reads.
    """
    after = 0
    while not gone():
        with services.page_turns.turn(owner):
            with services.database.read() as session:
                page = queries.bulk_jobs(session, bulk_id, after, RESULTS_PAGE)
            lines = [plain_view(shown).model_dump_json() + "\n" for shown in page]
        yield from zip(page, lines, strict=True)
        if len(page) < RESULTS_PAGE:
            return
        after = page[-1].job.bulk_line or 0
