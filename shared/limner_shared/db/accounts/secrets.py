"""Secrets that all processes of a service share."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_new
from limner_shared.db.library_tables import Secret


def shared_secret(session: Session, name: str) -> str:
    """The secret of this name, 64 hex digits; the first caller makes it."""
    session.execute(insert_new(session, Secret, "name").values(name=name, value=secrets.token_hex(32)))
    return session.scalars(select(Secret.value).where(Secret.name == name)).one()
