"""Who asks: the tenant of an API key, or the local tenant where no keys are required."""

from __future__ import annotations

from flask import Flask, g, request

from limner_shared import keys, ledger, queries
from limner_shared.errors import Forbidden, Unauthorized
from limner_shared.settings import is_loopback
from limner_web.services import services


def install(app: Flask) -> None:
    """Know the tenant before any handler of the API runs."""
    app.before_request(_identify)


def tenant_id() -> str:
    """The tenant of this request."""
    return g.tenant_id


def _identify() -> None:
    held = services()
    if not held.settings.keys_required:
        # A page elsewhere that points a name of its own at this machine must not drive an open service.
        host = request.host.rpartition(":")[0] if request.host[-1:].isdigit() and ":" in request.host else request.host
        if not is_loopback(host):
            raise Forbidden(f"Without API keys this service answers on loopback names only, not {host!r}.")
    if not request.path.startswith(("/api/", "/v1/")) or request.path in ("/api/v1/openapi.json", "/api/v1/docs"):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # OpenAI's client always sends a key; where none is needed, only one that looks like ours is looked at.
    if request.path.startswith("/v1/") and not held.settings.keys_required and not token.startswith(keys.PREFIX):
        scheme = ""
    if scheme:
        if scheme.lower() != "bearer":
            raise Unauthorized("Send the key as `Authorization: Bearer KEY`.")
        with held.database.read() as session:
            g.tenant_id = keys.authenticate(session, token.strip())
            per_minute = queries.requests_per_minute(session, g.tenant_id)
    elif held.settings.keys_required:
        raise Unauthorized
    else:
        g.tenant_id, per_minute = ledger.LOCAL_TENANT, None
    if per_minute is not None:
        held.rate.count(g.tenant_id, per_minute)
