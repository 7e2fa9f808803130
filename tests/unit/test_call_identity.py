"""What makes two calls of a module equal: content where there is content, identity everywhere else."""

from __future__ import annotations

import torch

from limner_worker.generators.diffusers.call_batching import Digests, Signature, content


class Cache:
    """As a key-value cache: its `repr` says nothing of what it holds."""

    def __repr__(self) -> str:
        return "Cache()"


def forward(input_ids, past_key_values=None, scale=1.0, layers=None): ...


def call(*args, **kwargs):
    return Signature("text_encoder.forward", forward).call(args, kwargs, Digests())


def test_calls_with_the_same_content_are_equal_though_their_tensors_are_not_the_same_objects():
    first, second = (call(torch.tensor([[1, 2]]), layers=[1, (2.5, None)]) for _ in range(2))
    assert first.key == second.key
    assert content(first) == content(second)


def test_calls_that_differ_in_a_value_of_a_tensor_a_number_or_a_type_are_not_equal():
    variants = [
        call(torch.tensor([[1, 2]])),
        call(torch.tensor([[1, 3]])),
        call(torch.tensor([[1, 2]], dtype=torch.int32)),
        call(torch.tensor([[1, 2]]), scale=2.0),
        call(torch.tensor([[1, 2]]), scale=2),
        call(torch.tensor([[1], [2]])),
    ]
    assert len({content(each) for each in variants}) == len(variants)


def test_objects_whose_repr_is_equal_are_told_apart_and_their_results_are_not_remembered():
    ids = torch.tensor([[1, 2]])
    one, other = Cache(), Cache()
    first, second, again = (call(ids, past_key_values=cache) for cache in (one, other, one))
    assert first.key != second.key
    assert first.key == again.key
    assert content(first) is None
    assert content(call(ids, layers=[Cache()])) is None
