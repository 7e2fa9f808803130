"""The presets of a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_new, now
from limner_shared.db.ledger.idempotency import lock_key
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Preset
from limner_shared.domain.presets import MAX_PRESETS
from limner_shared.errors import InvalidRequest, NotFound

PRESETS_LOCK: Final = "\x01presets"
"""The key that changes of one tenant's presets lock, so that none is lost or one too many; no client can send it."""


def presets(session: Session, tenant_id: str) -> Sequence[Preset]:
    """A tenant's presets, by name."""
    return session.scalars(select(Preset).where(Preset.tenant_id == tenant_id).order_by(Preset.name)).all()


def preset(session: Session, tenant_id: str, name: str) -> Preset:
    """A preset. Raises NotFound."""
    row = session.get(Preset, (tenant_id, name), populate_existing=True)
    if row is None:
        raise NotFound(f"There is no preset {name!r}.")
    return row


def save(session: Session, tenant_id: str, name: str, settings: dict[str, Any]) -> Preset:
    """Keep settings under a name, in place of those that it had. Raises InvalidRequest beyond MAX_PRESETS."""
    lock_key(session, tenant_id, PRESETS_LOCK)
    values = {"settings": settings, "updated_at": now()}
    new = insert_new(session, Preset, "tenant_id", "name").values(tenant_id=tenant_id, name=name, **values)
    if session.scalar(new.returning(Preset.name)) is None:
        session.execute(update(Preset).where(_is(tenant_id, name)).values(values), execution_options=NO_SYNC)
    elif (session.scalar(select(func.count()).where(Preset.tenant_id == tenant_id)) or 0) > MAX_PRESETS:
        raise InvalidRequest(f"At most {MAX_PRESETS} presets are kept: delete one first.", field="preset")
    return preset(session, tenant_id, name)


def rename(session: Session, tenant_id: str, name: str, new_name: str) -> Preset:
    """Give a preset another name. Raises NotFound, or InvalidRequest for the name of another one."""
    lock_key(session, tenant_id, PRESETS_LOCK)
    try:
        changed = update(Preset).where(_is(tenant_id, name)).values(name=new_name).returning(Preset.name)
        found = session.scalar(changed, execution_options=NO_SYNC)
    except IntegrityError as error:
        raise InvalidRequest(f"There is a preset {new_name!r} already: choose another name.", field="name") from error
    return preset(session, tenant_id, name if found is None else new_name)


def remove(session: Session, tenant_id: str, name: str) -> None:
    """Delete a preset, if there is one."""
    lock_key(session, tenant_id, PRESETS_LOCK)
    session.execute(delete(Preset).where(_is(tenant_id, name)), execution_options=NO_SYNC)


def _is(tenant_id: str, name: str) -> Any:
    return (Preset.tenant_id == tenant_id) & (Preset.name == name)
