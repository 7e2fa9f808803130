"""What is deleted, and when: each tenant says for how many days images, prompts and whole jobs are kept.

Each function does at most so many rows and says how many it did. Blobs are shared by equal pictures: one goes only
after nobody has referred to it, nor written it anew, for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, null, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from limner_shared.database import insert_new, now
from limner_shared.ledger.records import SILENT
from limner_shared.tables import FINISHED, Conversation, Event, Garbage, Image, Job, Tenant, Turn

DAY: Final = 86400.0
WITHOUT_PROMPT: Final = ""


def forget_images(session: Session, limit: int) -> int:
    """Delete the images of jobs that ended longer ago than their tenant keeps images."""
    done = 0
    for old in _ended(session, Tenant.keep_images_days):
        query = select(Image.id, Image.sha256).join(Job, Job.id == Image.job_id).where(old)
        done += _delete_images(session, query.limit(limit - done))
    return done


def forget_prompts(session: Session, limit: int) -> int:
    """Blank the texts and the metadata of jobs that ended longer ago than their tenant keeps prompts."""
    done = 0
    for old in _ended(session, Tenant.keep_prompts_days):
        with_prompt = Job.spec["prompt"].as_string() != WITHOUT_PROMPT
        for job_id, spec in session.execute(select(Job.id, Job.spec).where(old, with_prompt).limit(limit - done)).all():
            _blank(session, job_id, spec)
            done += 1
    return done


def _blank(session: Session, job_id: str, spec: dict[str, Any]) -> None:
    """Whatever was said, in any of its forms."""
    texts = {"prompt": WITHOUT_PROMPT, "negative_prompt": WITHOUT_PROMPT, "description": None, "history": []}
    values = {"spec": spec | texts, "extra": {}, "interpretation": null(), "presentation": None}
    session.execute(update(Job).where(Job.id == job_id).values(values), execution_options=SILENT)
    # A recipe is a hash of the prompt, which whoever guesses it can find again.
    said = {"alt_text": None, "recipe": None}
    session.execute(update(Image).where(Image.job_id == job_id).values(said), execution_options=SILENT)
    session.execute(update(Turn).where(Turn.job_id == job_id).values(text=WITHOUT_PROMPT), execution_options=SILENT)
    _forget_in_later_turns(session, job_id)
    titled = select(Turn.conversation_id).where(Turn.job_id == job_id, Turn.parent_id.is_(None))
    blank = update(Conversation).where(Conversation.id.in_(titled)).values(title=WITHOUT_PROMPT)
    session.execute(blank, execution_options=SILENT)


def _forget_in_later_turns(session: Session, job_id: str) -> None:
    """A later turn's job was given what was said before; once it has ended, it needs that no more."""
    here = select(Turn.conversation_id).where(Turn.job_id == job_id)
    later = (
        select(Job.id, Job.spec)
        .join(Turn, Turn.job_id == Job.id)
        .where(Turn.conversation_id.in_(here), text(f"jobs.{FINISHED}"))
    )
    for later_id, spec in session.execute(later).all():
        if spec.get("history"):
            values = {"spec": spec | {"history": []}}
            session.execute(update(Job).where(Job.id == later_id).values(values), execution_options=SILENT)


def forget_jobs(session: Session, limit: int) -> int:
    """Delete jobs, with their images and events, that ended longer ago than their tenant keeps them."""
    done = 0
    for old in _ended(session, Tenant.keep_jobs_days):
        ids = session.scalars(select(Job.id).where(old).limit(limit - done)).all()
        _delete_images(session, select(Image.id, Image.sha256).where(Image.job_id.in_(ids)))
        session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=SILENT)
        session.execute(delete(Job).where(Job.id.in_(ids)), execution_options=SILENT)
        done += len(ids)
    return done


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


def _ended(session: Session, days: InstrumentedAttribute[float | None]) -> list[ColumnElement[bool]]:
    """For each tenant that does not keep all for ever: which of its jobs are too old. One index range each."""
    tenants = session.execute(select(Tenant.id, days).where(days.is_not(None))).all()
    return [
        (Job.tenant_id == tenant) & text(f"jobs.{FINISHED}") & (Job.finished_at < now() - kept * DAY)
        for tenant, kept in tenants
        if kept is not None
    ]


def _delete_images(session: Session, which: Select[str, str]) -> int:
    rows = session.execute(which).all()
    if rows:
        spare_garbage(session, list({row.sha256 for row in rows}))
        session.execute(delete(Image).where(Image.id.in_([row.id for row in rows])), execution_options=SILENT)
    return len(rows)
