"""The settings of how pictures reach clients; `Settings` includes them."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeliverySettings(BaseSettings):
    """Delivery of pictures by the bucket itself."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    delivery_seconds: int = Field(default=0, ge=0, le=86_400)
    """0: pictures pass through the web server. Otherwise clients are redirected to a signed URL of the bucket, which
    works for this many seconds and cannot be revoked."""
    delivery_endpoint: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    """The bucket's address in these URLs, if clients reach it at another one than the servers do."""
