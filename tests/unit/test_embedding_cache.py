"""Embeddings are cached, and shared through a Redis that may be unavailable, emptied or damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from redis import Redis
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from limner_client.local.embedded_valkey import free_port
from limner_worker.generators.nested_tensors import filled, leaves
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.shared_cache import EmbeddingCache, SharedEmbeddingCache

ABOUT = {"head": "abc"}
ROOM = 1 << 20


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
    return Redis.from_url(redis_url)


def worker(url: str, about: dict[str, str] = ABOUT, max_bytes: int = ROOM) -> tuple[CachedEncoder, list[str]]:
    encode = Counting()
    return CachedEncoder(encode, EmbeddingCache(max_bytes, SharedEmbeddingCache.at(url, about))), encode.encoded


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
    for key in redis.scan_iter("limner:text:*"):
        redis.set(key, nonsense)
    assert second(["apple"]).tolist() == [[5.0, 1.5]]
    assert encoded == ["plum", "apple"]


def test_tensors_of_other_ranks_or_dtypes_are_not_used():
    example = torch.zeros(2)
    assert filled(example, [torch.zeros(2, 2)]) is None
    assert filled(example, [torch.zeros(2, dtype=torch.float16)]) is None
    assert filled(example, []) is None


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
    again = filled(example, leaves(found))
    assert isinstance(again, BaseModelOutputWithPooling)
    assert again.last_hidden_state is not None
    assert found.last_hidden_state is not None
    assert torch.equal(again.last_hidden_state, found.last_hidden_state)
    assert torch.equal(again.hidden_states[1], found.hidden_states[1])
