"""The settings of moderation, of the safety stage and of signed provenance; `Settings` includes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class SafetySettings(BaseSettings):
    """What is refused, what is judged, and what is signed."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    moderation_rules: Annotated[tuple[str, ...], NoDecode] = ()
    """Rules by which prompts are refused: TOML files, separated by commas; `builtin` names the small English list that
    comes with the service. Empty: none are refused, except for a tenant's own terms."""
    moderation_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """The base URL of a moderation service in OpenAI's format, such as https://api.openai.com/v1. Workers let it judge
    the texts of each job before it is drawn. Empty: none."""
    moderation_key: str = Field(default="", repr=False)
    """API key of the moderation service."""
    moderation_model: str = ""
    """The name of the model that moderates; empty: the service's default."""
    moderation_categories: Annotated[tuple[str, ...], NoDecode] = ()
    """The service's categories that block a job, separated by commas, such as `sexual,violence/graphic`. Empty: all
    that it flags."""
    moderation_timeout_seconds: float = Field(default=8.0, gt=0, le=60)
    """Time limit of an answer of the moderation service."""
    moderation_failure: Literal["closed", "open"] = "closed"
    """While the moderation service does not answer: `closed` lets jobs wait; `open` draws them without it."""
    safety: Literal["off", "label", "block"] = "off"
    """What happens to pictures that the classifier takes for sexual: nothing, a label, or the job fails with
    `moderation_blocked` and nothing is stored. A model card or a tenant may differ."""
    safety_threshold: float = Field(default=0.8, gt=0, le=1)
    """The classifier's score from which a picture is flagged."""
    safety_failure: Literal["closed", "open"] = "closed"
    """Without a working classifier: `closed` refuses to start, and lets jobs that must be judged wait; `open` stores
    pictures that were not judged, labelled so."""

    c2pa: Literal["off", "on"] = "off"
    """Whether pictures get a signed C2PA manifest. A tenant may differ."""
    c2pa_certificate: Path | None = None
    """The certificate chain that signs manifests, in PEM, the signer's own first."""
    c2pa_key: Path | None = None
    """The private key of that certificate, in PEM (PKCS #8)."""
    c2pa_timestamp_url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """A time-stamp authority (RFC 3161) that dates signatures; empty: none, so that nothing is called."""

    @field_validator("moderation_rules", "moderation_categories", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
