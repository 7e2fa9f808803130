"""The names that models were trained with, by language: workers write them to Redis, web processes read them.

Only workers have the models' files. The names are hints for writing a prompt: without them, everything works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from redis import Redis

from limner_shared.messaging.typed_redis import pipeline
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

WRITE_SECONDS: Final = 600.0
"""How often a worker writes them, since Redis may lose them."""
KEPT_SECONDS: Final = 1800


def write_names(redis: Redis, model: str, names: Mapping[str, Sequence[str]]) -> None:
    """Write the names of a model, by the code of their language. Raises RedisError."""
    fields = {language: json.dumps(list(texts), ensure_ascii=False) for language, texts in names.items()}
    with pipeline(redis) as pipe:
        pipe.hset(_key(model), mapping=cast("Any", fields))
        pipe.expire(_key(model), KEPT_SECONDS)
        pipe.execute()


def read_names(redis: Redis, model: str, language: str) -> list[str]:
    """The names of a model in a language, in the order of its training; empty if no worker wrote any.

    Raises RedisError.
    """
    found = cast("str | None", redis.hget(_key(model), language))
    try:
        return [str(name) for name in json.loads(found or "[]")]
    except ValueError:
        log.warning("unreadable names", model=model)
        return []


def _key(model: str) -> str:
    return f"limner:names:{model}"
