"""Builds the API's views from database rows and model cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from flask import url_for
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries, queries, waiting_queries
from limner_shared.db.ledger import NO_JOB
from limner_shared.db.tables import Conversation, ConversationTurn, Job, Pause
from limner_shared.db.views import as_datetime, plain_view
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conversation_views import ConversationView, ReplyView, TurnView
from limner_shared.domain.jobs import JobState
from limner_shared.domain.model_views import ModelView
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.picture_views import ControlView, ReferenceView
from limner_shared.domain.views import JobView, PauseNotice, ProgressView
from limner_shared.messaging.hints import Hints
from limner_web import small_talk
from limner_web.http.caller_languages import caller_languages
from limner_web.services import Services, get_services

CROP: Final = "padding_mask_crop"


def read_job_view(services: Services, tenant_id: str, job_id: str) -> JobView:
    """The current view of a tenant's job. Raises NotFound."""
    with services.database.read() as session:
        return job_view(session, services.hints, queries.job(session, tenant_id, job_id))


def view_tag(view: JobView) -> str:
    """A text that changes with everything that a job's view shows, for an ETag."""
    progress = view.progress.done if view.progress else view.position or 0
    paused = "" if view.paused is None else f"-{view.paused.since.timestamp()}"
    return f"{view.id}-{view.version}-{progress}{paused}"


def job_view(session: Session, hints: Hints, row: Job) -> JobView:
    """The view of one job, with its position in the queue or its progress."""
    if JobState(row.state).terminal:
        [shown] = queries.shown(session, [row])
        return plain_view(shown)
    found = waiting_queries.live_details(session, row)  # pictures come with the job's end, in one transaction
    labels = queries.labels(session, [row.id]).get(row.id, []) if found.is_labelled else []
    view = plain_view(queries.Shown(row, [], labels, found.conversation))
    view.position = found.position
    if found.any_pause:
        _add_pauses(session, [(row, view)])
    if row.state == JobState.RUNNING:
        _add_progress(hints, [view])
    return view


def released_view(row: Job, ahead: int) -> JobView:
    """The view of a job that was just stored and released: it has no pictures, labels or progress, and no pause."""
    view = plain_view(queries.Shown(row, [], []))
    view.position = ahead
    return view


def job_views(session: Session, hints: Hints, rows: list[Job]) -> list[JobView]:
    """The views of several jobs, without their positions in the queue, which would cost a query each."""
    views = [plain_view(shown) for shown in queries.shown(session, rows)]
    _add_progress(hints, [view for view in views if view.status is JobState.RUNNING])
    _add_pauses(session, list(zip(rows, views, strict=True)))
    return views


def _add_progress(hints: Hints, views: Iterable[JobView]) -> None:
    by_id = {view.id: view for view in views}
    for job_id, progress in hints.progress(by_id).items():
        by_id[job_id].progress = ProgressView(done=progress.done, total=progress.total)


def _add_pauses(session: Session, jobs: Iterable[tuple[Job, JobView]]) -> None:
    queued = [(row, view) for row, view in jobs if row.state == JobState.QUEUED]
    found = {(pause.kind, pause.subject): pause for pause in pause_queries.pauses(session)} if queued else {}
    for row, view in queued:
        subjects = ((PauseKind.MODEL, row.model), (PauseKind.TENANT, row.tenant_id), (PauseKind.OWN, row.tenant_id))
        pause = next((found[each] for each in subjects if each in found), None)
        view.paused = None if pause is None else pause_notice(pause)


def pause_notice(row: Pause) -> PauseNotice:
    """What the owner of a waiting job sees of a pause."""
    own = row.kind == PauseKind.OWN
    what = PauseKind.TENANT if own else PauseKind(row.kind)
    return PauseNotice(
        what=what, own=own, reason=row.reason, since=as_datetime(row.paused_at), until=as_datetime(row.until)
    )


def conversation_view(
    session: Session, hints: Hints, row: Conversation, *, with_turns: bool = True
) -> ConversationView:
    """The view of a conversation, with all its turns if `with_turns`."""
    this = url_for("conversations.get_conversation", conversation_id=row.id)
    return ConversationView(
        id=row.id,
        title=row.title,
        created_at=as_datetime(row.created_at),
        touched_at=as_datetime(row.touched_at),
        turns=turn_views(session, hints, queries.turns(session, row.id)) if with_turns else [],
        links={"self": this, "messages": f"{this}/messages"},
    )


def turn_views(session: Session, hints: Hints, turns: Sequence[tuple[ConversationTurn, Job | None]]) -> list[TurnView]:
    """The views of turns, each with its job or its answer in words."""
    views = {view.id: view for view in job_views(session, hints, [job for _, job in turns if job is not None])}
    return [
        TurnView(
            id=turn.id,
            parent=turn.parent_id,
            message=turn.text,
            created_at=as_datetime(turn.created_at),
            job=views.get(turn.job_id),
            reply=_reply(turn.text) if turn.job_id == NO_JOB else None,
        )
        for turn, _ in turns
    ]


def _reply(message: str) -> ReplyView:
    """The answer to a message of small talk."""
    return small_talk.answer(small_talk.read(message), get_services().catalogue.get(None), caller_languages())


def model_view(card: ModelCard, default: str, pause: Pause | None = None) -> ModelView:
    """The view of a model card, and of the model's pause."""
    services = get_services()
    return ModelView(
        name=card.name,
        title=card.title,
        description=card.description,
        licence=card.licence,
        default=card.name == default,
        tasks=list(card.tasks),
        sizes=[f"{width}x{height}" for width, height in card.sizes],
        same_at_every_size=card.same_at_every_size,
        styles=list(card.styles),
        styles_by_seed=list(card.styles_by_seed),
        steps=card.steps.model_dump(),
        guidance=card.guidance.model_dump(),
        max_images=card.max_images,
        default_cost=card.default_cost,
        candidates=card.candidates,
        max_prompt_chars=card.max_prompt_chars,
        max_retries=card.max_retries.model_dump(),
        negative_prompts=card.takes_negative_prompts,
        prompt_weights=card.prompt_weights,
        mask_crops=card.takes_mask_crops and not services.worker_limits.lacks(card.name, "inpainting", CROP),
        control=None if card.control is None else ControlView.model_validate(card.control.model_dump()),
        reference=None
        if card.reference is None
        else ReferenceView.model_validate(card.reference.model_dump(include={"most", "scale"})),
        schedulers=list(card.schedulers),
        adapters=services.adapter_folders.names(card),
        paused=None if pause is None else pause_notice(pause),
        serving=services.worker_limits.serving(card.name),
    )
