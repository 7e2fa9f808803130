"""Of a text encoder's output, only the tensors that pipelines read are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from limner_worker.generators.diffusers.calls.text_outputs import TextOutputs
from limner_worker.generators.nested_tensors import leaves, size_in_bytes
from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache


def output() -> BaseModelOutputWithPooling:
    layers = tuple(torch.full((1, 4, 8), float(number)) for number in range(5))
    tensors: dict[str, Any] = {"last_hidden_state": layers[4], "pooler_output": torch.ones(1, 8)}
    return BaseModelOutputWithPooling(**tensors, hidden_states=layers)


def never() -> Any:
    raise AssertionError("the encoder was called again")


def kept_after(read: Callable[[Any], Tensor]) -> tuple[TextOutputs, Any]:
    reads = TextOutputs(EncodedTextCache(1 << 20))
    read(reads.noticed("text", output(), never))
    return reads, reads.kept("text", output())


READS: dict[str, Callable[[Any], Tensor]] = {
    "by index": lambda found: found[0] + 1,
    "by name": lambda found: found.pooler_output.to(torch.float16),
    "a hidden layer": lambda found: found.hidden_states[-2].clone(),
    "stacked layers": lambda found: torch.stack(found.hidden_states[1:3]),
    "a method": lambda found: found["last_hidden_state"].repeat(1, 2, 1),
    "its shape": lambda found: torch.zeros(found.pooler_output.shape),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_was_read_is_kept_and_nothing_else(read: Callable[[Any], Tensor]) -> None:
    reads, kept = kept_after(read)
    expected = read(output())
    found = read(reads.noticed("text", kept, never))
    assert type(found) is Tensor
    assert torch.equal(found, expected)
    assert size_in_bytes(kept) <= 2 * 4 * 8 * 4
    assert len(leaves(kept)) == len(leaves(output()))


def test_a_tensor_that_was_not_kept_is_computed_again_and_kept_from_then_on() -> None:
    reads, kept = kept_after(lambda found: found.pooler_output + 1)
    repeated: list[Any] = []

    def repeat() -> Any:
        repeated.append(output())
        return reads.noticed("text", repeated[-1], never)

    found = reads.noticed("text", kept, repeat)
    assert torch.equal(found.hidden_states[2] + 0, cast("Any", output()).hidden_states[2])
    assert torch.equal(found.hidden_states[2] + 0, cast("Any", output()).hidden_states[2])
    assert len(repeated) == 1
    again = reads.noticed("text", reads.kept("text", output()), never)
    assert torch.equal(again.hidden_states[2] + again.pooler_output.sum(), cast("Any", output()).hidden_states[2] + 8)


def test_a_kept_tensor_is_not_a_view_of_its_batch() -> None:
    reads = TextOutputs(EncodedTextCache(1 << 20))
    batch = torch.zeros(8, 4)
    reads.noticed("text", (batch[:1],), never)[0].sum()
    [kept] = reads.kept("text", (batch[:1],))
    assert kept.untyped_storage().nbytes() == kept.nbytes


def test_outputs_are_reduced_once_their_images_have_reached_the_first_step() -> None:
    texts = TextOutputs(EncodedTextCache(1 << 20))
    found = texts.noticed("text", output(), never)
    texts.store("text", {"apple": output()})
    found.pooler_output.sum()  # read late, after another encoder was called
    texts.settle()
    kept = texts.find("text", ["apple"])["apple"]
    assert size_in_bytes(kept) == 8 * 4
