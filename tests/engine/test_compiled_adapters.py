"""Weights of adapters in modules that are compiled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from limner_shared.domain.catalogue import Catalogue
from limner_worker.generators.diffusers.weights.adapter_loading import ActiveAdapters, UsedAdapters


class Denoiser(nn.Module):
    """One layer."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_q(x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch.compile's own
def test_a_compiled_module_is_not_compiled_again_for_another_weight_of_an_adapter():
    cast("Any", torch).manual_seed(0)
    config = LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
    model = cast("Any", inject_adapter_in_model(config, Denoiser(), "ink"))
    compilations: list[Any] = []

    def backend(graph: Any, _examples: Any) -> Any:
        compilations.append(graph)
        return graph.forward

    def set_adapters(names: list[str], weights: list[float]) -> None:
        model.to_q.set_scale(names[0], weights[0])

    pipeline = SimpleNamespace(components={"unet": model}, enable_lora=lambda: None, set_adapters=set_adapters)
    card = Catalogue.load([], "limner-flow").get(None).model_copy(update={"compile": True})
    active = ActiveAdapters(pipeline, card, lambda: None)
    call = cast("Any", torch).compile(model.forward, backend=backend, dynamic=False)
    base = model.to_q.base_layer(torch.ones(1, 8))
    drawn: list[Tensor] = []
    for weight in (1.0, 0.5, 0.25):
        active.use(UsedAdapters((("ink", weight),)))
        drawn.append((call(torch.ones(1, 8)) - base) / weight)
    assert len(compilations) == 1
    assert all(torch.allclose(each, drawn[0], atol=1e-5) for each in drawn)
    assert drawn[0].abs().max() > 0
