"""What is deleted, and when: each tenant says for how many days images, prompts and whole jobs are kept.

Each function does at most so many rows and says how many it did. Blobs are shared by equal pictures: one goes only
after nobody has referred to it, nor written it anew, for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, delete, select, text, update
from sqlalchemy.orm import Session

from limner_shared.database import insert_new, now
from limner_shared.ledger.records import SILENT
from limner_shared.tables import FINISHED, Event, Garbage, Image, Job, Tenant

DAY: Final = 86400.0
WITHOUT_PROMPT: Final = ""


def forget_images(session: Session, limit: int) -> int:
    """Delete the images of jobs that ended longer ago than their tenant keeps images."""
    old = (
        select(Image.id, Image.sha256)
        .join(Job, Job.id == Image.job_id)
        .join(Tenant, Tenant.id == Job.tenant_id)
        .where(text(f"jobs.{FINISHED}"), Job.finished_at < now() - Tenant.keep_images_days * DAY)
    )
    return _delete_images(session, old.limit(limit))


def forget_prompts(session: Session, limit: int) -> int:
    """Blank the texts and the metadata of jobs that ended longer ago than their tenant keeps prompts."""
    prompt = Job.spec["prompt"].as_string()
    rows = session.scalars(_ended(Tenant.keep_prompts_days).where(prompt != WITHOUT_PROMPT).limit(limit)).all()
    for job in rows:
        spec = dict(job.spec) | {"prompt": WITHOUT_PROMPT, "negative_prompt": WITHOUT_PROMPT}
        session.execute(update(Job).where(Job.id == job.id).values(spec=spec, extra={}), execution_options=SILENT)
    return len(rows)


def forget_jobs(session: Session, limit: int) -> int:
    """Delete jobs, with their images and events, that ended longer ago than their tenant keeps them."""
    ids = [job.id for job in session.scalars(_ended(Tenant.keep_jobs_days).limit(limit))]
    if ids:
        _delete_images(session, select(Image.id, Image.sha256).where(Image.job_id.in_(ids)))
        session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=SILENT)
        session.execute(delete(Job).where(Job.id.in_(ids)), execution_options=SILENT)
    return len(ids)


def collect_garbage(session: Session, grace_seconds: float, limit: int) -> list[str]:
    """Hashes of blobs that were given up so long ago and that nobody refers to since; those in use leave the list."""
    old = select(Garbage.sha256).where(Garbage.since < now() - grace_seconds).limit(limit)
    hashes = session.scalars(old).all()
    used = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(hashes))))
    forget_garbage(session, list(used))
    return [digest for digest in hashes if digest not in used]


def forget_garbage(session: Session, hashes: Sequence[str]) -> None:
    """These are deleted, or in use again."""
    session.execute(delete(Garbage).where(Garbage.sha256.in_(hashes)), execution_options=SILENT)


def spare_garbage(session: Session, hashes: Sequence[str]) -> None:
    """Look at these again after another while."""
    if hashes:
        again = update(Garbage).where(Garbage.sha256.in_(hashes)).values(since=now())
        session.execute(again, execution_options=SILENT)
        rows = [{"sha256": digest} for digest in hashes]
        session.execute(insert_new(session, Garbage, "sha256").values(since=now()), rows)


def _ended(days: Any) -> Select[Job]:
    join = select(Job).join(Tenant, Tenant.id == Job.tenant_id)
    return join.where(text(f"jobs.{FINISHED}"), Job.finished_at < now() - days * DAY)


def _delete_images(session: Session, which: Select[str, str]) -> int:
    rows = session.execute(which).all()
    if rows:
        spare_garbage(session, list({row.sha256 for row in rows}))
        session.execute(delete(Image).where(Image.id.in_([row.id for row in rows])), execution_options=SILENT)
    return len(rows)
