"""Embeddings are cached, and shared through a Redis that may be unavailable, emptied or damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import torch
from redis import Redis
from tests.redis_clients import redis_at
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from limner_client.local.embedded_valkey import free_port
from limner_shared.messaging.typed_redis import keys_like
from limner_worker.generators.nested_tensors import filled, leaves
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache, SharedEncodedTextCache

ABOUT = {"head": "abc"}
ROOM = 1 << 20
CPU = torch.device("cpu")


class Counting:
    """An encoder that counts its texts."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.encoded += texts
        return torch.tensor([[float(len(text)), 1.5] for text in texts])


@pytest.fixture
def redis(redis_url: str) -> Redis:
    """A client that returns bytes."""
    return redis_at(redis_url)


def worker(url: str, about: dict[str, str] = ABOUT, max_bytes: int = ROOM) -> tuple[CachedEncoder, list[str]]:
    encode = Counting()
    return CachedEncoder(encode, EncodedTextCache(max_bytes, SharedEncodedTextCache.at(url, about))), encode.encoded


def test_a_text_is_encoded_once():
    encode, encoded = worker("")
    first = encode(["apple", "pear", "apple"])
    assert torch.equal(encode(["pear", "apple"]), first[:2].flip(0))
    assert encoded == ["apple", "pear"]


def test_the_least_recently_used_text_is_evicted_first():
    encode, encoded = worker("", max_bytes=16)  # two texts
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        encode([text])
    assert encoded == ["a", "bb", "ccc", "bb"]


def test_a_text_that_another_worker_encoded_comes_from_redis(redis_url: str):
    (first, _), (second, encoded) = worker(redis_url), worker(redis_url)
    whole = first(["apple", "pear", "plum"])
    second(["something of its own"])  # gives the structure of an embedding
    assert torch.equal(second(["pear", "apple", "plum"]), whole[[1, 0, 2]])
    assert encoded == ["something of its own"]


def test_embeddings_of_another_encoder_are_not_used(redis_url: str):
    (first, _), (other, encoded) = worker(redis_url), worker(redis_url, {"head": "def"})
    first(["apple"])
    other(["plum"])
    other(["apple"])
    assert encoded == ["plum", "apple"]


@pytest.mark.parametrize("nonsense", [b"", b"nonsense", b"\xff" * 100])
def test_a_text_with_a_damaged_value_in_redis_is_encoded(redis_url: str, redis: Redis, nonsense: bytes):
    (first, _), (second, encoded) = worker(redis_url), worker(redis_url)
    first(["apple"])
    second(["plum"])
    for key in keys_like(redis, "limner:text:*"):
        redis.set(key, nonsense)
    assert cast("Any", second(["apple"])).tolist() == [[5.0, 1.5]]
    assert encoded == ["plum", "apple"]


def test_tensors_of_other_ranks_or_dtypes_are_not_used():
    example = torch.zeros(2)
    assert filled(example, {0: torch.zeros(2, 2)}, CPU) is None
    assert filled(example, {0: torch.zeros(2, dtype=torch.float16)}, CPU) is None
    assert filled(example, {1: torch.zeros(2)}, CPU) is None
    assert filled(example, {}, CPU) is None


def test_without_redis_texts_are_encoded_and_redis_is_not_asked_for_a_while(
    unused_url: str, monkeypatch: pytest.MonkeyPatch
):
    encode, encoded = worker(unused_url)
    encode(["apple"])
    monkeypatch.setattr(Redis, "mget", _must_not_be_asked)
    encode(["plum"])
    assert encoded == ["apple", "plum"]


@pytest.fixture
def unused_url() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def _must_not_be_asked(*_: object) -> None:
    raise AssertionError("asked")


def test_an_output_of_a_transformers_text_encoder_is_rebuilt_from_its_tensors():
    def output(make: Callable[..., Tensor]) -> BaseModelOutputWithPooling:
        layers = make(1, 4, 8), make(1, 4, 8)
        return BaseModelOutputWithPooling(last_hidden_state=layers[1], pooler_output=make(1, 8), hidden_states=layers)

    example, found = output(torch.zeros), output(torch.rand)
    again = filled(example, dict(enumerate(leaves(found))), CPU)
    assert isinstance(again, BaseModelOutputWithPooling)
    assert again.last_hidden_state is not None
    assert found.last_hidden_state is not None
    assert torch.equal(again.last_hidden_state, found.last_hidden_state)
    assert torch.equal(cast("Any", again).hidden_states[1], cast("Any", found).hidden_states[1])


def test_tensors_on_no_device_are_neither_counted_nor_stored_in_redis(redis_url: str) -> None:
    def output() -> tuple[Tensor, Tensor]:
        return torch.zeros(4, device="meta"), torch.ones(4)

    one, other = (EncodedTextCache(16, SharedEncodedTextCache.at(redis_url, ABOUT)) for _ in "12")
    one.store("text", {"apple": output()})
    assert "apple" in one.find("text", ["apple"]), "only 16 of its 32 bytes count"
    other.store("text", {"pear": output()})
    missing, kept = other.find("text", ["apple"])["apple"]
    assert missing.is_meta
    assert torch.equal(kept, torch.ones(4))


def test_a_text_that_exceeds_the_limit_evicts_nothing_and_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    known = EncodedTextCache(16)
    known.store("text", {"apple": torch.zeros(4)})
    known.store("text", {"long": torch.zeros(5), "longer": torch.zeros(6)})
    assert list(known.find("text", ["apple", "long", "longer"])) == ["apple"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "exceeds the cache" in line]
    assert len(lines) == 1
    assert all(part in lines[0] for part in ("LIMNER_ENCODER_CACHE_BYTES", "20", "320"))


def test_a_cache_that_is_turned_off_reports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    EncodedTextCache(0).store("text", {"apple": torch.zeros(4)})
    assert "exceeds" not in capsys.readouterr().out
