"""The bodies of events: an envelope with the view that the tenant's own API gives of the job or bulk, or a prediction
of Replicate's API where the job was requested by that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import is_away
from limner_shared.db.signed_links import ANSWER_SECONDS, SignedLinks
from limner_shared.db.tables import Bulk, Job
from limner_shared.db.views import bulk_view, plain_view
from limner_shared.db.webhook_tables import WebhookEvent
from limner_shared.db.webhooks.deliveries import Claimed
from limner_shared.db.webhooks.outbox import read_webhook
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.predictions import OutputForm, prediction_object
from limner_shared.domain.views import JobView
from limner_shared.domain.webhooks import GIVE_UP_SECONDS, BodyFormat, Webhook
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

LINK_SECONDS: Final = int(GIVE_UP_SECONDS) + ANSWER_SECONDS
"""How long the links in a prediction work: the last repeat of a delivery still has the time of an answer."""


class Bodies:
    """Makes bodies."""

    def __init__(self, public_url: str, catalogue: Catalogue, links: SignedLinks) -> None:
        """URLs in events begin with `public_url`, if there is one."""
        self._public_url = public_url
        self._catalogue = catalogue
        self._links = links

    def prepare(self) -> None:
        """Read what `make` needs; call it before the transaction. Raises the errors of an unavailable database."""
        self._links.prepare()

    def make(self, session: Session, claims: Sequence[Claimed]) -> dict[str, str]:
        """The bodies of the claimed events that have none yet, by the events' ids."""
        new = {claimed.event.id: claimed for claimed in claims if claimed.event.body is None}
        subjects = [claimed.event.subject_id for claimed in new.values() if claimed.event.data is None]
        ids = [subject for subject in subjects if subject is not None]
        jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(ids)))} if ids else {}
        views = _job_views(session, list(jobs.values())) | _bulk_views(session, ids) if ids else {}
        bodies: dict[str, str] = {}
        for event_id, claimed in new.items():
            subject = claimed.event.subject_id or ""
            own = read_webhook(jobs[subject].webhook) if claimed.is_own and subject in jobs else None
            bodies[event_id] = self._body(claimed.event, views.get(subject), own)
        return bodies

    def _body(self, event: WebhookEvent, view: BaseModel | None, own: Webhook | None) -> str:
        if own is not None and own.format is BodyFormat.PREDICTION:
            shown = isinstance(view, JobView)
            return _json(self._prediction(view, own.origin) if shown else {"id": event.subject_id})
        data: Any = event.data
        if data is None:
            data = {"id": event.subject_id} if view is None else self._absolute(view.model_dump(mode="json"))
        envelope = {"id": event.id, "object": "event", "type": event.type, "created_at": int(event.created_at)}
        return _json(envelope | {"data": data})

    def _prediction(self, job: JobView, origin: str) -> dict[str, Any]:
        query = OutputForm.read(job.metadata).query
        output = [origin + self._links.make(image.id, LINK_SECONDS)[0] + query for image in job.images]
        return prediction_object(job, self._catalogue, origin, output)

    def _absolute(self, view: dict[str, Any]) -> dict[str, Any]:
        """The view with complete URLs, where the service knows its own address."""
        if self._public_url:
            view["links"] = {name: self._public_url + path for name, path in view["links"].items()}
            for image in view.get("images", []):
                image["url"] = self._public_url + image["url"]
        return view


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _job_views(session: Session, jobs: Sequence[Job]) -> dict[str, BaseModel]:
    views: dict[str, BaseModel] = {}
    for shown in queries.shown(session, jobs) if jobs else ():
        try:
            views[shown.job.id] = plain_view(shown)
        except Exception as error:
            if is_away(error):
                raise
            # The receiver learns of a damaged job too, by its id.
            log.error("the job cannot be shown", job=shown.job.id, error=type(error).__name__)
    return views


def _bulk_views(session: Session, ids: Sequence[str]) -> dict[str, BaseModel]:
    return {bulk.id: bulk_view(session, bulk) for bulk in session.scalars(select(Bulk).where(Bulk.id.in_(ids)))}
