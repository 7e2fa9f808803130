"""The events of responses: a job that is a response of OpenAI's API in the background has a second event at its end."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from limner_shared.db.tables import Job
from limner_shared.domain.responses import MARK


def in_background(session: Session, job_ids: Collection[str]) -> set[str]:
    """Those of these jobs whose metadata say that they are responses in the background.

    They are read as text, and damaged ones say nothing: jobs must be able to end.
    """
    metadata = select(Job.id, cast(Job.extra, Text).label("text")).where(Job.id.in_(job_ids))
    return {row.id for row in session.execute(metadata) if _is_marked(row.text)}


def _is_marked(text: str | None) -> bool:
    try:
        return json.loads(text or "{}")[MARK]["background"] is True
    except (ValueError, LookupError, TypeError):
        return False
