"""API keys: rotation by their owner; for keys with the scope `admin` also new keys, the list, and revocation."""

from __future__ import annotations

from http import HTTPStatus

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db.accounts import keys
from limner_shared.db.tables import ApiKey
from limner_shared.db.views import as_datetime
from limner_shared.domain.access import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, read_scopes
from limner_shared.domain.account_views import CreatedKey, KeyList, KeyView, RotatedKey
from limner_shared.errors import Unauthorized
from limner_web.auth import actor, key_id, tenant_id
from limner_web.intake import new_keys
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.request_checks import KEY_ID_PATTERN
from limner_web.services import get_services

bp = APIBlueprint("keys", __name__, url_prefix="/api/v1/keys", tag="Account")


class KeyRotation(BaseModel):
    """How long the old key remains valid."""

    model_config = ConfigDict(extra="forbid")
    overlap_seconds: int = Field(
        default=DEFAULT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        strict=True,
        description="Seconds for which the old key remains valid; 0 ends it at once.",
    )


class ListQuery(BaseModel):
    """The page of the list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=50, ge=1, le=100, description="The number of keys per page.")
    cursor: str | None = Field(
        default=None, pattern=f"^{KEY_ID_PATTERN}$", description="The value of `next` from the previous page."
    )


@bp.post("")
@bp.input(new_keys.KeyRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(CreatedKey, status_code=201)
@bp.doc(responses={409: "The key of the same request was used or revoked, or the idempotency key belongs to another"})
def create_key(body: new_keys.KeyRequest, header: JobHeaders) -> tuple[CreatedKey, int, dict[str, str]]:
    """Create a key.

    Makes another key of your tenant. Needs a key with the scope `admin`. The new key does not expire later than that
    one. No secret is stored: a repeated request gives the new key another secret, which ends the first one, as long as
    the new key has not been used.
    """
    made = new_keys.create(body, header)
    view = CreatedKey(
        id=made.id, key=made.key, label=body.label, scopes=sorted(made.scopes), expires_at=as_datetime(made.expires_at)
    )
    return view, HTTPStatus.CREATED, {"Cache-Control": "no-store"}


@bp.post("/rotate")
@bp.input(KeyRotation, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(RotatedKey, status_code=201)
@bp.doc(
    responses={
        404: "The key was revoked meanwhile",
        409: "The key was already rotated, or the idempotency key was used for another request",
    }
)
def rotate_key(body: KeyRotation, header: JobHeaders) -> tuple[RotatedKey, int, dict[str, str]]:
    """Rotate the key of this request.

    Returns a new key with the same label, scopes and expiry. The old key remains valid for `overlap_seconds`. A key can
    be rotated once, with any scope. No secret is stored that a repeated request could be answered with: it gives the
    new key another secret, which ends the first one, as long as the new key has not been used.
    """
    old_id = key_id()
    if old_id is None:
        raise Unauthorized("Send the key to rotate as `Authorization: Bearer KEY`.")
    rotation = _rotate(old_id, body.overlap_seconds, header)
    new = rotation.new
    view = RotatedKey(
        id=new.id,
        key=new.key,
        scopes=sorted(new.scopes),
        expires_at=as_datetime(new.expires_at),
        replaces=old_id,
        old_expires_at=as_datetime(rotation.old_expires_at),
    )
    return view, HTTPStatus.CREATED, {"Cache-Control": "no-store"}


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(KeyList)
def list_keys(query: ListQuery) -> KeyList:
    """List keys.

    Returns the tenant's keys, newest first, also those that expired or were revoked. Needs the scope `admin`.
    """
    with get_services().database.read() as session:
        rows = keys.tenant_keys(session, tenant_id(), query.limit + 1, query.cursor)
    items = [_view(row) for row in rows[: query.limit]]
    return KeyList(items=items, next=items[-1].id if len(rows) > query.limit else None)


@bp.delete("/<key_id:key_id>")
@bp.output({}, status_code=204)
@bp.doc(responses={404: "There is no such key, or it is revoked"})
def revoke_key(key_id: str) -> str:
    """Revoke a key.

    Ends a key of the tenant at once and permanently. Needs the scope `admin`.
    """
    with get_services().database.write() as session:
        keys.revoke(session, key_id, tenant_id=tenant_id(), actor=actor())
    return ""


def _rotate(old_id: str, overlap: int, header: JobHeaders) -> keys.Rotation:
    services, by = get_services(), actor()

    def rotate(session: Session) -> keys.Rotation:
        return keys.rotate(session, old_id, overlap_seconds=overlap, actor=by, cell=services.settings.cell)

    repeat = repeat_of(header, f"keys {old_id} rotate {overlap}")
    kind = ResourceKind(rotate, lambda _made: old_id, lambda _session, _tenant, _id: None)
    made = create_once(services, tenant_id(), repeat, kind)
    if not isinstance(made, str):
        return made
    with services.database.write() as session:
        return keys.repeat_rotation(session, old_id, actor=by)


def _view(row: ApiKey) -> KeyView:
    return KeyView(
        id=row.id,
        label=row.label,
        scopes=sorted(read_scopes(row.scopes)),
        created_at=as_datetime(row.created_at),
        expires_at=as_datetime(row.expires_at),
        last_used_at=as_datetime(row.last_used_at),
        revoked_at=as_datetime(row.revoked_at),
        replaced_by=row.replaced_by,
        current=row.id == key_id(),
    )
