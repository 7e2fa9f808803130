"""The input items of responses, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db.many_rows import insert_many
from limner_shared.db.response_tables import ResponseInput
from limner_shared.db.tables import Job

Items = Sequence[Mapping[str, Any]]


def add_inputs(session: Session, inputs: Mapping[str, Items]) -> None:
    """Store the items of new responses, by the ids of their jobs."""
    insert_many(
        session, ResponseInput, [{"job_id": job_id, "items": {"data": items}} for job_id, items in inputs.items()]
    )


def add_inputs_of_lines(session: Session, bulk_id: str, inputs: Mapping[int, Items]) -> None:
    """Store the items of a bulk's responses, by the lines of their jobs."""
    if inputs:
        mine = select(Job.id, Job.bulk_line).where(Job.bulk_id == bulk_id, Job.bulk_line.in_(inputs))
        add_inputs(session, {row.id: inputs[row.bulk_line or 0] for row in session.execute(mine)})


def inputs_of(session: Session, job_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The items of these jobs' responses; jobs without any are left out."""
    rows = session.execute(select(ResponseInput.job_id, ResponseInput.items).where(ResponseInput.job_id.in_(job_ids)))
    return {row.job_id: row.items["data"] for row in rows}
