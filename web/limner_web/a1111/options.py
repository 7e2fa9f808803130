"""A1111's options: the few that mean something here, kept for each tenant.

They are a convenience, so they are in Redis: if Redis loses them, the defaults apply, which choose the default model
and write no prompt into files.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis
from redis.exceptions import RedisError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest, ServiceUnavailable
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

KEEP_SECONDS: Final = 90 * DAY_SECONDS
FIXED: Final[dict[str, Any]] = {
    "CLIP_stop_at_last_layers": 1,
    "jpeg_quality": 92,
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
}
"""Options that clients read or send, and that have one value here."""
ALSO_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "forge_additional_modules": ([],),
    "sd_vae": ("None", ""),
}
"""Further values of fixed options that mean the same."""


class Options(BaseModel):
    """The options that have an effect."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sd_model_checkpoint: str | None = None
    """The model, or None for the service's default."""
    enable_pnginfo: bool = False
    """Whether the files in answers contain the prompt and the other parameters."""
    samples_format: Literal["png", "jpg", "jpeg", "webp"] = "png"


def with_changes(options: Options, changes: dict[str, Any], catalogue: Catalogue) -> Options:
    """The options with these changes. Raises InvalidRequest or ValidationError for one that has no effect here."""
    for name, value in changes.items():
        if value is None or name in Options.model_fields:
            continue
        if name not in FIXED and name not in ALSO_FIXED:
            known = ", ".join(Options.model_fields)
            raise InvalidRequest(f"{name}: this option is not supported; supported: {known}.", field=name)
        allowed = [FIXED[name]] if name in FIXED else []
        allowed += ALSO_FIXED.get(name, ())
        if value not in allowed:
            raise refuse(name, repr(value)[:60], [repr(one) for one in allowed])
    ours = {name: value for name, value in changes.items() if name in Options.model_fields and value is not None}
    changed = Options.model_validate(options.model_dump() | ours)
    if "sd_model_checkpoint" in ours and changed.sd_model_checkpoint not in catalogue.cards:
        raise refuse("sd_model_checkpoint", repr(changed.sd_model_checkpoint), sorted(catalogue.cards))
    return changed


def load(redis: Redis, tenant_id: str, catalogue: Catalogue) -> Options:
    """The tenant's options; the defaults if there are none, they name a model that is gone, or Redis is unavailable."""
    try:
        stored = redis.getex(_key(tenant_id), ex=KEEP_SECONDS)
        options = Options() if stored is None else Options.model_validate_json(str(stored))
    except (RedisError, ValidationError) as error:
        log.warning("A1111's options are not readable", error=repr(error)[:200])
        return Options()
    known = options.sd_model_checkpoint in catalogue.cards
    return options if known else options.model_copy(update={"sd_model_checkpoint": None})


def current_card(redis: Redis, tenant_id: str, catalogue: Catalogue) -> ModelCard:
    """The card of the tenant's current model."""
    return catalogue.get(load(redis, tenant_id, catalogue).sd_model_checkpoint)


def save(redis: Redis, tenant_id: str, options: Options) -> None:
    """Keep the tenant's options. Raises ServiceUnavailable while Redis is."""
    try:
        redis.set(_key(tenant_id), options.model_dump_json(), ex=KEEP_SECONDS)
    except RedisError as error:
        raise ServiceUnavailable("The options cannot be stored now. Try again shortly.", retry_after=2) from error


def as_shown(options: Options, catalogue: Catalogue) -> dict[str, Any]:
    """The answer to `GET /options`. A client may send it back as it is."""
    model = options.sd_model_checkpoint or catalogue.default
    return options.model_dump() | {"sd_model_checkpoint": model} | FIXED


def _key(tenant_id: str) -> str:
    return f"limner:a1111:options:{tenant_id}"
