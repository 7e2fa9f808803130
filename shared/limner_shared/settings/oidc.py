"""The settings of signing in through an identity provider; `Settings` includes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

RULE: Final = re.compile(r"(?P<who>[^=,]{1,200})=(?P<tenant>[^=:,]{1,100})(:(?P<scope>read|submit|admin))?")


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule: `who` is `@domain` of a verified e-mail address in lower case, or a value of the provider's claim."""

    who: str
    tenant: str
    scope: str


def parse_grant(rule: str) -> Grant:
    """Read `WHO=TENANT:SCOPE`; without a scope it is `submit`. Raises ValueError for another form."""
    found = RULE.fullmatch(rule)
    if found is None:
        raise ValueError(f"{rule!r} is no rule: use WHO=TENANT:SCOPE with the scope read, submit or admin.")
    who = found["who"].strip()
    return Grant(who.lower() if who.startswith("@") else who, found["tenant"].strip(), found["scope"] or "submit")


class OidcSettings(BaseSettings):
    """OpenID Connect on the pages."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    oidc_issuer: str = Field(
        default="", pattern=r"^(https://[^/?#]+[^?#]*|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?[^?#]*)?$"
    )
    """The identity provider at which people sign in on the pages, such as https://id.example/realms/main; empty: they
    sign in with API keys only. Needs the extra `oidc`, `public_url` and API keys."""
    oidc_client_id: str = ""
    """The name under which the provider knows this service."""
    oidc_client_secret: str = Field(default="", repr=False)
    """The secret of that client; empty for a public client."""
    oidc_client_secret_file: Path | None = None
    """A file with that secret, instead."""
    oidc_scopes: str = "openid email profile"
    """The scopes that are requested, separated by spaces."""
    oidc_claim: str = "groups"
    """The claim of the ID token with a person's groups or roles; a path such as `realm_access.roles` if nested."""
    oidc_grants: Annotated[tuple[str, ...], NoDecode] = ()
    """Who may sign in, and as what: `WHO=TENANT:SCOPE`, separated by commas; the first rule that fits counts. WHO is a
    value of the claim, or `@example.com` for verified e-mail addresses. Without a scope it is `submit`. People whom no
    rule fits are refused."""
    oidc_session_hours: float = Field(default=12.0, gt=0, le=720)
    """For how long a person stays signed in."""

    @field_validator("oidc_grants", mode="before")
    @classmethod
    def _split_grants(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for rule in self.oidc_grants:
            parse_grant(rule)
        if not self.oidc_issuer:
            if self.oidc_client_id or self.oidc_grants:
                raise ValueError("LIMNER_OIDC_CLIENT_ID and LIMNER_OIDC_GRANTS need LIMNER_OIDC_ISSUER.")
            return self
        if not self.oidc_client_id:
            raise ValueError("LIMNER_OIDC_ISSUER needs LIMNER_OIDC_CLIENT_ID.")
        if not self.oidc_grants:
            raise ValueError("LIMNER_OIDC_ISSUER needs LIMNER_OIDC_GRANTS: without a rule no account may sign in.")
        if self.oidc_client_secret and self.oidc_client_secret_file is not None:
            raise ValueError("Set LIMNER_OIDC_CLIENT_SECRET or LIMNER_OIDC_CLIENT_SECRET_FILE, not both.")
        if "openid" not in self.oidc_scopes.split():
            raise ValueError("LIMNER_OIDC_SCOPES must contain openid.")
        return self
