"""The secret that signs the webhooks of a tenant's jobs and bulks; endpoints have their own."""

from __future__ import annotations

from http import HTTPStatus

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db.webhooks import endpoints
from limner_shared.domain.webhook_views import SecretView
from limner_shared.domain.webhooks import KEPT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS
from limner_web.auth import actor, tenant_id
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.services import get_services

bp = APIBlueprint("webhook_secret", __name__, url_prefix="/api/v1/webhook_secret", tag="Webhooks")


class SecretRotation(BaseModel):
    """How long the old secret signs beside the new one."""

    model_config = ConfigDict(extra="forbid")
    overlap_seconds: int = Field(
        default=KEPT_OVERLAP_SECONDS,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        strict=True,
        description="Seconds for which each delivery is also signed by the old secret.",
    )


@bp.get("")
@bp.output(SecretView)
def get_secret() -> tuple[SecretView, int, dict[str, str]]:
    """Retrieve the secret of jobs' and bulks' webhooks.

    Needs the scope `admin`.
    """
    return _current()


@bp.post("/rotate")
@bp.input(SecretRotation, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(SecretView)
def rotate_secret(body: SecretRotation, header: JobHeaders) -> tuple[SecretView, int, dict[str, str]]:
    """Rotate the secret of jobs' and bulks' webhooks.

    During the overlap each delivery has two signatures, by the new secret and by the old one. Needs the scope `admin`.
    """
    tenant, by = tenant_id(), actor()

    def rotate(session: Session) -> str:
        endpoints.rotate(session, tenant, tenant, body.overlap_seconds, actor=by)
        return tenant

    repeat = repeat_of(header, f"webhook_secret rotate {body.overlap_seconds}")
    create_once(get_services(), tenant, repeat, ResourceKind(rotate, str, _newest))
    return _current()


def _newest(session: Session, tenant: str, _owner_id: str) -> str:
    return endpoints.current_secret(session, tenant)


def _current() -> tuple[SecretView, int, dict[str, str]]:
    with get_services().database.write() as session:
        secret = endpoints.current_secret(session, tenant_id())
    return SecretView(secret=secret), HTTPStatus.OK, {"Cache-Control": "no-store"}
