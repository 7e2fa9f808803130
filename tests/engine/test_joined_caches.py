"""Denoisers that fill a key-value cache in their first call: images of equal layouts share calls, each with its own."""

from __future__ import annotations

from typing import Any, cast

import diffusers
import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage21 import QwenImage21KVCache

from limner_worker.generators.base import Padding
from limner_worker.generators.diffusers.calls.call_batching import Call, CallBuilder, CallKind, CallMemory
from limner_worker.generators.diffusers.calls.call_joining import join, split

LAYERS = 2
TOKENS = 16


@pytest.fixture(scope="module")
def denoiser() -> Any:
    cast("Any", torch).manual_seed(0)
    return cast("Any", diffusers).QwenImage21Transformer2DModel(
        patch_size=1, in_channels=16, out_channels=16, num_layers=LAYERS, attention_head_dim=16, num_attention_heads=2,
        context_in_dim=16, axes_dims_rope=(8, 4, 4),
    )  # fmt: skip


class Drawing:
    """One image's calls of the denoiser."""

    def __init__(self, denoiser: Any, seed: int, words: int = 5) -> None:
        self._builder = CallBuilder("transformer.forward", denoiser.forward, CallKind.DENOISE)
        self._noise = torch.Generator().manual_seed(seed)
        self._text = self._random(words)
        self._mask = torch.arange(words + TOKENS // 4)[None] >= words
        self._cache = QwenImage21KVCache(LAYERS)
        self._memory = CallMemory()

    def _random(self, tokens: int) -> torch.Tensor:
        return torch.randn(1, tokens, 16, generator=self._noise)

    def call(self, time: float, mode: str) -> Call:
        given: dict[str, Any] = {
            "hidden_states": self._random(TOKENS), "timestep": torch.tensor([time]), "img_mask": self._mask,
            "encoder_hidden_states": self._text, "encoder_hidden_states_mask": None, "img_shapes": [[(1, 4, 4)]],
            "attention_kwargs": {}, "kv_cache": self._cache, "kv_cache_mode": mode, "return_dict": False,
        }  # fmt: skip
        return self._builder.call((), given, self._memory)


@torch.inference_mode()
def test_images_of_equal_layouts_share_calls_with_caches_of_their_own(denoiser: Any) -> None:
    together, alone = ([Drawing(denoiser, seed) for seed in (1, 2, 3)] for _ in "12")
    for mode, order in (("extract", (0, 1, 2)), ("cached", (2, 0)), ("cached", (1, 2, 0))):
        calls = [together[number].call(0.9 - number / 10, mode) for number in order]
        assert len({call.key for call in calls}) == 1
        assert not any(call.alone for call in calls)
        assert all(call.stateful for call in calls), "a picture that is resumed would have no cache"
        batch = Padding(4)
        shares = split(denoiser(**join(calls, batch)), calls, batch)
        for number, (share,) in zip(order, shares, strict=True):
            expected = denoiser(**alone[number].call(0.9 - number / 10, mode).arguments)[0]
            assert torch.allclose(share, expected, atol=1e-5)


def test_images_of_texts_of_other_lengths_or_at_their_first_call_share_none(denoiser: Any) -> None:
    first, longer = Drawing(denoiser, 1), Drawing(denoiser, 1, words=6)
    assert first.call(1, "cached").key != longer.call(1, "cached").key
    assert first.call(1, "cached").key != Drawing(denoiser, 2).call(1, "extract").key
