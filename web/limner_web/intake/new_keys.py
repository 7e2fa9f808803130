"""A new API key, which a key of the same tenant makes: from a request, or from the form of the account page."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.orm import Session

from limner_shared.db.accounts import keys
from limner_shared.domain.access import DEFAULT_SCOPES, MAX_LABEL_CHARS, Expiry, Scope
from limner_shared.domain.scheduling import Moment
from limner_shared.errors import Unauthorized
from limner_web.auth import key_id, tenant_id
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.services import get_services


def _printable(text: str) -> str:
    """Return a text that operators may see in a terminal. Raises ValueError."""
    if not text.isprintable():
        raise ValueError("use printable characters")
    return text


class KeyRequest(BaseModel):
    """A key to make: what it is for, what it may do, and until when."""

    model_config = ConfigDict(extra="forbid")
    label: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_LABEL_CHARS),
        AfterValidator(_printable),
    ] = Field(description="What the key is for, for people.")
    scopes: list[Scope] = Field(
        default=sorted(DEFAULT_SCOPES), min_length=1, max_length=len(Scope), description="What it may do."
    )
    expires_at: Moment | None = Field(
        default=None,
        description="When it expires, not later than the key of this request. Default: when that one does, if ever.",
    )


def create(body: KeyRequest, header: JobHeaders) -> keys.NewKey:
    """Make the key that `body` describes with the key of this request. Raises Unauthorized without one."""
    services, maker_id = get_services(), key_id()
    if maker_id is None:
        raise Unauthorized("Only a key makes keys: send one as `Authorization: Bearer KEY`.")
    scopes = frozenset(body.scopes)
    expiry = None if body.expires_at is None else Expiry(body.expires_at.timestamp(), is_relative=False)

    def make(session: Session) -> keys.NewKey:
        return keys.create_by_key(session, maker_id, body.label, scopes, expiry=expiry, cell=services.settings.cell)

    repeat = repeat_of(header, f"keys {maker_id} create {body.model_dump_json()}")
    kind = ResourceKind(make, lambda made: made.id, lambda _session, _tenant, _id: None)
    made = create_once(services, tenant_id(), repeat, kind)
    if not isinstance(made, str):
        return made
    with services.database.write() as session:
        return keys.repeat_creation(session, made, tenant_id=tenant_id(), actor=maker_id)
