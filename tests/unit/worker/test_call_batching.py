"""Equality and batching of module calls: tensors and values by content, other objects by identity."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from limner_worker.generators.base import Padding
from limner_worker.generators.diffusers.calls.call_batching import CallBuilder, CallKind, CallMemory, content_digest
from limner_worker.generators.diffusers.calls.call_joining import UnknownLayout, join, split
from limner_worker.generators.nested_tensors import owned


class Cache:
    """Like a key-value cache: its `repr` does not show its content."""

    def __repr__(self) -> str:
        return "Cache()"


def forward(input_ids: Any, past_key_values: Any = None, scale: float = 1.0, layers: Any = None): ...


def call(*args: Any, **kwargs: Any):
    return CallBuilder("text_encoder.forward", forward, CallKind.DENOISE).call(args, kwargs, CallMemory())


def test_calls_with_equal_content_in_different_tensors_are_equal():
    first, second = (call(torch.tensor([[1, 2]]), layers=[1, (2.5, None)]) for _ in range(2))
    assert first.key == second.key
    assert content_digest(first) == content_digest(second)


def test_calls_with_different_values_or_types_are_not_equal():
    variants = [
        call(torch.tensor([[1, 2]])),
        call(torch.tensor([[1, 3]])),
        call(torch.tensor([[1, 2]], dtype=torch.int32)),
        call(torch.tensor([[1, 2]]), scale=2.0),
        call(torch.tensor([[1, 2]]), scale=2),
        call(torch.tensor([[1], [2]])),
    ]
    assert len({content_digest(each) for each in variants}) == len(variants)


def test_objects_with_equal_repr_are_distinguished_and_not_cached():
    ids = torch.tensor([[1, 2]])
    one, other = Cache(), Cache()
    first, second, again = (call(ids, past_key_values=cache) for cache in (one, other, one))
    assert first.key != second.key
    assert first.key == again.key
    assert content_digest(first) is None
    assert content_digest(call(ids, layers=[Cache()])) is None


def denoise(sample: Any, img_ids: Any = None, camera: Any = None, position_ids: Any = None): ...


def denoiser_call(**arguments: Any):
    return CallBuilder("transformer.forward", denoise, CallKind.DENOISE).call(
        (torch.randn(2, 4),), arguments, CallMemory()
    )


def test_calls_with_equal_positions_are_joined_and_keep_them_for_every_row():
    wide, tall = torch.arange(24).view(2, 4, 3), torch.arange(24).flip(0).view(2, 4, 3)
    first, second, other = (denoiser_call(img_ids=ids) for ids in (wide, wide.clone(), tall))
    assert first.key == second.key != other.key
    assert not first.alone
    assert join([first, second], Padding(2))["img_ids"].shape == (4, 4, 3)


def test_a_tensor_of_unknown_layout_is_never_joined():
    assert denoiser_call(camera=torch.randn(2, 3)).alone
    assert not denoiser_call(camera=torch.tensor(1.0)).alone


def denoise_stacked(hidden_states: Any, encoder_hidden_states_llama3: Any): ...


def test_rows_have_one_memory_format_whatever_their_images_had():
    """A network's last bits depend on it, and a picture that is resumed or shares a call has lost it."""
    latents = torch.randn(2, 4, 8, 8)
    builder = CallBuilder("unet.forward", denoise, CallKind.DENOISE)
    formats = latents, latents.to(memory_format=torch.channels_last)
    first, other = (builder.call((each,), {}, CallMemory()) for each in formats)
    for calls in ([other], [first, other], [other, first]):
        assert join(calls, Padding(2))["sample"].is_contiguous()
        assert join(calls, Padding(2))["sample"].equal(torch.cat([latents, latents]))


@pytest.mark.parametrize("layers", [2, 3])  # two are as many as the rows of an image with guidance
def test_a_tensor_with_its_layers_before_its_rows_is_joined_along_its_rows(layers: int):
    builder = CallBuilder("transformer.forward", denoise_stacked, CallKind.DENOISE)
    texts = [torch.randn(layers, 2, 5, 4) for _ in range(2)]
    first, second = (builder.call((torch.ones(2, 4), text), {}, CallMemory()) for text in texts)
    assert first.key == second.key
    assert not first.alone
    joined = join([first, second], Padding(2))["encoder_hidden_states_llama3"]
    assert torch.equal(joined, torch.cat(texts, dim=1))
    longer = builder.call((torch.ones(2, 4), torch.randn(layers, 2, 6, 4)), {}, CallMemory())
    other = builder.call((torch.ones(2, 4), torch.randn(layers + 1, 2, 5, 4)), {}, CallMemory())
    assert len({first.key, longer.key, other.key}) == 3


def encode(input_ids: Any, pixel_values: Any = None, past_key_values: Any = None): ...


def test_a_text_encoder_s_input_that_has_no_rows_is_not_joined_or_padded():
    builder = CallBuilder("text_encoder.forward", encode, CallKind.ENCODE)
    ids = torch.tensor([[1, 2]])
    assert not builder.call((ids,), {}, CallMemory()).alone
    assert builder.call((ids,), {"pixel_values": torch.randn(64, 8)}, CallMemory()).alone
    assert builder.call((ids,), {"past_key_values": Cache()}, CallMemory()).alone


def test_an_output_without_rows_is_refused_and_an_object_of_all_rows_is_left_out_of_each_share():
    calls = [call(torch.tensor([[1, 2]])) for _ in range(2)]
    with pytest.raises(UnknownLayout):
        split((torch.randn(5, 2, 3),), calls, Padding(2))
    shares = split(
        {"text": torch.tensor([[1.0], [2.0]]), "cache": Cache(), "loss": torch.tensor(0.5)}, calls, Padding(2)
    )
    assert [share["text"].tolist() for share in shares] == [[[1.0]], [[2.0]]]
    assert [share["cache"] for share in shares] == [None, None]
    assert owned({"cache": Cache()}) == {"cache": None}


def test_a_call_without_a_tensor_is_refused_with_the_module_s_name():
    with pytest.raises(TypeError, match=r"transformer\.forward is called without a tensor"):
        CallBuilder("transformer.forward", denoise, CallKind.DENOISE).call((None,), {}, CallMemory())


def test_a_call_like_the_last_one_keeps_its_key_and_any_other_gets_its_own():
    builder, memory, ids = (
        CallBuilder("transformer.forward", denoise, CallKind.DENOISE),
        CallMemory(),
        torch.zeros(2, 3),
    )

    def key(sample: Any, **arguments: Any) -> Any:
        return builder.call((sample,), arguments, memory).key

    first = key(torch.randn(2, 4), img_ids=ids, camera={"scale": 1.0})
    assert key(torch.randn(2, 4), img_ids=ids, camera={"scale": 1.0}) is first
    others = [
        key(torch.randn(2, 5), img_ids=ids, camera={"scale": 1.0}),
        key(torch.randn(2, 4, dtype=torch.float64), img_ids=ids, camera={"scale": 1.0}),
        key(torch.randn(2, 4), img_ids=torch.ones(2, 3), camera={"scale": 1.0}),
        key(torch.randn(2, 4), img_ids=ids, camera={"scale": 2.0}),
        key(torch.randn(2, 4), img_ids=ids, camera={"shift": 1.0}),
        key(torch.randn(2, 4), img_ids=ids),
    ]
    assert len({first, *others}) == 7


def denoise_text(
    hidden_states: Any, encoder_hidden_states: Any, encoder_hidden_states_mask: Any, img_mask: Any, kinds: Any = None
): ...


@pytest.mark.parametrize(("name", "is_alone"), [("kinds", True), ("img_mask", False)])
def test_a_text_keeps_its_length_beside_an_argument_that_may_depend_on_it(name: str, is_alone: bool):
    builder = CallBuilder("transformer.forward", denoise_text, CallKind.DENOISE)
    text, of_each = torch.ones(1, 5, 4), torch.zeros(1, 7, dtype=torch.bool)
    given = {"img_mask": None, name: of_each}
    call = builder.call((torch.ones(1, 8, 4), text, None), given, CallMemory())
    assert call.alone == is_alone
    assert call.arguments["encoder_hidden_states"].shape == (1, 5, 4)
    assert call.arguments["encoder_hidden_states_mask"] is None
    padded = builder.call((torch.ones(1, 5, 4), text, None, None), {}, CallMemory())
    assert padded.arguments["encoder_hidden_states"].shape == (1, 64, 4)
    assert padded.arguments["encoder_hidden_states_mask"].sum() == 5
