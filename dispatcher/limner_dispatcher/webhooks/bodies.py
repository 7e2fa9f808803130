"""The bodies of events: an envelope, and the view that the tenant's own API gives of the job or bulk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import is_away
from limner_shared.db.tables import Bulk, Job
from limner_shared.db.views import bulk_view, plain_view
from limner_shared.db.webhook_tables import WebhookEvent
from limner_shared.telemetry import get_logger

log = get_logger(__name__)


def make_bodies(session: Session, events: Sequence[WebhookEvent], public_url: str) -> dict[str, str]:
    """The bodies of these events that have none yet, by id. URLs in them begin with `public_url`, if there is one."""
    new = [event for event in events if event.body is None]
    subjects = [event.subject_id for event in new if event.data is None and event.subject_id is not None]
    views = _job_views(session, subjects) | _bulk_views(session, subjects) if subjects else {}
    return {event.id: _body(event, views, public_url) for event in new}


def _body(event: WebhookEvent, views: dict[str, BaseModel], public_url: str) -> str:
    data: Any = event.data
    if data is None:
        view = views.get(event.subject_id or "")
        data = {"id": event.subject_id} if view is None else _absolute(view.model_dump(mode="json"), public_url)
    envelope = {"id": event.id, "object": "event", "type": event.type, "created_at": int(event.created_at)}
    return json.dumps(envelope | {"data": data}, ensure_ascii=False, separators=(",", ":"))


def _job_views(session: Session, ids: Sequence[str]) -> dict[str, BaseModel]:
    jobs = session.scalars(select(Job).where(Job.id.in_(ids))).all()
    views: dict[str, BaseModel] = {}
    for shown in queries.shown(session, jobs) if jobs else ():
        try:
            views[shown.job.id] = plain_view(shown)
        except Exception as error:
            if is_away(error):
                raise
            # The receiver is told of a damaged job too, by its id.
            log.error("the job cannot be shown", job=shown.job.id, error=type(error).__name__)
    return views


def _bulk_views(session: Session, ids: Sequence[str]) -> dict[str, BaseModel]:
    return {bulk.id: bulk_view(session, bulk) for bulk in session.scalars(select(Bulk).where(Bulk.id.in_(ids)))}


def _absolute(view: dict[str, Any], public_url: str) -> dict[str, Any]:
    """The view with complete URLs, where the service knows its own address."""
    if public_url:
        view["links"] = {name: public_url + path for name, path in view["links"].items()}
        for image in view.get("images", []):
            image["url"] = public_url + image["url"]
    return view
