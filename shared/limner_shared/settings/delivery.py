"""The settings of how pictures reach clients; `Settings` includes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class DeliverySettings(BaseSettings):
    """Links to pictures, and delivery by the bucket itself."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    signing_key: str = Field(default="", repr=False)
    """The secret that signs links to images; empty: a random one, kept in the database. Web servers and dispatchers
    need the same one."""
    accepted_signing_keys: Annotated[tuple[str, ...], NoDecode] = Field(default=(), repr=False)
    """Other secrets whose links work too, separated by commas: while `signing_key` is replaced, the next and the
    previous one."""
    delivery_seconds: int = Field(default=0, ge=0, le=86_400)
    """0: pictures pass through the web server. Otherwise clients are redirected to a signed URL of the bucket, which
    works for this many seconds and cannot be revoked."""
    delivery_endpoint: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    """The bucket's address in these URLs, if clients reach it at another one than the servers do."""

    @field_validator("accepted_signing_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
