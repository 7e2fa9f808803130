"""A known prompt is encoded once, where its encoding depends on nothing but texts, numbers and settings."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch

from limner_worker.generators.diffusers.calls.encoded_prompts import EncodedPrompts, forget


class Pipeline:
    """Counts how often it encodes."""

    def __init__(self) -> None:
        self.encoded: list[Any] = []
        self.tokenizer = object()

    def encode_prompt(self, prompt: Any, device: Any = None, **_: Any) -> Any:
        self.encoded.append(prompt)
        return torch.full((1, 2), float(len(self.encoded))), None


class Remembering(Pipeline):
    """Changes itself when it encodes."""

    def encode_prompt(self, prompt: Any, device: Any = None, **_: Any) -> Any:
        self.last = prompt
        return super().encode_prompt(prompt)


def image_of(prompts: EncodedPrompts, shared: Any, **settings: Any) -> Any:
    """An image's own copy of a pipeline, with settings that its call makes."""
    own = copy.copy(shared)
    cast("dict[str, Any]", vars(own)).update(settings)
    prompts.use(own, shared, ())
    return own


def test_a_known_prompt_is_encoded_once_and_each_image_may_change_its_copy():
    prompts, shared = EncodedPrompts(1000), Pipeline()
    for _ in range(3):
        result, negative = image_of(prompts, shared).encode_prompt("a hen", device=torch.device("cpu"))
        assert (result.tolist(), negative) == ([[1.0, 1.0]], None)
        result.zero_()
    image_of(prompts, shared).encode_prompt(["a hen"], device=torch.device("cpu"))
    assert shared.encoded == ["a hen", ["a hen"]]


def test_the_equal_negative_embedding_of_two_prompts_is_kept_once():
    class Guided(Pipeline):
        def encode_prompt(self, prompt: Any, device: Any = None, **_: Any) -> Any:
            return super().encode_prompt(prompt)[0], torch.zeros(1, 2)

    prompts, shared = EncodedPrompts(1000), Guided()
    for prompt in ("a hen", "a cat", "a dog"):
        image_of(prompts, shared).encode_prompt(prompt)
    kept = [result for result, _ in cast("Any", prompts)._known._known.values()]
    assert len({id(positive) for positive, _ in kept}) == 3
    assert len({id(negative) for _, negative in kept}) == 1
    image_of(prompts, shared).encode_prompt("a hen")[1].fill_(5)
    assert image_of(prompts, shared).encode_prompt("a cat")[1].tolist() == [[0.0, 0.0]]


def test_other_settings_of_the_image_s_pipeline_are_other_prompts():
    prompts, shared = EncodedPrompts(1000), Pipeline()
    for guidance in (1.0, 2.0, 2.0):
        image_of(prompts, shared, _guidance_scale=guidance).encode_prompt("a hen")
    assert len(shared.encoded) == 2


def test_what_cannot_be_compared_is_encoded_each_time():
    for shared, arguments, settings in (
        (Pipeline(), {"image": object()}, {}),
        (Pipeline(), {}, {"_images": object()}),
        (Remembering(), {}, {}),
    ):
        prompts = EncodedPrompts(1000)
        for _ in range(2):
            image_of(prompts, shared, **settings).encode_prompt("a hen", **arguments)
        assert len(shared.encoded) == 2


def test_a_size_of_0_keeps_nothing_and_a_pipeline_without_the_method_is_left_alone():
    prompts, shared = EncodedPrompts(0), Pipeline()
    for _ in range(2):
        own = image_of(prompts, shared)
        own.encode_prompt("a hen")
        forget(own)
        assert "encode_prompt" not in vars(own)
    assert len(shared.encoded) == 2
    bare: Any = object.__new__(type("Bare", (), {}))
    prompts.use(bare, bare, ())
    assert not vars(bare)
