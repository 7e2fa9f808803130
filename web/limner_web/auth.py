"""Authentication: the tenant of an API key, or the local tenant of a service that requires no keys."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, g, request

from limner_shared.db import ledger, queries
from limner_shared.db.accounts import audit, keys
from limner_shared.domain.access import Scope, require
from limner_shared.errors import Forbidden, OperatorRequired, Unauthorized
from limner_shared.settings import Settings, is_loopback
from limner_web.services import get_services
from limner_web.serving.operator_port import is_operator
from limner_web.strict_json import is_printable_ascii

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
DOORS: Final = ("/v1/", "/sdapi/", "/replicate/")
"""The paths of clients that were written for other services."""
PROTECTED: Final = ("/api/", *DOORS)
BASIC: Final = ("/sdapi/",)
"""The paths whose clients know only Basic authentication: the password is the key."""
ADMIN_BLUEPRINTS: Final = ("keys", "audit", "webhook_endpoints", "openai_webhook_endpoints", "webhook_secret", "pauses")
OPERATOR_BLUEPRINTS: Final = ("pauses",)
"""What concerns all tenants: only keys of the operator's own tenant may call it."""
ANY_SCOPE: Final = ("keys.rotate_key",)
"""Endpoints that a key may call whatever its scopes: an owner rotates its key."""


def install(app: Flask) -> None:
    """Identify the tenant of each API request before its handler runs."""
    app.before_request(_identify)


def tenant_id() -> str:
    """The tenant of this request."""
    return g.tenant_id


def key_id() -> str | None:
    """The id of this request's key, or None without a key."""
    return g.key_id


def actor() -> str:
    """Who makes this request, for the audit log."""
    return g.key_id or audit.ANONYMOUS


def _identify() -> None:
    """Set `g.tenant_id`, `g.key_id` and `g.requests_per_minute`, the tenant's limit or None.

    Raises Unauthorized, Forbidden, OperatorRequired, or the error that names a scope which the key does not have.
    """
    services = get_services()
    if is_operator(request.environ):
        return
    if not services.settings.keys_required:
        _guard_open_service(services.settings)
    if not request.path.startswith(PROTECTED) or request.path in ("/api/v1/openapi.json", "/api/v1/docs"):
        return
    scheme, token = _credential(services.settings)
    # These clients always send a credential. Where none is required, only a token that looks like our key is checked.
    if request.path.startswith(DOORS) and not services.settings.keys_required and not token.startswith(keys.PREFIX):
        scheme = ""
    if scheme:
        if scheme != "bearer":
            raise Unauthorized("Send the key as `Authorization: Bearer KEY`.")
        if not is_printable_ascii(token):  # a NUL, for example, cannot be used in a query
            raise Unauthorized("This API key is not valid: it contains characters that no key has.")
        with services.database.read() as session:
            caller = keys.authenticate(session, token.strip())
            g.requests_per_minute = queries.requests_per_minute(session, caller.tenant_id)
        g.tenant_id, g.key_id = caller.tenant_id, caller.key_id
        if caller.is_use_due:
            services.key_usage.note(caller.key_id)
        _require_scope(caller.scopes)
    elif services.settings.keys_required:
        raise Unauthorized
    else:
        g.tenant_id, g.key_id, g.requests_per_minute = ledger.LOCAL_TENANT, None, None
    if request.blueprint in OPERATOR_BLUEPRINTS and g.tenant_id != ledger.LOCAL_TENANT:
        raise OperatorRequired


def _credential(settings: Settings) -> tuple[str, str]:
    """The scheme in lower case and the token of this request; a Basic password counts as a bearer token on some paths.

    Raises Forbidden for a change with a Basic credential that a browser sends for a page of another site: browsers
    repeat such credentials by themselves, unlike bearer tokens.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic" or not request.path.startswith(BASIC):
        return scheme.lower(), token
    if request.method not in SAFE_METHODS and _is_foreign(_origin(settings)):
        raise Forbidden("Pages of other sites cannot change anything with a browser's stored password.")
    basic = request.authorization
    return "bearer", (basic.password or "") if basic is not None else ""


def _require_scope(granted: frozenset[Scope]) -> None:
    """Raise the error that names the scope which this request needs and its key does not have."""
    if request.endpoint in ANY_SCOPE:
        return
    if request.blueprint in ADMIN_BLUEPRINTS:
        require(granted, Scope.ADMIN)
    else:
        require(granted, Scope.READ if request.method in SAFE_METHODS else Scope.SUBMIT)


def _guard_open_service(settings: Settings) -> None:
    """Raise Forbidden for a request that comes neither from this machine nor through the proxy that `public_url` names,
    and for one that changes something from a page of another site.

    A service that requires keys needs no such check: no browser adds a key to a request by itself.
    """
    public = urlsplit(settings.public_url)
    if not public.netloc and any(name == "Forwarded" or name.startswith("X-Forwarded-") for name, _ in request.headers):
        raise Forbidden(
            "This request came through a proxy, but the service is open to every client. Require API keys"
            " (LIMNER_REQUIRE_KEYS=true), or set LIMNER_PUBLIC_URL if the proxy controls access itself."
        )
    # DNS rebinding: a page of another site may point its own host name at this machine.
    sent_host = request.headers.get("Host", request.host)  # werkzeug's `host` replaces an invalid name
    host = sent_host.rpartition(":")[0] if sent_host[-1:].isdigit() and ":" in sent_host else sent_host
    if not is_loopback(host) and sent_host != public.netloc:
        raise Forbidden(
            f"A service without API keys answers only on loopback host names, not on {host!r}. Use localhost, or set"
            " LIMNER_REQUIRE_KEYS=true or LIMNER_PUBLIC_URL."
        )
    if request.method not in SAFE_METHODS and _is_foreign(_origin(settings)):
        raise Forbidden(
            "A service without API keys accepts no changes from pages of other sites. Use its own pages or a program,"
            " or require API keys (LIMNER_REQUIRE_KEYS=true)."
        )


def _origin(settings: Settings) -> str:
    """The origin at which a proxy serves this service, or `://` without one."""
    public = urlsplit(settings.public_url)
    return f"{public.scheme}://{public.netloc}"


def _is_foreign(public_origin: str) -> bool:
    """Whether a browser reports that a page of another origin sends this request. Other clients report nothing."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and origin not in (request.host_url.rstrip("/"), public_origin)
