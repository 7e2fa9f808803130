"""Receipts name what a card does to draw faster or in less memory: other kernels give other bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.engine import odd_pipelines, pipelines

from limner_worker.generators.builtin.latent_flow import LatentFlow
from limner_worker.generators.diffusers.pipeline_loading import LoadedPipeline


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedPipeline:
    return LoadedPipeline.of(odd_pipelines.saved(pipelines.stable_diffusion, tmp_path_factory.mktemp("plain")), "cpu")


@pytest.mark.parametrize(
    "chosen", [{"compile": True}, {"cuda_graphs": True}, {"offload": "model"}, {"device_map": "balanced"}], ids=str
)
def test_receipts_name_each_acceleration_of_the_card(loaded: LoadedPipeline, chosen: dict[str, Any]) -> None:
    accelerated = replace(loaded, card=loaded.card.model_copy(update=chosen))
    named = {name: value for name, value in accelerated.about.items() if value}
    assert named == {name: value for name, value in loaded.about.items() if value} | chosen


def test_receipts_of_a_plain_card_name_none(loaded: LoadedPipeline) -> None:
    named = {name for name, value in loaded.about.items() if value}
    assert not {"compile", "cuda_graphs", "offload", "device_map"} & named


def test_receipts_of_the_built_in_models_name_the_compilation(
    flow: LatentFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "compile" not in flow.fingerprint()
    monkeypatch.setattr(flow, "card", flow.card.model_copy(update={"compile": True}))
    assert flow.fingerprint()["compile"] is True
