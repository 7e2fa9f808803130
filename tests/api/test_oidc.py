"""People sign in through an identity provider; whatever proves no identity is refused."""

from __future__ import annotations

import hmac
import json
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import ValidationError
from sqlalchemy import select, update

from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.tables import ApiKey, AuditEntry, Tenant
from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings
from limner_shared.settings.oidc import parse_grant
from limner_web.identity_provider import IdentityProvider
from tests.api.clients import ApiClient, App
from tests.api.identity_provider import CLIENT, SECRET, Provider, running_provider
from tests.api.test_keys import make_key

BEGIN, CALLBACK = "/session/oidc", "/session/oidc/callback"
GRANTS = ("admins=local:admin", "viewers=acme:read", "@acme.example=acme")
PUBLIC = "http://localhost"


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.claims = {"email": "ada@acme.example", "email_verified": True}
    shared_provider.token = None
    shared_provider.header = {"alg": "RS256", "kid": "one"}
    shared_provider.published[:] = [shared_provider.key]
    return shared_provider


@pytest.fixture
def browser(make_app: Callable[..., App], provider: Provider) -> ApiClient:
    """The client of a service whose people sign in at the provider. It keeps cookies as a browser does."""
    client = {"oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_grants": GRANTS, "oidc_claim": "r.groups"}
    return make_app(require_keys=True, public_url=PUBLIC, oidc_issuer=provider.url, **client).test_client()


def sign_in(browser: ApiClient, provider: Provider, **changes: Any) -> Any:
    """The answer to a browser that comes back from the provider; `changes` are of what the provider sends it with."""
    begun = browser.get(f"{BEGIN}?next=/gallery")
    assert begun.status_code == 303
    return browser.get(CALLBACK, query_string=provider.sign_in(begun.location) | changes)


def assert_refused(browser: ApiClient, answer: Any) -> None:
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert browser.get_cookie("limner_key") is None
    assert browser.get("/api/v1/jobs").status_code == 401


def test_a_person_signs_in_draws_and_signs_out(browser: ApiClient, provider: Provider, database: Database):
    assert f'href="{BEGIN}?next=/gallery"' in browser.get("/sign-in?next=/gallery").text
    answer = sign_in(browser, provider)
    assert (answer.status_code, answer.location) == (303, "/gallery")
    cookie = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith("limner_key"))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert answer.headers["Cache-Control"] == "no-store"
    assert browser.get_cookie("limner_sign_in", path=BEGIN) is None
    assert browser.post("/api/v1/jobs", json={"prompt": "x"}).status_code == 202
    assert browser.get("/api/v1/keys").json["code"] == "admin_scope_required"
    with database.read() as session:
        key = session.scalars(select(ApiKey)).one()
        assert (key.label, key.expires_at is not None) == ("oidc:ada@acme.example", True)
        assert session.scalar(select(Tenant.name).where(Tenant.id == key.tenant_id)) == "acme"
    stolen = browser.get_cookie("limner_key")
    assert stolen is not None
    assert browser.post("/session/end").status_code == 303
    browser.set_cookie("limner_key", stolen.value)
    assert browser.get("/api/v1/jobs").status_code == 401
    with database.read() as session:
        entries = session.execute(select(AuditEntry.action, AuditEntry.actor, AuditEntry.subject)).all()
    assert entries == [("key_created", "oidc", key.id), ("key_revoked", key.id, key.id)]


def test_the_keys_of_ended_sessions_are_deleted_at_the_next_sign_in(
    browser: ApiClient, provider: Provider, database: Database
):
    with database.write() as session:
        keys.create(session, "acme", "oidc:bob@acme.example")
    for _ in range(3):
        sign_in(browser, provider)
        with database.write() as session:
            session.execute(update(ApiKey).values(expires_at=1.0))
    sign_in(browser, provider)
    with database.read() as session:
        found = session.scalars(select(ApiKey.label)).all()
    assert sorted(found) == ["oidc:ada@acme.example", "oidc:bob@acme.example"]


def test_signing_out_leaves_an_api_key_valid(browser: ApiClient, database: Database):
    headers = make_key(database, "ours")
    browser.post("/session", data={"key": headers["Authorization"].removeprefix("Bearer ")})
    browser.post("/session/end")
    assert browser.get("/api/v1/jobs", headers=headers).status_code == 200


def test_the_request_is_bound_by_state_nonce_and_pkce(browser: ApiClient):
    first, second = (dict(parse_qsl(urlsplit(browser.get(BEGIN).location).query)) for _ in range(2))
    assert (first["response_type"], first["code_challenge_method"]) == ("code", "S256")
    assert first["redirect_uri"] == PUBLIC + CALLBACK
    assert all(first[name] != second[name] for name in ("state", "nonce", "code_challenge"))


@pytest.mark.parametrize(
    ("claims", "scope", "tenant"),
    [
        ({"r": {"groups": ["staff", "admins"]}}, "admin read submit", "local"),
        ({"r": {"groups": "viewers"}, "email": None}, "read", "acme"),
        ({"email": "Bob@ACME.example", "email_verified": "true"}, "read submit", "acme"),
    ],
)
def test_the_first_rule_that_fits_gives_tenant_and_scopes(
    browser: ApiClient, provider: Provider, database: Database, claims: Any, scope: str, tenant: str
):
    provider.claims |= claims
    assert sign_in(browser, provider).status_code == 303
    with database.read() as session:
        query = select(ApiKey.scopes, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id)
        assert tuple(session.execute(query).one()) == (scope, tenant)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": int(time.time()) - 3600},
        {"nonce": "another"},
        {"sub": None},
        {"nonce": None},
        {"iat": None},
        {"at_hash": "AAAA"},
        {"email_verified": False},
        {"email_verified": None},
        {"email": "ada@acme.example.evil.example"},
        {"email": "ada@evil.example"},
        {"email": ["ada@acme.example"]},
        {"email": None, "r": {"groups": ["@acme.example"]}},
        {"email": None, "r": ["groups"]},
    ],
)
def test_a_token_that_proves_no_identity_is_refused(browser: ApiClient, provider: Provider, claims: dict[str, Any]):
    provider.claims |= claims
    assert_refused(browser, sign_in(browser, provider))


def hand_made(header: dict[str, str], claims: dict[str, Any], secret: bytes | None) -> str:
    """A token as joserfc refuses to make it: without a signature, or signed with a public key as the secret."""
    signed = b".".join(urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, claims))
    signature = b"" if secret is None else hmac.digest(secret, signed, "sha256")
    return f"{signed.decode()}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_token_of_another_key_or_with_a_weak_signature_is_refused(browser: ApiClient, provider: Provider):
    other = RSAKey.generate_key(2048, {"kid": "one"})
    public = provider.key.as_pem(private=False)
    tokens: list[Callable[[dict[str, Any]], str]] = [
        lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, other),
        lambda claims: jwt.encode({"alg": "RS256", "kid": "unknown"}, claims, other),
        lambda claims: hand_made({"alg": "HS256", "kid": "one"}, claims, public),
        lambda claims: hand_made({"alg": "none"}, claims, None),
        lambda _: "nonsense",
        lambda _: "a.b.c",
    ]
    for make in tokens:
        provider.token = make
        assert_refused(browser, sign_in(browser, provider))


def test_a_new_key_of_the_provider_is_fetched(browser: ApiClient, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    assert sign_in(browser, provider).status_code == 303
    monkeypatch.setattr("limner_web.identity_provider.KEYS_SECONDS", 0)
    monkeypatch.setattr(provider, "key", RSAKey.generate_key(2048, {"kid": "two"}))
    provider.published.append(provider.key)
    provider.header = {"alg": "RS256", "kid": "two"}
    assert sign_in(browser, provider).status_code == 303


@pytest.mark.parametrize("changes", [{"state": "another"}, {"state": ""}, {"iss": "https://evil.example"}])
def test_an_answer_to_another_browsers_attempt_is_refused(browser: ApiClient, provider: Provider, changes: Any):
    assert_refused(browser, sign_in(browser, provider, **changes))


def test_an_answer_is_used_once(browser: ApiClient, provider: Provider):
    begun = browser.get(BEGIN)
    attempt = browser.get_cookie("limner_sign_in", path=BEGIN)
    assert attempt is not None
    sent = provider.sign_in(begun.location)
    assert browser.get(CALLBACK, query_string=sent).status_code == 303
    browser.delete_cookie("limner_key")
    assert_refused(browser, browser.get(CALLBACK, query_string=sent))
    browser.set_cookie("limner_sign_in", attempt.value, path=BEGIN)
    assert_refused(browser, browser.get(CALLBACK, query_string=sent))


def test_an_attempt_expires_and_cannot_be_forged(
    browser: ApiClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
):
    for value in ("", "nonsense", "WzEsMiwzLDRd.aaaa.bbbb"):
        sent = provider.sign_in(browser.get(BEGIN).location)
        browser.set_cookie("limner_sign_in", value, path=BEGIN)
        assert_refused(browser, browser.get(CALLBACK, query_string=sent))
    monkeypatch.setattr("limner_web.pages.oidc.ATTEMPT_SECONDS", -1)
    assert_refused(browser, sign_in(browser, provider))


def test_a_provider_that_refuses_or_is_down_is_told_in_words(browser: ApiClient, provider: Provider):
    state = provider.sign_in(browser.get(BEGIN).location)["state"]
    refused = browser.get(CALLBACK, query_string={"error": "access_denied", "state": state})
    assert_refused(browser, refused)
    browser.application.extensions["limner"].identity_provider._settings.__dict__["oidc_issuer"] = "http://127.0.0.1:9"
    browser.application.extensions["limner"].identity_provider._metadata_until = 0
    down = browser.get(BEGIN)
    assert (down.status_code, "does not answer" in down.text) == (502, True)


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_signing_in_never_leads_to_another_site(browser: ApiClient, provider: Provider, target: str):
    begun = browser.get(BEGIN, query_string={"next": target})
    assert browser.get(CALLBACK, query_string=provider.sign_in(begun.location)).location == "/"


def test_a_service_without_a_provider_has_no_such_page(make_app: Callable[..., App]):
    browser = make_app(require_keys=True).test_client()
    assert browser.get(BEGIN).status_code == browser.get(CALLBACK).status_code == 404
    assert BEGIN not in browser.get("/sign-in").text


ISSUER: dict[str, Any] = {"oidc_issuer": "https://id.example", "oidc_client_id": "x", "oidc_grants": "staff=acme"}


@pytest.mark.parametrize(
    "fields",
    [
        {"oidc_client_id": ""},
        {"oidc_grants": ""},
        {"oidc_grants": "staff"},
        {"oidc_grants": "staff=acme:owner"},
        {"oidc_issuer": ""},
        {"oidc_issuer": "http://id.example"},
        {"oidc_issuer": "https://id.example?x"},
        {"oidc_client_secret": "x", "oidc_client_secret_file": "/x"},
        {"oidc_scopes": "email"},
        {"oidc_session_hours": 0},
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, Any]):
    with pytest.raises(ValidationError):
        Settings(**ISSUER | fields)


def test_a_missing_extra_secret_file_or_address_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    keys: dict[str, Any] = {"require_keys": True, "public_url": PUBLIC}
    with pytest.raises(ConfigurationError, match="LIMNER_PUBLIC_URL"):
        IdentityProvider(Settings(**ISSUER))
    with pytest.raises(ConfigurationError, match="SECRET_FILE"):
        IdentityProvider(Settings(**ISSUER, **keys, oidc_client_secret_file=tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "authlib.oidc.core", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'limner\[oidc\]'"):
        IdentityProvider(Settings(**ISSUER, **keys))


def test_a_cell_behind_a_front_door_which_cannot_know_the_persons_cell_is_refused_at_the_start(
    make_app: Callable[..., App],
):
    with pytest.raises(ConfigurationError, match="LIMNER_CELL"):
        make_app(require_keys=True, public_url=PUBLIC, cell="a", **ISSUER)


def test_a_rule_without_a_scope_means_submit():
    assert parse_grant("@ACME.example=acme").scope == "submit"
    assert parse_grant("@ACME.example=acme").who == "@acme.example"
