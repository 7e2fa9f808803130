"""The identity provider at which people sign in: OpenID Connect, authorization code flow with PKCE (RFC 7636).

The ID token is validated as OpenID Connect Core 1.0, section 3.1.3.7, says, by Authlib and joserfc.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final, Self, cast
from urllib.parse import quote, urlencode, urlsplit

import httpx

from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings, is_loopback

CALLBACK: Final = "/session/oidc/callback"
ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures of ID tokens: only with a key pair, so that neither `none` nor the public key as a secret is accepted."""
TIMEOUT_SECONDS: Final = 10.0
METADATA_SECONDS: Final = 3600.0
KEYS_SECONDS: Final = 60.0
"""The provider's keys are fetched again for an unknown one, at most once in this time."""
LEEWAY_SECONDS: Final = 60
"""By how much the clocks may differ."""
MAX_ANSWER_BYTES: Final = 1 << 20
ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderUnavailable(Exception):
    """The provider does not answer, or not as the specification says."""


class SignInRefused(Exception):
    """The provider's answer proves no identity."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one browser's sign-in must prove at its end."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A person: the provider's id, the e-mail address if the provider has verified it, and the values of the claim."""

    subject: str
    email: str | None
    values: frozenset[str]


class IdentityProvider:
    """Talks to the provider. Its metadata and keys are fetched when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError if Authlib is not installed, or the settings do not fit."""
        if not settings.public_url or not settings.keys_required:
            raise ConfigurationError("LIMNER_OIDC_ISSUER needs LIMNER_PUBLIC_URL and LIMNER_REQUIRE_KEYS=true.")
        if settings.cell:  # the front door leads by keys: it would make the session in any of the cells
            raise ConfigurationError(
                "LIMNER_OIDC_ISSUER does not go with LIMNER_CELL: the front door cannot know the cell of a person who"
                " has not signed in yet. Unset one of them; in cells, people sign in with API keys."
            )
        try:
            self._claims: Any = import_module("authlib.oidc.core").CodeIDToken  # an extra; Authlib has no types
            self._jwt: Any = import_module("joserfc.jwt")
            self._key_set: Any = import_module("joserfc.jwk").KeySet
            errors: Any = import_module("joserfc.errors")
        except ImportError as error:
            message = "LIMNER_OIDC_ISSUER is set, but the extra oidc is not installed: pip install 'limner[oidc]'."
            raise ConfigurationError(message) from error
        self._bad_token: type[Exception] = errors.JoseError
        self._unknown_key: type[Exception] = errors.InvalidKeyIdError
        self._settings = settings
        self._secret = _secret(settings)
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=True)
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0
        self._keys: Any = None
        self._keys_at = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The provider that the settings name, or None. Raises ConfigurationError."""
        return cls(settings) if settings.oidc_issuer else None

    @property
    def issuer(self) -> str:
        """The provider's name for itself."""
        return self._settings.oidc_issuer

    @property
    def callback_url(self) -> str:
        """Where the provider sends browsers back to."""
        return self._settings.public_url + CALLBACK

    def authorization_url(self, attempt: Attempt) -> str:
        """The address at the provider where a person signs in. Raises ProviderUnavailable."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self.callback_url,
            "scope": self._settings.oidc_scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(self._discovered()["authorization_endpoint"])
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    def identify(self, code: str, attempt: Attempt) -> Identity:
        """Exchange a code for a person's identity. Raises ProviderUnavailable or SignInRefused."""
        answer = self._exchange(code, attempt)
        claims = self._validated(answer, attempt)
        is_verified = claims.get("email_verified") in (True, "true")
        email = claims.get("email")
        return Identity(
            subject=str(claims["sub"]),
            email=email if is_verified and isinstance(email, str) and "@" in email else None,
            values=_values(claims, self._settings.oidc_claim),
        )

    def _exchange(self, code: str, attempt: Attempt) -> Mapping[str, Any]:
        """The answer of the token endpoint."""
        metadata, client_id = self._discovered(), self._settings.oidc_client_id
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.callback_url}
        form["code_verifier"] = attempt.verifier
        auth = None
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self._secret and "client_secret_basic" in methods:
            auth = (quote(client_id, safe=""), quote(self._secret, safe=""))  # RFC 6749, section 2.3.1
        else:
            form |= {"client_id": client_id} | ({"client_secret": self._secret} if self._secret else {})
        return self._call("POST", metadata["token_endpoint"], data=form, auth=auth)

    def _validated(self, answer: Mapping[str, Any], attempt: Attempt) -> Mapping[str, Any]:
        """The claims of the ID token in an answer of the token endpoint. Raises SignInRefused."""
        text, client_id = answer.get("id_token"), self._settings.oidc_client_id
        try:
            token = self._decoded(text)
            options = {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": client_id}}
            expected = {"nonce": attempt.nonce, "client_id": client_id, "access_token": answer.get("access_token")}
            claims = self._claims(token.claims, token.header, options, expected)
            claims.validate(leeway=LEEWAY_SECONDS)
        except (self._bad_token, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SignInRefused(type(error).__name__) from error
        return cast("Mapping[str, Any]", claims)

    def _decoded(self, text: object) -> Any:
        """A token whose signature is right. The keys are fetched again if it names an unknown one."""
        try:
            return self._jwt.decode(text, self._fetched_keys(), algorithms=ALGORITHMS)
        except self._unknown_key:
            return self._jwt.decode(text, self._fetched_keys(renew=True), algorithms=ALGORITHMS)

    def _discovered(self) -> Mapping[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0)."""
        with self._lock:
            if time.monotonic() < self._metadata_until:
                return self._metadata
        found = self._call("GET", self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.issuer:
            raise ProviderUnavailable("its metadata name another issuer")
        if not all(isinstance(found.get(name), str) and _is_safe(found[name]) for name in ENDPOINTS):
            raise ProviderUnavailable("its metadata lack an endpoint with https")
        with self._lock:
            self._metadata, self._metadata_until = dict(found), time.monotonic() + METADATA_SECONDS
            return self._metadata

    def _fetched_keys(self, *, renew: bool = False) -> Any:
        with self._lock:
            is_fresh = time.monotonic() < self._keys_at + (KEYS_SECONDS if renew else METADATA_SECONDS)
            if self._keys is not None and is_fresh:
                return self._keys
        keys = self._key_set.import_key_set(self._call("GET", self._discovered()["jwks_uri"]))
        with self._lock:
            self._keys, self._keys_at = keys, time.monotonic()
        return keys

    def _call(self, method: str, url: str, **arguments: Any) -> Mapping[str, Any]:
        """The JSON object of an answer. Raises SignInRefused for an error of the protocol, else ProviderUnavailable."""
        try:
            answer = self._http.request(method, url, headers={"Accept": "application/json"}, **arguments)
            body: object = answer.json() if len(answer.content) <= MAX_ANSWER_BYTES else None
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderUnavailable(type(error).__name__) from error
        content = cast("dict[str, Any]", body) if isinstance(body, dict) else dict[str, Any]()
        if method == "POST" and answer.status_code == HTTPStatus.BAD_REQUEST and "error" in content:
            raise SignInRefused(str(content["error"])[:100])
        if not answer.is_success or not content:
            raise ProviderUnavailable(f"it answered {answer.status_code}")
        return content


def _secret(settings: Settings) -> str:
    file = settings.oidc_client_secret_file
    if file is None:
        return settings.oidc_client_secret
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"LIMNER_OIDC_CLIENT_SECRET_FILE cannot be read: {error}") from error


def _is_safe(url: str) -> bool:
    """Whether what is sent to this address is safe from readers and changes on its way."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _values(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """The values of a claim: a text or a list of them; a path with points leads into nested claims."""
    found: object = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = cast("Mapping[str, object]", found).get(part) if isinstance(found, dict) else None
    many = cast("list[object]", found) if isinstance(found, list) else [found]
    return frozenset(each for each in many if isinstance(each, str))
