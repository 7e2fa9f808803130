"""Secrets that all processes of a service share."""

from __future__ import annotations

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db.engine import Database, insert_new
from limner_shared.db.library_tables import Secret
from limner_shared.settings import Settings


def shared_secret(session: Session, name: str) -> str:
    """The secret of this name, 64 hex digits; the first caller makes it."""
    session.execute(insert_new(session, Secret, "name").values(name=name, value=secrets.token_hex(32)))
    return session.scalars(select(Secret.value).where(Secret.name == name)).one()


def signing_keys(settings: Settings, database: Database, purpose: str) -> list[str]:
    """The secrets whose signatures are valid, in itsdangerous' order: the last one signs.

    Without a secret in the settings, it is the one that the database keeps for this purpose.
    """
    key = settings.signing_key
    if not key:
        with database.write() as session:
            key = shared_secret(session, purpose)
    return [*settings.accepted_signing_keys, key]
