"""Authentication: the tenant of an API key, or the local tenant of a service that requires no keys.

A program sends its key in the header `Authorization`, a browser in a cookie.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import Flask, g, request

from limner_shared.db import ledger
from limner_shared.db.accounts import audit, keys
from limner_shared.domain import cells
from limner_shared.domain.access import Scope, require
from limner_shared.errors import Forbidden, OperatorRequired, Unauthorized
from limner_shared.settings import Settings, is_loopback
from limner_web.http import route_rules, session_cookie
from limner_web.http.cross_site import SAFE_METHODS, refuse_foreign
from limner_web.http.proxy_marks import mark_of_proxy
from limner_web.http.route_rules import DOORS, Access
from limner_web.http.strict_json import is_printable_ascii
from limner_web.services import get_services
from limner_web.serving.operator_port import is_operator

BASIC: Final = ("/sdapi/", "/controlnet/")
"""The paths whose clients know only Basic authentication: the password is the key."""
PAGES: Final = (Access.PAGE, Access.PAGE_WITH_JOBS)


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


def may_operate() -> bool:
    """Whether this request of the API has the rights of the operator."""
    return g.is_admin and g.tenant_id == ledger.LOCAL_TENANT


def is_signed_in() -> bool:
    """Whether this request's tenant is known; a page of a service that requires keys may be requested without one."""
    return "tenant_id" in g


def identify_by_key(key: str) -> frozenset[Scope]:
    """Make this request one of the key's tenant, and return the key's scopes. Raises Unauthorized."""
    services = get_services()
    if not is_printable_ascii(key):  # a NUL, for example, cannot be used in a query
        raise Unauthorized("This API key is not valid: it contains characters that no key has.")
    with services.database.read() as session:
        caller = keys.authenticate(session, key.strip())
    g.tenant_id, g.key_id, g.requests_per_minute = caller.tenant_id, caller.key_id, caller.requests_per_minute
    if caller.is_use_due:
        services.key_usage.note(caller.key_id)
    return caller.scopes


def _identify() -> None:
    """Set `g.tenant_id`, `g.key_id`, `g.requests_per_minute`, the limit or None, and for the API `g.is_admin`.

    Raises Unauthorized, Forbidden, OperatorRequired, or the error that names a scope which the key does not have.
    """
    if is_operator(request.environ):
        return
    settings = get_services().settings
    if not settings.keys_required:
        _guard_open_service(settings)
    access = route_rules.of_request().access
    if access in PAGES:
        _identify_page(settings, access)
    elif access is not Access.PUBLIC:
        _identify_client(settings, access)


def _identify_client(settings: Settings, access: Access) -> None:
    """Identify the tenant by the key in the header, or by the cookie of a signed-in browser."""
    key = _credential(settings)
    if key is None and settings.keys_required and request.path.startswith("/api/"):
        key = session_cookie.read()
        if key is not None:
            refuse_foreign(settings)
    if key is not None:
        scopes = identify_by_key(key)
        _require_scope(scopes, access)
        g.is_admin = Scope.ADMIN in scopes
    elif settings.keys_required:
        raise Unauthorized
    else:
        _be_local()
        g.is_admin = True
    if access is Access.OPERATOR and g.tenant_id != ledger.LOCAL_TENANT:
        raise OperatorRequired


def _identify_page(settings: Settings, access: Access) -> None:
    """Identify the tenant by the cookie. Without a valid one, a page leads to the sign-in page."""
    if not settings.keys_required:
        _be_local()
        return
    refuse_foreign(settings)
    key = session_cookie.read()
    if key is None:
        return
    try:
        scopes = identify_by_key(key)
    except Unauthorized:
        return
    if request.method not in SAFE_METHODS or access is Access.PAGE_WITH_JOBS:
        _require_scope(scopes, access)


def _credential(settings: Settings) -> str | None:
    """The key in the header `Authorization`, or None without one; a Basic password counts as a key on some paths.

    Raises Unauthorized for another scheme, and Forbidden for a change with a Basic credential that a browser sends for
    a page of another site: browsers repeat such credentials by themselves, unlike bearer tokens.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_basic = scheme.lower() == "basic" and request.path.startswith(BASIC)
    if is_basic:
        refuse_foreign(settings, "Pages of other sites cannot change anything with a browser's stored password.")
        basic = request.authorization
        token = (basic.password or "") if basic is not None else ""
    # These clients always send a credential. Where none is required, only a token that looks like our key is checked.
    if request.path.startswith(DOORS) and not settings.keys_required and not token.startswith(cells.KEY_PREFIX):
        return None
    if scheme and not is_basic and scheme.lower() != "bearer":
        raise Unauthorized("Send the key as `Authorization: Bearer KEY`.")
    return token if scheme else None


def _be_local() -> None:
    g.tenant_id, g.key_id, g.requests_per_minute = ledger.LOCAL_TENANT, None, None


def _require_scope(granted: frozenset[Scope], access: Access) -> None:
    """Raise the error that names the scope which this request needs and its key does not have."""
    if access in (Access.ADMIN, Access.OPERATOR):
        require(granted, Scope.ADMIN)
    elif access is not Access.ANY_KEY:
        require(granted, Scope.READ if request.method in SAFE_METHODS else Scope.SUBMIT)


def _guard_open_service(settings: Settings) -> None:
    """Raise Forbidden for a request that comes neither from this machine nor through the proxy that `public_url` names,
    and for one that changes something from a page of another site.

    A service that requires keys needs no such check: no browser adds a key to a request by itself.
    """
    public = urlsplit(settings.public_url)
    if not public.netloc and (mark := mark_of_proxy(request)):
        raise Forbidden(
            f"This request came through a proxy, as {mark} shows, but the service is open to every client. Require API"
            " keys (LIMNER_REQUIRE_KEYS=true), or set LIMNER_PUBLIC_URL if the proxy controls access itself."
        )
    # DNS rebinding: a page of another site may point its own host name at this machine.
    sent_host = request.headers.get("Host", request.host)  # werkzeug's `host` replaces an invalid name
    host = sent_host.rpartition(":")[0] if sent_host[-1:].isdigit() and ":" in sent_host else sent_host
    if not is_loopback(host) and sent_host != public.netloc:
        raise Forbidden(
            f"A service without API keys answers only on loopback host names, not on {host!r}. Use localhost, or set"
            " LIMNER_REQUIRE_KEYS=true or LIMNER_PUBLIC_URL."
        )
    refuse_foreign(
        settings,
        "A service without API keys accepts no changes from pages of other sites. Use its own pages or a program, or"
        " require API keys (LIMNER_REQUIRE_KEYS=true).",
    )
