"""Calls that a transaction makes once it is committed, and not if it is rolled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import event
from sqlalchemy.orm import Session

CALLS: Final = "limner_after_commit"
"""The key in a session's `info` under which its calls are kept."""


def after_commit(session: Session, call: Callable[[], object]) -> None:
    """Call a function once this session's transaction is committed. It must not raise."""
    session.info.setdefault(CALLS, []).append(call)


@event.listens_for(Session, "after_commit")
def _run(session: Session) -> None:
    calls: list[Callable[[], object]] = session.info.pop(CALLS, [])
    for call in calls:
        call()


@event.listens_for(Session, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(CALLS, None)
