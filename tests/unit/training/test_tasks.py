"""The batches, losses and scores of each training stage, with a few synthetic drawings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.unit.training.small_networks import (
    APPLE,
    CAT,
    distinct_pictures,
    one_hot_embeddings,
    small_autoencoder,
    small_gan,
)
from torch import Tensor, nn

from limner_training import augment, flow, metrics, stages, tower
from limner_training import autoencoder as pictures
from limner_training import captions as words
from limner_training import upscaler as enlargement
from limner_training.data import Drawing
from limner_worker.generators.builtin.known_names import save_known, save_names
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.text_head import TextHead
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, save_module
from limner_worker.networks.word_tagger import DESCRIPTION_ROLES, MESSAGE_ROLES, WordTagger

CLOCK = Drawing("1f550", "flat", "one o\u2019clock", ("1:00", "clock"), "Travel & Places")
FOREIGN = {"de": {APPLE.concept: ("roter Apfel", ("Obst", "rot"))}, "zh": {CAT.concept: ("猫脸", ("猫",))}}
SYMBOL = Drawing("24c2", "flat", "circled M", ("circle",), "Symbols")


def synthetic_drawings(count: int = 6, size: int = 64) -> np.ndarray:
    """Squares of different colours on white, uint8 [count, size, size, 3]."""
    pixels = np.full((count, size, size, 3), 255, np.uint8)
    for index, picture in enumerate(pixels):
        picture[size // 4 : size // 2, size // 4 : size // 2] = (40 * index, 0, 255 - 40 * index)
    return pixels


def test_pixels_are_scaled_to_minus_one_to_one() -> None:
    tensor = pictures.to_tensor(np.array([[[[0, 255, 127]]]], np.uint8))
    assert tensor.shape == (1, 3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.0039216]))


def test_augmented_drawings_keep_their_size_and_white_background() -> None:
    pixels = synthetic_drawings()
    augmented = pictures.augment(pixels, np.random.default_rng(0))
    assert augmented.shape == pixels.shape
    assert not np.array_equal(augmented, pixels)
    assert (augmented[:, 0, 0] == 255).all()
    assert np.array_equal(pixels, synthetic_drawings())  # the input is unchanged


def test_a_sharper_picture_has_a_lower_loss() -> None:
    target = pictures.to_tensor(synthetic_drawings())
    blurred = nn.functional.avg_pool2d(target, 5, stride=1, padding=2, count_include_pad=False)
    assert pictures.picture_loss(target, target) == 0
    assert pictures.picture_loss(blurred, target) > 0


def test_psnr_matches_its_definition() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert pictures.psnr(target + 10 / 127.5, target).item() == pytest.approx(20 * np.log10(25.5), abs=1e-3)


def test_encoder_and_decoder_both_get_gradients() -> None:
    network = small_autoencoder()
    loss, count = pictures.AutoencoderTask(
        network, synthetic_drawings(), np.arange(6), np.random.default_rng(0), 4
    ).losses()
    cast("Any", loss).backward()
    assert count == 4
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_normalised_latents_have_mean_zero_and_deviation_one() -> None:
    network, pixels = small_autoencoder(), synthetic_drawings()
    pictures.measure_latents(network, pixels)
    latents = network.normalise(pictures.encode_all(network, pixels)[0])
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(16), atol=1e-4, rtol=0)


def test_captions_include_the_name_the_short_name_and_keywords() -> None:
    texts = dict(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0)))
    assert len(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0))) == words.ENGLISH_COLUMNS
    assert {"cat face", "cat", "a cat", "pet"} <= set(texts)
    assert max(texts, key=lambda text: texts[text]) == "cat face"


def test_a_keyword_of_many_concepts_has_a_small_share() -> None:
    texts = dict(words.captions(APPLE, Counter({"fruit": 20, "red": 2}), np.random.default_rng(0)))
    assert texts["fruit"] < texts["red"] < texts["red apple"]


def test_foreign_captions_have_their_columns_and_missing_ones_have_no_share() -> None:
    table = words.caption_table([APPLE, CAT], FOREIGN, one_hot_embeddings, np.random.default_rng(0))
    german = words.ENGLISH_COLUMNS + words.COLUMNS * words.LANGUAGES.index("de")
    torch.testing.assert_close(table.names("de")[:1], one_hot_embeddings(["roter apfel"]))
    assert table.shares[0, german] > 0
    assert table.shares[1, german : german + words.COLUMNS].sum() == 0
    assert table.shares.sum(1) == pytest.approx(1)


def test_a_text_head_is_applied_to_every_caption() -> None:
    table = words.caption_table([APPLE, CAT], FOREIGN, one_hot_embeddings, np.random.default_rng(0))
    torch.testing.assert_close(table.through(torch.neg).names("zh"), -table.names("zh"))


def test_plain_name_gives_the_usual_spelling() -> None:
    assert words.plain_name("Woman: One O\u2019Clock") == "woman, one o'clock"


def test_styles_share_the_captions_of_a_concept_and_saving_keeps_them(tmp_path: Path) -> None:
    other = Drawing(APPLE.concept, "3d", *list(vars(APPLE).values())[2:])
    table = words.caption_table([APPLE, other, CAT], FOREIGN, one_hot_embeddings, np.random.default_rng(0))
    assert np.array_equal(table.rows[0], table.rows[1])
    table.save(tmp_path / "captions.safetensors")
    loaded = words.CaptionTable.load(tmp_path / "captions.safetensors")
    drawn_texts = [each.draw(np.array([0, 2, 2]), np.random.default_rng(3)) for each in (table, loaded)]
    torch.testing.assert_close(*drawn_texts)
    torch.testing.assert_close(cast("Any", drawn_texts[0]).norm(dim=1), torch.ones(3))


def test_symbols_and_clocks_have_a_lower_weight() -> None:
    apple, clock, symbol = words.weights([APPLE, CLOCK, SYMBOL])
    assert apple > 5 * clock
    assert apple > 5 * symbol
    assert apple + clock + symbol == pytest.approx(1)


def flow_task() -> flow.FlowTask:
    cast("Any", torch).manual_seed(0)
    network = FlowTransformer(("noto", "flat"), width=48, depth=1, heads=2, modulation=16, draft_width=16)
    return flow.FlowTask(
        network,
        latents=torch.randn(2, 16, 8, 8),
        deviations=torch.full((2, 16, 8, 8), 0.1),
        styles=torch.tensor([0, 1]),
        captions=words.caption_table([APPLE, CAT], FOREIGN, one_hot_embeddings, np.random.default_rng(0)),
        rows=np.arange(2),
        shares=np.array([0.5, 0.5]),
        generator=np.random.default_rng(0),
        batch=16,
    )


def test_an_untrained_flow_scores_the_variance_of_its_target() -> None:
    loss, count = flow_task().losses()
    assert count == 16
    assert loss.item() == pytest.approx(2.0, rel=0.1)  # unit data minus unit noise


def test_the_score_of_the_flow_is_deterministic_and_keeps_the_random_state() -> None:
    task = flow_task()
    state = torch.random.get_rng_state()
    first = flow.score(task.network, task, np.arange(2))
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(5)
    assert flow.score(task.network, task, np.arange(2)) == first


def test_an_untrained_draft_scores_the_variance_of_its_target() -> None:
    task = flow_task()
    nn.init.zeros_(task.network.draft.final.weight)
    nn.init.zeros_(task.network.draft.final.bias)
    loss, count = task.draft_losses()
    assert count == 16
    assert loss.item() == pytest.approx(1.0, rel=0.1)
    assert flow.draft_score(task.network.draft, task, np.arange(2)) == pytest.approx(1.0, rel=0.1)


def test_times_are_between_zero_and_one_with_median_one_half() -> None:
    times = flow.draw_times(1_000)
    assert times.min() > 0
    assert times.max() < 1
    assert times.median().item() == pytest.approx(0.5, abs=0.05)


class ExactFlow(FlowTransformer):
    """A flow with the exact velocity towards a single picture."""

    def forward(self, latents: Tensor, times: Tensor, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        return (torch.full_like(latents, 0.5) - latents) / (1 - times)[:, None, None, None]


def test_euler_steps_with_an_exact_velocity_reach_the_data() -> None:
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    latents = flow.sample(ExactFlow(width=48, depth=1, heads=2), text, style, steps=7)
    torch.testing.assert_close(latents, torch.full((2, 16, 8, 8), 0.5), atol=1e-4, rtol=0)


def test_the_noise_of_a_sample_depends_only_on_its_seed() -> None:
    network = FlowTransformer(width=48, depth=1, heads=2)  # untrained: it returns the noise
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    second = flow.sample(network, text, style, steps=1, seed=4)[1:]
    torch.testing.assert_close(second, flow.sample(network, text[:1], style[:1], steps=1, seed=5))


@pytest.mark.long
def test_two_towers_learn_to_match_captions_and_pictures_of_distinct_concepts() -> None:
    cast("Any", torch).manual_seed(0)
    other = Drawing(APPLE.concept, "3d", *list(vars(APPLE).values())[2:])
    drawings = [APPLE, other, CAT, SYMBOL]
    table = words.caption_table(drawings, FOREIGN, one_hot_embeddings, np.random.default_rng(0))
    network = tower.TwoTowers()
    concepts = np.array([0, 0, 1, 2])
    task = tower.TowerTask(
        network,
        distinct_pictures(4),
        torch.tensor([0, 3, 2, 2]),
        concepts,
        table,
        np.arange(4),
        np.random.default_rng(0),
        3,
    )
    for _ in range(10):
        chosen = task._distinct()
        assert len(chosen) == len(set(concepts[chosen])) == 3
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses: list[float] = []
    for _ in range(50):
        loss, _ = task.losses()
        optimizer.zero_grad()
        cast("Any", loss).backward()
        cast("Any", optimizer).step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_augmented_pictures_keep_their_white_background() -> None:
    cast("Any", torch).manual_seed(0)
    white = torch.ones(4, 3, 64, 64)
    torch.testing.assert_close(augment.tint(augment.move(white, 0.3, 0.2, 0.2), 0.5), white)
    moved = augment.move(pictures.to_tensor(synthetic_drawings(4)), 0.1, 0.1, 0.1)
    assert moved.shape == (4, 3, 64, 64)
    assert not torch.equal(moved, pictures.to_tensor(synthetic_drawings(4)))


def test_a_rank_is_the_number_of_nearer_names() -> None:
    names = torch.eye(4)
    queries = torch.tensor([[1.0, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4]])
    assert cast("Any", metrics.ranks(queries, names, torch.tensor([0, 0]))).tolist() == [0, 3]


def test_the_frechet_distance_matches_that_of_two_gaussians() -> None:
    cast("Any", torch).manual_seed(0)
    sample = torch.randn(4000, 3)
    assert metrics.frechet(sample, sample) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet(sample, 2 * sample + 3) == pytest.approx(9 * 3 + 3, rel=0.1)


def test_diversity_is_zero_for_equal_pictures_and_one_for_random_ones() -> None:
    cast("Any", torch).manual_seed(0)
    features = torch.randn(500, 8)
    assert metrics.diversity(features, features) == 0
    assert metrics.diversity(features, torch.randn(500, 8)) == pytest.approx(1, abs=0.05)


def test_the_upscaler_task_returns_matching_crops() -> None:
    large = synthetic_drawings(4, 256)
    small = np.rint(large.reshape(4, 64, 4, 64, 4, 3).mean((2, 4))).astype(np.uint8)
    task = enlargement.UpscalerTask(
        Upscaler(channels=8, convolutions=1), small, small, large, np.arange(4), np.random.default_rng(0), 4
    )
    loss, count = task.losses()
    assert count == 4
    assert loss.item() < 0.2  # bilinear enlargement of squares has a small loss, a wrong crop a large one
    ours, bicubic = enlargement.score(task.network, small, large)
    assert 15 < ours < bicubic + 3


def test_export_copies_all_networks_or_reports_missing_weights(tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "target"
    networks = {
        "autoencoder": small_autoencoder(),
        "flow": flow_task().network,
        "upscaler": Upscaler(8, 1),
        "head": TextHead(hidden=16),
        "tower": ImageTower(widths=(16, 16, 16)),
        "gan": small_gan(),
        "tagger": WordTagger(DESCRIPTION_ROLES, inner=8),
        "follow-ups": WordTagger(MESSAGE_ROLES, inner=8, likened=True),
    }
    for name, network in networks.items():
        with pytest.raises(WeightsError, match="no weights"):
            stages.export(cache, target)
        save_module(network, cache / f"{name}.safetensors", network.config)
    with pytest.raises(WeightsError, match="no weights"):
        stages.export(cache, target)
    save_names(["red apple"], torch.eye(1, 384), cache)
    with pytest.raises(WeightsError, match="no weights"):
        stages.export(cache, target)
    save_known([], torch.empty(0, 384), {}, cache)
    assert {name.split("/")[1] for name in stages.export(cache, target)} == set(networks)
    assert {file.stem for file in target.glob("limner-*/*.safetensors")} == {*networks, "names", "known"}
