"""Signing in through an identity provider. The session is an API key that expires, in the cookie of all sessions."""

from __future__ import annotations

import hmac
import re
import secrets
from http import HTTPStatus
from typing import Final

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from limner_shared.db.accounts import keys
from limner_shared.db.accounts.secrets import signing_keys
from limner_shared.domain.access import MAX_LABEL_CHARS, Expiry
from limner_shared.domain.sign_in_grants import SCOPES, grant_for
from limner_shared.errors import NotFound
from limner_shared.settings.oidc import parse_grant
from limner_shared.telemetry import get_logger
from limner_web.http import session_cookie
from limner_web.identity_provider import Attempt, Identity, IdentityProvider, ProviderUnavailable, SignInRefused
from limner_web.pages.own_paths import next_path, own_path
from limner_web.pages.session import sign_in_page
from limner_web.services import Services, get_services

log = get_logger(__name__)

bp = APIBlueprint("oidc", __name__, enable_openapi=False, url_prefix="/session/oidc")

ATTEMPT: Final = "limner_sign_in"
"""The cookie of a sign-in that has begun: it binds the provider's answer to the browser that asked."""
ATTEMPT_SECONDS: Final = 600
PURPOSE: Final = "sign-in attempt"
ACTOR: Final = "oidc"
"""Who makes the keys of sessions, for the audit log."""
ERROR: Final = re.compile("[a-z_]{1,40}")
"""A code of the provider's errors; nothing else of the address is logged."""


@bp.after_request
def _keep_private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("")
def begin() -> Response:
    """Redirect the browser to the provider."""
    services, provider = _provider()
    attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64))
    try:
        answer = make_response(redirect(provider.authorization_url(attempt), HTTPStatus.SEE_OTHER))
    except ProviderUnavailable as error:
        return _unavailable(error)
    content = _serializer(services).dumps([attempt.state, attempt.nonce, attempt.verifier, next_path()])
    answer.set_cookie(
        ATTEMPT,
        content,
        max_age=ATTEMPT_SECONDS,
        path=bp.url_prefix,
        secure=session_cookie.is_encrypted(services.settings),
        httponly=True,
        samesite="Lax",
    )
    return answer


@bp.get("/callback")
def complete() -> Response:
    """Sign the browser in, which the provider has redirected back. An attempt is used once, whatever comes of it."""
    services, provider = _provider()
    answer = _answer(services, provider)
    answer.delete_cookie(ATTEMPT, path=bp.url_prefix, httponly=True, samesite="Lax")
    return answer


def _answer(services: Services, provider: IdentityProvider) -> Response:
    begun = _begun(services)
    if begun is None:
        return _refused("attempt_expired", reason="no such attempt")
    attempt, target = begun
    try:
        identity = _identity(provider, attempt)
    except SignInRefused as error:
        return _refused("provider_refused", reason=str(error))
    except ProviderUnavailable as error:
        return _unavailable(error)
    key = _session_key(services, identity)
    if key is None:
        return _refused("no_grant", reason="no rule fits")
    answer = make_response(redirect(target, HTTPStatus.SEE_OTHER))
    session_cookie.write(answer, services.settings, key, stay=False)
    return answer


def _identity(provider: IdentityProvider, attempt: Attempt) -> Identity:
    """The person of the provider's answer. Raises SignInRefused or ProviderUnavailable."""
    sent = request.args
    if sent.get("iss", provider.issuer) != provider.issuer:  # RFC 9207: another provider's answer
        raise SignInRefused("another issuer")
    if "code" not in sent:
        error = sent.get("error", "")
        raise SignInRefused(error if ERROR.fullmatch(error) else "no code")
    return provider.identify(sent["code"], attempt)


def _session_key(services: Services, identity: Identity) -> str | None:
    """A key for a person's session; None if no rule of the operator fits."""
    settings = services.settings
    grant = grant_for(map(parse_grant, settings.oidc_grants), identity.email, identity.values)
    if grant is None:
        return None
    label = f"{keys.SESSION_LABEL}{identity.email or identity.subject}"[:MAX_LABEL_CHARS]
    expiry = Expiry(settings.oidc_session_hours * 3600, is_relative=True)
    scopes = SCOPES[grant.scope]
    with services.database.write() as session:
        keys.delete_ended_sessions(session, label)
        return keys.create(session, grant.tenant, label, scopes=scopes, expiry=expiry, actor=ACTOR, cell=settings.cell)


def _begun(services: Services) -> tuple[Attempt, str] | None:
    """The attempt that this browser has begun, and the path to go to; None if the answer is to another."""
    try:
        content = _serializer(services).loads(request.cookies.get(ATTEMPT, ""), max_age=ATTEMPT_SECONDS)
        state, nonce, verifier, target = map(str, content)
    except (BadSignature, ValueError, TypeError):
        return None
    if not hmac.compare_digest(state.encode(), request.args.get("state", "").encode()):
        return None
    return Attempt(state, nonce, verifier), own_path(target)


def _serializer(services: Services) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(signing_keys(services.settings, services.database, PURPOSE), salt=PURPOSE)


def _provider() -> tuple[Services, IdentityProvider]:
    """The provider. Raises NotFound without one."""
    services = get_services()
    if services.identity_provider is None:
        raise NotFound("This service has no identity provider.")
    return services, services.identity_provider


def _refused(refusal: str, reason: str) -> Response:
    log.warning("sign-in refused", refusal=refusal, reason=reason)
    return make_response(sign_in_page(refusal=refusal), HTTPStatus.FORBIDDEN)


def _unavailable(error: ProviderUnavailable) -> Response:
    log.warning("identity provider unavailable", reason=str(error))
    return make_response(sign_in_page(refusal="provider_unavailable"), HTTPStatus.BAD_GATEWAY)
