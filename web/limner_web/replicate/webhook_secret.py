"""The secret that signs the webhooks of predictions, where Replicate's client looks for it."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, jsonify

from limner_shared.db.webhooks import endpoints
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("replicate_webhook_secret", __name__, url_prefix="/replicate/v1/webhooks", enable_openapi=False)


@bp.get("/default/secret")
def get_secret() -> Response:
    """Retrieve the tenant's secret. Needs the scope `admin`, as `GET /api/v1/webhook_secret` does."""
    with get_services().database.write() as session:
        answer = jsonify({"key": endpoints.current_secret(session, tenant_id())})
    answer.headers["Cache-Control"] = "no-store"
    return answer
