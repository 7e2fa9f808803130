"""Who asks: the tenant of an API key, or the local tenant where no keys are required."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, g, request

from limner_shared.db import ledger, queries
from limner_shared.db.accounts import keys
from limner_shared.errors import Forbidden, Unauthorized
from limner_shared.settings import Settings, is_loopback
from limner_web.services import get_services
from limner_web.strict_json import is_printable_ascii

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")


def install(app: Flask) -> None:
    """Know the tenant before any handler of the API runs."""
    app.before_request(_identify)


def tenant_id() -> str:
    """The tenant of this request."""
    return g.tenant_id


def _identify() -> None:
    services = get_services()
    if not services.settings.keys_required:
        _guard_open_service(services.settings)
    if not request.path.startswith(("/api/", "/v1/")) or request.path in ("/api/v1/openapi.json", "/api/v1/docs"):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # OpenAI's client always sends a key; where none is needed, only one that looks like ours is looked at.
    if request.path.startswith("/v1/") and not services.settings.keys_required and not token.startswith(keys.PREFIX):
        scheme = ""
    if scheme:
        if scheme.lower() != "bearer":
            raise Unauthorized("Send the key as `Authorization: Bearer KEY`.")
        if not is_printable_ascii(token):  # such as a NUL, which no database looks for
            raise Unauthorized("This API key is not valid: it is mistyped.")
        with services.database.read() as session:
            g.tenant_id = keys.authenticate(session, token.strip())
            per_minute = queries.requests_per_minute(session, g.tenant_id)
    elif services.settings.keys_required:
        raise Unauthorized
    else:
        g.tenant_id, per_minute = ledger.LOCAL_TENANT, None
    if per_minute is not None:
        services.rate.count(g.tenant_id, per_minute)


def _guard_open_service(settings: Settings) -> None:
    """Refuse what did not come from this machine, or from the proxy that `public_url` names, or comes from a page of
    another site.

    Where keys are required none of this is needed: no browser adds a key to a request by itself.
    """
    public = urlsplit(settings.public_url)
    if not public.netloc and any(name == "Forwarded" or name.startswith("X-Forwarded-") for name, _ in request.headers):
        raise Forbidden(
            "This request came through a proxy, whose clients would need no API key: require keys"
            " (LIMNER_REQUIRE_KEYS=true), or set LIMNER_PUBLIC_URL if the proxy itself decides who comes in."
        )
    # A page elsewhere that points a name of its own at this machine must not drive an open service.
    named = request.headers.get("Host", request.host)  # as it was sent: what is no name becomes our own in `host`
    host = named.rpartition(":")[0] if named[-1:].isdigit() and ":" in named else named
    if not is_loopback(host) and named != public.netloc:
        raise Forbidden(f"Without API keys this service answers on loopback names only, not {host!r}.")
    if request.method not in SAFE_METHODS and _is_foreign(f"{public.scheme}://{public.netloc}"):
        raise Forbidden("Without API keys, a page of another site may change nothing here.")


def _is_foreign(public_origin: str) -> bool:
    """Whether a browser says that a page of another origin sends this; what is no browser says nothing."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and origin not in (request.host_url.rstrip("/"), public_origin)
