"""A diffusers pipeline is served by a card alone: a tiny random Stable Diffusion, built here from its configs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from limner_shared.cards import Catalogue, load_card
from limner_shared.errors import CardError
from limner_shared.jobs import JobRequest
from limner_shared.settings import Settings
from limner_worker.generators.catalogue import load

CARD = """
name = "tiny-sd"
title = "Tiny Stable Diffusion"
family = "diffusers"
source = { folder = "tiny" }
sizes = [[32, 32]]
steps = { min = 1, max = 50, default = 3 }
guidance = { min = 1.0, max = 20.0, default = 7.5 }
"""


def tokenizer(folder: Path) -> CLIPTokenizer:
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


@pytest.fixture(scope="module")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    torch.manual_seed(0)
    text_config = CLIPTextConfig(
        vocab_size=200, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16, norm_num_groups=4,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 16), latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    StableDiffusionPipeline(
        text_encoder=CLIPTextModel(text_config), tokenizer=tokenizer(folder), unet=unet, vae=vae,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder / "tiny", safe_serialization=True)  # fmt: skip
    file = folder / "tiny.toml"
    file.write_text(CARD)
    return file


def test_a_card_is_all_it_takes_and_a_picture_does_not_depend_on_its_companions(card_file):
    catalogue = Catalogue.load([card_file], "tiny-sd")
    generator = load(catalogue.get("tiny-sd"), Settings(device="cpu"))
    specs = [catalogue.resolve(JobRequest(prompt=prompt, seed=seed))[1] for seed, prompt in enumerate(["cat", "dog"])]
    together = generator.start([(spec, spec.seed) for spec in specs])
    assert generator.step(together) == 2
    alone = generator.start([(specs[1], specs[1].seed)])
    generator.step(alone)
    pictures = generator.decode([*together, *alone])
    assert pictures[1].shape == (32, 32, 3)
    assert np.abs(pictures[1].astype(int) - pictures[2]).max() <= 1
    assert together[0].steps_done == 3
    reference = generator.pipeline(
        "dog", num_inference_steps=3, width=32, height=32, generator=torch.Generator().manual_seed(1), output_type="np"
    ).images[0]
    assert np.abs(pictures[2] - reference * 255).max() <= 1


def test_a_card_whose_folder_is_missing_says_which(tmp_path):
    file = tmp_path / "gone.toml"
    file.write_text(CARD.replace('"tiny"', '"nowhere"'))
    with pytest.raises(CardError, match="nowhere"):
        load(load_card(file), Settings(device="cpu"))
