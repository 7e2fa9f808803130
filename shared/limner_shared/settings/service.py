"""Settings: each variable is `LIMNER_` and the name of a field below. Only this module and its sources read them."""

from __future__ import annotations

import ipaddress
import warnings
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from platformdirs import user_cache_path, user_data_path
from pydantic import DirectoryPath, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from limner_shared.settings.delivery import DeliverySettings
from limner_shared.settings.oidc import OidcSettings
from limner_shared.settings.safety import SafetySettings
from limner_shared.settings.sources import RenamedVariables, SecretFiles

CELL_PATTERN: Final = "[a-z][a-z0-9]{0,11}"

OPENAI_NAMES: Final = (
    "dall-e-2",
    "dall-e-3",
    "gpt-image-1",
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-sunburst-2026-09-08",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-flare-2026-09-08",
    "gpt-image-2.6-sunburst",
    "gpt-image-2.6-flare",
    "chatgpt-image-latest",
)
"""Names of OpenAI's image models, several of which programs have built in."""


class Settings(DeliverySettings, OidcSettings, SafetySettings):
    """All configuration; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="LIMNER_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("limner"))
    """The folder of the embedded database, Valkey and pictures, for those of the three URLs below that are not set."""
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("limner"))
    """Training data and converted models; safe to delete."""
    secrets_dir: DirectoryPath | None = None
    """A folder with settings in files, such as `limner_database_url`: the name of the variable in lower case, and its
    value as the content. Variables have precedence."""
    database_url: str = ""
    """`postgresql://user:password@host/name` or `sqlite:///file`; empty: SQLite in `data_dir`."""
    database_direct_url: str = ""
    """The URL of the database itself, if `database_url` is that of a pooler in transaction mode such as PgBouncer.
    Migrations, notifications and backups need sessions of their own, and use it."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    """The queue. `limner up` starts an embedded Valkey if it is not set."""
    blob_url: str = ""
    """The picture store: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`; empty: a folder in `data_dir`."""

    models: Annotated[tuple[Path, ...], NoDecode] = ()
    """Additional model cards: files or folders of `*.toml`, separated by commas."""
    default_model: str = "limner-flow"
    """The model of requests that name none."""
    model_aliases: Annotated[dict[str, str], NoDecode] = Field(default_factory=lambda: dict.fromkeys(OPENAI_NAMES, ""))
    """Other names of models in the APIs of OpenAI, Replicate and Hugging Face: `name=model`, or `name` alone for the
    default model, separated by commas. The default maps the names that programs for OpenAI have built in."""
    unknown_models: Literal["refuse", "default"] = "refuse"
    """What the APIs of OpenAI and Hugging Face do with a model name that is unknown: refuse it with `model_not_found`,
    or use the default model and say so in a `Warning` header."""
    unknown_sizes: Literal["refuse", "fit"] | None = None
    """What the APIs of other services do with a size that a model lacks: refuse it, or draw the nearest and scale it.
    Unset: scale it for A1111's clients and for calls that name a model of another service, and refuse it otherwise."""

    host: str = "127.0.0.1"
    """The address that the web server listens on."""
    port: int = 8700
    """The port that the web server listens on."""
    require_keys: bool | None = None
    """Unset: keys are required unless the service listens only on loopback."""
    public_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    """The address at which a trusted proxy serves this service, such as https://pictures.example. Without API keys,
    forwarded requests are refused unless it is set; access control is then the proxy's task."""
    cell: str = Field(default="", pattern=f"^({CELL_PATTERN})?$")
    """The name of this installation behind a front door with several of them: lower-case letters and digits. New keys
    and links begin with it."""
    web_workers: int = Field(default=2, ge=1)
    """Web processes; each serves thousands of connections."""
    web_shutdown_seconds: int = Field(default=60, ge=1, le=3600)
    """How long a stopping web process still serves calls that wait for their pictures. Event streams and long polls end
    within seconds, and their clients connect again."""
    max_body_bytes: int = Field(default=16 << 20, ge=1024)
    """Size limit of a request that is not a bulk. A job's pictures are the largest part of a request."""
    max_bulk_bytes: int = Field(default=1 << 30, ge=1024)
    """Size limit of a bulk upload, in bytes."""
    max_file_bytes: int = Field(default=10 << 30, ge=1024)
    """Size limit of all uploaded files of one tenant together, in bytes."""
    max_bulk_lines: int = Field(default=1_000_000, ge=1)
    """The most jobs in one bulk."""

    max_requests: int = Field(default=256, ge=1)
    """Concurrent requests of one web process; it refuses more. Requests that only wait are not counted."""
    max_streams: int = Field(default=2048, ge=1)
    """Concurrent event streams, long polls, waiting chats and result downloads of one web process."""
    max_bulks: int = Field(default=4, ge=1)
    """Concurrent bulk uploads of one web process."""
    tenant_share: float = Field(default=0.5, gt=0, le=1)
    """The fraction of each of the three limits above that one tenant may use, where keys are required; all requests
    without a key, such as for linked pictures, count as one tenant's."""
    upload_seconds: float = Field(default=5.0, gt=0)
    """Time limit for each 64 KiB of a body; a slower upload is ended with 408. All of a body has an hour."""

    release_window: int = Field(default=64, ge=1)
    """Released, unclaimed jobs in Redis for each model and lane; more while workers claim them quickly."""
    max_release_window: int = Field(default=4096, ge=1)
    """The limit to which the release window grows."""
    dispatch_seconds: float = Field(default=0.5, gt=0)
    """The longest pause between two rounds of the dispatcher; new jobs end it early."""
    aging_seconds: float = Field(default=20.0, gt=0)
    """A released job that waits this long moves up a lane, and again after the same time."""
    lease_seconds: float = Field(default=9.0, gt=0)
    """A worker that does not renew its leases for this long is lost, and its jobs are requeued."""
    input_retention_days: float = Field(default=30.0, gt=0)
    """Uploaded files and batches are deleted after this many days at most. Input pictures of a job are kept as long as
    its own pictures, those without a job for an hour."""
    heartbeat_seconds: float = Field(default=2.0, gt=0)
    """Interval at which a worker renews its leases; keep it well below `lease_seconds`."""
    max_solo_losses: int = Field(default=2, ge=1)
    """Workers that may be lost while running a job alone before the job is a dead letter."""

    webhook_internal_targets: Annotated[tuple[str, ...], NoDecode] = ()
    """Internal receivers of webhooks, separated by commas: host names, addresses and networks, such as
    `hooks.internal,10.1.0.0/16`. All others must use https and have addresses of the public internet."""
    webhook_timeout_seconds: float = Field(default=15.0, gt=0, le=120)
    """Time limit of one delivery, to the end of the answer; only the system's resolver of names may exceed it."""
    webhook_concurrency: int = Field(default=8, ge=1)
    """Concurrent deliveries to one receiver: an endpoint, or the origin of a job's or bulk's URL."""
    webhook_rate: float = Field(default=50.0, gt=0)
    """Deliveries a second to one receiver."""
    webhook_log_days: float = Field(default=30.0, ge=4)
    """Deliveries that have ended are deleted from the log after this many days."""

    slots: int = Field(default=16, ge=1)
    """Jobs of each lane that one worker holds at a time: every lane has this many slots, and a full one does not close
    the others. A message is fetched while its lane is below the limit; one with several jobs may exceed it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; a model card may name another one."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of the model. One for each worker is fastest and most consistent on small machines."""
    encoder_cache_bytes: int = Field(default=32 << 20, ge=0)
    """Bytes of encoded texts that a model keeps in a worker; 0: off. A pipeline has as much again for whole prompts."""
    encoder_cache_url: str = Field(default="", repr=False)
    """A Redis in which workers share encoded texts. Do not use the queue's: this one may evict keys (`allkeys-lru`)."""
    model_memory_bytes: int | None = Field(default=None, ge=1)
    """Memory limit for the weights of a worker's loaded models; the least recently used are unloaded. Unset: all models
    stay loaded."""
    checkpoint_seconds: float = Field(default=15.0, gt=0)
    """Interval between checkpoints of a picture in progress; after a crash the next worker resumes from the last
    one."""
    step_timeout_seconds: float = Field(default=600.0, gt=0)
    """A model call that lasts longer is treated as hung: the worker hands back its other jobs and ends, to be
    restarted."""
    load_timeout_seconds: float = Field(default=1800.0, gt=0)
    """A model that takes longer to be loaded again, after others needed its memory, is treated as hung, as by a dead
    file system: the worker hands back its jobs and ends, to be restarted. The first load of a process, which may
    download the model, has no limit: the worker is not ready until then."""
    shutdown_seconds: float = Field(default=20.0, ge=0)
    """How long a stopping worker continues with its jobs before it hands the rest back."""

    interpreter: Literal["auto", "server", "rules", "off"] = "auto"
    """What turns descriptions into conditions: the server below, or rules. `auto` uses the server if one is set, and
    rules otherwise; `off` uses descriptions as prompts."""
    llm_url: str = ""
    """The base URL of an OpenAI-compatible server, such as http://localhost:11434/v1."""
    llm_key: str = Field(default="", repr=False)
    """API key of the language model server."""
    llm_model: str = ""
    """The name of the model on that server."""
    llm_timeout_seconds: float = Field(default=8.0, gt=0)
    """LLM timeout in seconds; afterwards rules are used."""

    server_url: str = ""
    """The server that client commands talk to; empty: this machine's, at `port`."""
    api_key: str = Field(default="", repr=False)
    """The API key that client commands send."""

    metrics: bool = True
    """Whether processes measure themselves."""
    metrics_host: str = "127.0.0.1"
    """The address of the operator's port, on which each process serves `/metrics`. It needs no key: let only the
    monitoring reach it."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """The operator's port; 0: any free one, which is logged and listed at `/metrics/targets` of the web server."""
    metrics_key: str = Field(default="", repr=False)
    """The bearer token with which the web server's own port serves `/metrics`. Unset: it does so only without API
    keys and `public_url`."""
    metrics_by_tenant: bool = False
    """Whether some metrics also count by tenant."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""
    log_format: Literal["console", "json"] = "console"
    """Log lines for people or as JSON objects."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments have precedence over the environment, that over variables by old names, and those over files."""
        return init_settings, env_settings, RenamedVariables(settings_cls), SecretFiles(settings_cls)

    @field_validator("models", "webhook_internal_targets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part for part in value.split(",") if part) if isinstance(value, str) else value

    @field_validator("model_aliases", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): model.strip() for name, _, model in pairs}

    @field_validator("interpreter", mode="before")
    @classmethod
    def _without_enrichment(cls, value: object) -> object:
        if value != "local":
            return value
        message = "LIMNER_INTERPRETER=local is now rules: the small model's additions made pictures worse."
        warnings.warn(message, FutureWarning, stacklevel=2)
        return "rules"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that give these settings to another process; only fields that were set."""
        given = self.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        return {f"LIMNER_{name.upper()}": _text(value) for name, value in given.items()}

    @property
    def resolved_database_url(self) -> str:
        """The database's URL; SQLite in the data folder if none is set."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'limner.db'}"

    @property
    def session_database_url(self) -> str:
        """The database's URL for work that needs a session of its own: it passes a pooler by."""
        return self.database_direct_url or self.resolved_database_url

    @property
    def resolved_blob_url(self) -> str:
        """The picture store's URL; a folder in the data folder if none is set."""
        return self.blob_url or (self.data_dir.absolute() / "blobs").as_uri()

    @property
    def keys_required(self) -> bool:
        """Whether API keys are required: `require_keys`, or, if unset, on any address except loopback."""
        return not is_loopback(self.host) if self.require_keys is None else self.require_keys


def _text(value: Any) -> str:
    """A setting as the text of its variable."""
    if isinstance(value, dict):
        value = [f"{name}={target}" for name, target in cast("dict[str, str]", value).items()]
    return ",".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
