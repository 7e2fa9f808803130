"""The cache of encoded texts: in memory, and optionally shared between workers through Redis."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import torch
from redis import Redis
from redis.exceptions import RedisError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from limner_shared import metrics
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.messaging.typed_redis import pipeline
from limner_shared.telemetry import get_logger
from limner_worker.generators.nested_tensors import filled, leaves, map_leaves, size_in_bytes
from limner_worker.generators.text_encoding.cache import ByteCache

log = get_logger(__name__)

KEPT_SECONDS: Final = DAY_SECONDS
LARGEST: Final = 16 << 20
"""The size limit of shared outputs in bytes: a network may need longer to transfer larger ones than the encoder to
compute them."""
ADVISED_TEXTS: Final = 16
"""The number of texts that a cache should hold, if a single one exceeds it."""
PAUSE_SECONDS: Final = 30.0
"""The time after an error for which Redis is not used, so that jobs do not wait for it again."""


class SharedEncodedTextCache:
    """Embeddings in Redis. A missing or damaged value is encoded again, so the Redis may evict keys."""

    def __init__(self, redis: Redis, about: Mapping[str, Any]) -> None:
        """`about` names everything that determines an embedding's bits besides its text. `redis` must return bytes."""
        self._redis = redis
        on = {**about, "torch": str(torch.__version__), "cpu": torch.backends.cpu.get_cpu_capability()}
        self._prefix = f"limner:text:{_sha256(json.dumps(on, sort_keys=True))}:"
        self._paused_until = 0.0

    @classmethod
    def at(cls, url: str, about: Mapping[str, Any]) -> SharedEncodedTextCache | None:
        """Return the cache in the Redis at `url`, or None for an empty URL."""
        if not url:
            return None
        return cls(cast("Any", Redis).from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5), about)

    def get(self, keys: Sequence[str]) -> dict[str, dict[int, Tensor]]:
        """Return the tensors of each key that is stored, by their position among the output's tensors."""
        if not keys or time.monotonic() < self._paused_until:
            return {}
        found: dict[str, dict[int, Tensor]] = {}
        try:
            values: Any = self._redis.mget([self._prefix + _sha256(key) for key in keys])
        except RedisError as error:
            self._pause(error)
            return {}
        for key, value in zip(keys, values, strict=True):
            try:
                tensors = {} if value is None else load(value)
                found[key] = {int(number): tensor for number, tensor in tensors.items()}
            except (SafetensorError, ValueError):
                continue
        return found

    def put(self, found: Mapping[str, Any]) -> None:
        """Store outputs for the other workers, without tensors that are on no device."""
        if time.monotonic() < self._paused_until:
            return
        try:
            with pipeline(self._redis, transaction=False) as pipe:
                for key, output in found.items():
                    if 0 < size_in_bytes(output) <= LARGEST:
                        named = {
                            f"{number:04}": tensor.cpu().contiguous()
                            for number, tensor in enumerate(leaves(output))
                            if not tensor.is_meta
                        }
                        pipe.set(self._prefix + _sha256(key), save(named), ex=KEPT_SECONDS)
                pipe.execute()
        except RedisError as error:
            self._pause(error)

    def _pause(self, error: RedisError) -> None:
        self._paused_until = time.monotonic() + PAUSE_SECONDS
        log.warning("cache of encoded texts in Redis paused after an error", error=str(error)[:200])


class EncodedTextCache:
    """Encoder outputs by a key that identifies the complete input. For one thread."""

    def __init__(self, max_bytes: int, shared: SharedEncodedTextCache | None = None) -> None:
        """`max_bytes` of 0 turns the cache in memory off."""
        self._known: ByteCache[str, Any] = ByteCache(max_bytes)
        self._max_bytes = max_bytes
        self._shared = shared
        self._examples: dict[str, tuple[Any, torch.device]] = {}
        self._too_large: set[str] = set()

    def find(self, encoder: str, keys: Sequence[str]) -> dict[str, Any]:
        """Return the outputs that are cached here or in Redis."""
        found = self._find(encoder, keys)
        metrics.CACHE_REQUESTS.inc(len(found), cache="texts", result="hit")
        metrics.CACHE_REQUESTS.inc(len(keys) - len(found), cache="texts", result="miss")
        return found

    def _find(self, encoder: str, keys: Sequence[str]) -> dict[str, Any]:
        found = {key: output for key in keys if (output := self._known.get(key)) is not None}
        example = self._examples.get(encoder)
        if self._shared is None or example is None:  # Redis holds tensors only; an example gives their structure
            return found
        for key, tensors in self._shared.get([key for key in keys if key not in found]).items():
            output = filled(example[0], tensors, example[1])
            if output is not None:
                found[key] = output
                self._put(encoder, key, output)
        return found

    def store(self, encoder: str, outputs: Mapping[str, Any]) -> None:
        """Store the outputs of an encoder."""
        for key, output in outputs.items():
            self._put(encoder, key, output)
            device = next((tensor.device for tensor in leaves(output) if not tensor.is_meta), None)
            if encoder not in self._examples and device is not None:
                self._examples[encoder] = map_leaves(output, _on_no_device), device
        if self._shared is not None:
            self._shared.put(outputs)

    def _put(self, encoder: str, key: str, output: Any) -> None:
        size = size_in_bytes(output)
        if not self._known.put(key, output, size) and self._max_bytes and encoder not in self._too_large:
            self._too_large.add(encoder)
            log.warning(
                "encoded text exceeds the cache",
                encoder=encoder,
                bytes=size,
                setting="LIMNER_ENCODER_CACHE_BYTES",
                limit=self._max_bytes,
                advised=size * ADVISED_TEXTS,
            )


def _on_no_device(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
