"""When two calls of a module are equal: tensors and values by content, other objects by identity."""

from __future__ import annotations

import torch

from limner_worker.generators.diffusers.call_batching import Digests, Signature, content


class Cache:
    """Like a key-value cache: its `repr` does not show its content."""

    def __repr__(self) -> str:
        return "Cache()"


def forward(input_ids, past_key_values=None, scale=1.0, layers=None): ...


def call(*args, **kwargs):
    return Signature("text_encoder.forward", forward).call(args, kwargs, Digests())


def test_calls_with_equal_content_in_different_tensors_are_equal():
    first, second = (call(torch.tensor([[1, 2]]), layers=[1, (2.5, None)]) for _ in range(2))
    assert first.key == second.key
    assert content(first) == content(second)


def test_calls_with_different_values_or_types_are_not_equal():
    variants = [
        call(torch.tensor([[1, 2]])),
        call(torch.tensor([[1, 3]])),
        call(torch.tensor([[1, 2]], dtype=torch.int32)),
        call(torch.tensor([[1, 2]]), scale=2.0),
        call(torch.tensor([[1, 2]]), scale=2),
        call(torch.tensor([[1], [2]])),
    ]
    assert len({content(each) for each in variants}) == len(variants)


def test_objects_with_equal_repr_are_distinguished_and_not_cached():
    ids = torch.tensor([[1, 2]])
    one, other = Cache(), Cache()
    first, second, again = (call(ids, past_key_values=cache) for cache in (one, other, one))
    assert first.key != second.key
    assert first.key == again.key
    assert content(first) is None
    assert content(call(ids, layers=[Cache()])) is None
