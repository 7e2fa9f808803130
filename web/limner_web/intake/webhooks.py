"""The webhook of a requested job or bulk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.webhook_targets import Targets
from limner_shared.domain.webhooks import BULK_ENDED, JOB_ENDED, PREDICTION_DEFAULT, BodyFormat, Webhook
from limner_shared.errors import InvalidRequest


def job_webhook(targets: Targets, request: JobRequest) -> dict[str, Any] | None:
    """The webhook to store with a job, or None. Raises InvalidRequest."""
    return _webhook(targets, request.webhook, request.webhook_events_filter, JOB_ENDED)


def bulk_webhook(targets: Targets, url: str | None, events: str | None) -> dict[str, Any] | None:
    """The webhook to store with a bulk, or None; `events` are separated by commas. Raises InvalidRequest."""
    return _webhook(targets, url, None if events is None else events.split(","), BULK_ENDED)


def prediction_webhook(
    targets: Targets, url: str | None, events: Sequence[str] | None, origin: str
) -> dict[str, Any] | None:
    """The webhook to store with a prediction, or None; `origin` begins its URLs. Raises InvalidRequest."""
    return _webhook(targets, url, events, PREDICTION_DEFAULT, format=BodyFormat.PREDICTION, origin=origin)


def _webhook(
    targets: Targets, url: str | None, events: Sequence[str] | None, default: Sequence[str], **more: Any
) -> dict[str, Any] | None:
    if url is None:
        if events is not None:
            message = "webhook_events_filter: set `webhook` too, the URL that receives the events."
            raise InvalidRequest(message, field="webhook_events_filter")
        return None
    chosen = tuple(dict.fromkeys(default if events is None else events))
    return Webhook(url=targets.check_url(url), events=chosen, **more).model_dump(mode="json", exclude_defaults=True)
