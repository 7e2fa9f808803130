"""What is kept of a tenant's data, and for how long."""

from __future__ import annotations

from typing import Annotated, Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db.accounts.tenants import change_tenant
from limner_shared.db.tables import Tenant
from limner_shared.domain.account_views import PrivacyView
from limner_web.auth import actor, may_operate, tenant_id
from limner_web.services import get_services

bp = APIBlueprint("privacy", __name__, url_prefix="/api/v1/privacy", tag="Account")
settings = APIBlueprint("privacy_settings", __name__, url_prefix="/api/v1/privacy", tag="Operation")

MOST_DAYS: Final = 36_500


Days = Annotated[float, Field(gt=0, le=MOST_DAYS, strict=True)]


class PrivacyRequest(BaseModel):
    """The settings, all of them. Null keeps without a limit."""

    model_config = ConfigDict(extra="forbid")
    keep_images_days: Days | None
    keep_prompts_days: Days | None
    keep_jobs_days: Days | None
    share_results: Annotated[bool, Field(strict=True, description="Draw equal requests of the tenant only once.")]
    changeable: bool | None = Field(
        default=None, strict=True, description="Ignored: the answer of `GET` can be sent back."
    )


@bp.get("")
@bp.output(PrivacyView)
def get_privacy() -> PrivacyView:
    """Retrieve privacy settings.

    Returns after how many days the tenant's images, prompts and jobs are deleted, and whether equal requests share a
    result. The operator sets them.
    """
    return _view(tenant_id())


@settings.put("")
@settings.input(PrivacyRequest, arg_name="body")
@settings.output(PrivacyView)
def set_privacy(body: PrivacyRequest) -> PrivacyView:
    """Set privacy settings.

    Replaces those of the tenant `local`; `limner tenants set` changes those of others. What is older than a new
    limit is deleted soon and cannot be brought back. Needs the scope `admin` and the tenant `local`.
    """
    with get_services().database.write() as session:
        name = session.get_one(Tenant, tenant_id()).name
        change_tenant(session, name, body.model_dump(exclude={"changeable"}), actor=actor())
    return _view(tenant_id())


def _view(tenant: str) -> PrivacyView:
    with get_services().database.read() as session:
        row = session.get_one(Tenant, tenant)
        return PrivacyView(
            keep_images_days=row.keep_images_days,
            keep_prompts_days=row.keep_prompts_days,
            keep_jobs_days=row.keep_jobs_days,
            share_results=row.share_results,
            changeable=may_operate(),
        )
