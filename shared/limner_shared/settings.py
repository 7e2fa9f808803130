"""The one place that reads the environment: every variable is `LIMNER_` and the name of a field below."""

from __future__ import annotations

import ipaddress
import os
import warnings
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

RENAMED: Final = {
    "hang_seconds": "step_timeout_seconds",
    "input_days": "input_retention_days",
    "language": "interpreter",
    "llm_seconds": "llm_timeout_seconds",
    "max_window": "max_release_window",
    "model_bytes": "model_memory_bytes",
    "server": "server_url",
    "solo_losses": "max_solo_losses",
    "window": "release_window",
}
"""Old names of settings; their variables still work in this version, with a warning."""


class RenamedVariables(PydanticBaseSettingsSource):
    """Reads variables by their old names where the new ones are not set."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of a field's old variable, or None."""
        for old, new in RENAMED.items():
            value = os.environ.get(f"LIMNER_{old.upper()}")
            if new == field_name and value and not os.environ.get(f"LIMNER_{new.upper()}"):
                message = f"LIMNER_{old.upper()} is now called LIMNER_{new.upper()}; the old name will be removed."
                warnings.warn(message, FutureWarning, stacklevel=2)
                return value, field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the fields whose old variables are set."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """All configuration; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="LIMNER_", env_ignore_empty=True, frozen=True)

    data_dir: Path = Field(default_factory=lambda: user_data_path("limner"))
    """Where the embedded database, Valkey and pictures live when the three URLs below are not set."""
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("limner"))
    """Training data and converted models; safe to delete."""
    database_url: str = ""
    redis_url: str = "redis://127.0.0.1:6379/0"
    blob_url: str = ""
    """`file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`."""

    models: Annotated[tuple[Path, ...], NoDecode] = ()
    """More model cards: files or folders of `*.toml`, separated by commas."""
    default_model: str = "limner-flow"

    host: str = "127.0.0.1"
    port: int = 8700
    require_keys: bool | None = None
    """Unset: keys are required unless the service listens on loopback alone."""
    public_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    """Such as https://pictures.example: where a trusted proxy serves this. Without API keys, forwarded requests are
    refused unless it is set; the proxy then decides who comes in."""
    web_workers: int = Field(default=2, ge=1)
    max_body_bytes: int = Field(default=16 << 20, ge=1024)
    """Of a request that is not a bulk; a job's image and mask are the largest part of one."""
    max_bulk_bytes: int = Field(default=1 << 30, ge=1024)
    max_bulk_lines: int = Field(default=1_000_000, ge=1)

    max_requests: int = Field(default=256, ge=1)
    """How many requests one web process works on at a time; it refuses more. Those that only wait are not counted."""
    max_streams: int = Field(default=2048, ge=1)
    """How many event streams, long polls, waiting chats and downloads of results one web process holds."""
    max_bulks: int = Field(default=4, ge=1)
    """How many bulks one web process reads at a time."""
    tenant_share: float = Field(default=0.5, gt=0, le=1)
    """Which part of each of these three one tenant may take, where keys are required."""
    upload_seconds: float = Field(default=5.0, gt=0)
    """Each 64 KiB of a body must come within so many seconds; a slower upload is ended with 408."""

    release_window: int = Field(default=64, ge=1)
    """Released, unclaimed jobs per model and lane in Redis; more while workers take them quickly."""
    max_release_window: int = Field(default=4096, ge=1)
    dispatch_seconds: float = Field(default=0.5, gt=0)
    aging_seconds: float = Field(default=20.0, gt=0)
    """A released job that waits so long moves up a lane, and again after as long."""
    lease_seconds: float = Field(default=9.0, gt=0)
    input_retention_days: float = Field(default=30.0, gt=0)
    """Pictures that were sent to start from, and that no job has, are deleted after so long; those of a job are kept as
    long as its own pictures are."""
    heartbeat_seconds: float = Field(default=2.0, gt=0)
    max_solo_losses: int = Field(default=2, ge=1)
    """How many workers may be lost over a job that runs alone before it is a dead letter."""

    slots: int = Field(default=16, ge=1)
    """How many jobs of the backlog one worker holds at a time; half as many more places are kept for single jobs."""
    device: str = "auto"
    threads: int = Field(default=1, ge=1)
    """CPU threads of the model; one a worker is the fastest and steadiest on small machines."""
    encoder_cache_bytes: int = Field(default=32 << 20, ge=0)
    """Of so much encoded text a worker's models remember each."""
    encoder_cache_url: str = Field(default="", repr=False)
    """A Redis in which workers share encoded texts. Not the queue's: one that may evict (`allkeys-lru`)."""
    model_memory_bytes: int | None = Field(default=None, ge=1)
    """How much the weights of a worker's loaded models may take; those that were not used for longest go. Unset: all
    are kept."""
    checkpoint_seconds: float = Field(default=15.0, gt=0)
    """A picture that takes longer is kept half made so often, and after a crash the next worker goes on from there."""
    step_timeout_seconds: float = Field(default=600.0, gt=0)
    """A model's call that lasts longer hangs: the worker hands back its other jobs and ends, to be started anew."""
    shutdown_seconds: float = Field(default=20.0, ge=0)
    """How long a stopping worker goes on with what it holds before it hands the rest back."""

    interpreter: Literal["auto", "server", "local", "rules", "off"] = "auto"
    """Who makes conditions of descriptions: the server below, a small model in the worker, or rules. `auto` is the
    server where one is named, and else rules; `off` takes descriptions as prompts."""
    llm_url: str = ""
    """The base of an OpenAI-compatible server, such as http://localhost:11434/v1."""
    llm_key: str = Field(default="", repr=False)
    llm_model: str = ""
    llm_timeout_seconds: float = Field(default=8.0, gt=0)
    """For so long an answer is waited for; then rules do it."""

    server_url: str = ""
    """Which server the commands that talk to one use; empty: this machine's, at `port`."""
    api_key: str = Field(default="", repr=False)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then variables by their old names."""
        return init_settings, env_settings, RenamedVariables(settings_cls)

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value

    @property
    def variables(self) -> dict[str, str]:
        """The environment that gives another process these settings, as far as they were set."""
        given = self.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        text = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in given.items()}
        return {f"LIMNER_{name.upper()}": value for name, value in text.items()}

    @property
    def resolved_database_url(self) -> str:
        """The database's URL; SQLite in the data folder where none is set."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'limner.db'}"

    @property
    def resolved_blob_url(self) -> str:
        """The picture store's URL; a folder in the data folder where none is set."""
        return self.blob_url or (self.data_dir.absolute() / "blobs").as_uri()

    @property
    def keys_required(self) -> bool:
        """Open on loopback, keys on any other address, unless `require_keys` says otherwise."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
