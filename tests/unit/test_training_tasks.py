"""Each stage's batches, losses and scores, on a handful of synthetic drawings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner_training import augment, flow, gan, metrics, stages, tower
from limner_training import autoencoder as pictures
from limner_training import captions as words
from limner_training import upscaler as enlargement
from limner_training.data import Drawing
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import Draft, FlowTransformer
from limner_worker.networks.gan import NOISE_WIDTH, GanGenerator
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.text_head import TextHead
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, save_module
from limner_worker.stages.interpretation.image_recognition import save_names

APPLE = Drawing("1f34e", "noto", "red apple", ("fruit", "red"), "Food & Drink")
CAT = Drawing("1f431", "flat", "cat face", ("cat", "pet", "animal"), "Animals & Nature")
CLOCK = Drawing("1f550", "flat", "one o\u2019clock", ("1:00", "clock"), "Travel & Places")
FOREIGN = {"de": {APPLE.concept: ("roter Apfel", ("Obst", "rot"))}, "zh": {CAT.concept: ("猫脸", ("猫",))}}
SYMBOL = Drawing("24c2", "flat", "circled M", ("circle",), "Symbols")


def drawn(count: int = 6, size: int = 64) -> np.ndarray:
    """Squares of different colours on white, uint8 [count, size, size, 3]."""
    pixels = np.full((count, size, size, 3), 255, np.uint8)
    for index, picture in enumerate(pixels):
        picture[size // 4 : size // 2, size // 4 : size // 2] = (40 * index, 0, 255 - 40 * index)
    return pixels


def small_autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(wide=16, deep=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1))


def counted(texts: Sequence[str]) -> Tensor:
    """Embed each text as a unit vector of its own."""
    return nn.functional.one_hot(torch.tensor([sum(map(ord, text)) % 384 for text in texts]), 384).float()


def test_pixels_become_tensors_between_minus_one_and_one() -> None:
    tensor = pictures.to_tensor(np.array([[[[0, 255, 127]]]], np.uint8))
    assert tensor.shape == (1, 3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.0039216]))


def test_augmented_drawings_keep_their_size_and_white_ground() -> None:
    pixels = drawn()
    augmented = pictures.augment(pixels, np.random.default_rng(0))
    assert augmented.shape == pixels.shape
    assert not np.array_equal(augmented, pixels)
    assert (augmented[:, 0, 0] == 255).all()
    assert np.array_equal(pixels, drawn())  # the data themselves stay as they are


def test_a_sharper_picture_has_the_lower_loss() -> None:
    target = pictures.to_tensor(drawn())
    blurred = nn.functional.avg_pool2d(target, 5, stride=1, padding=2, count_include_pad=False)
    assert pictures.picture_loss(target, target) == 0
    assert pictures.picture_loss(blurred, target) > 0


def test_psnr_is_that_of_the_definition() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert pictures.psnr(target + 10 / 127.5, target).item() == pytest.approx(20 * np.log10(25.5), abs=1e-3)


def test_encoder_and_decoder_learn_together() -> None:
    network = small_autoencoder()
    loss, count = pictures.AutoencoderTask(network, drawn(), np.arange(6), np.random.default_rng(0), 4).losses()
    loss.backward()
    assert count == 4
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_measured_latents_are_normal() -> None:
    network, pixels = small_autoencoder(), drawn()
    pictures.measure_latents(network, pixels)
    latents = network.normalise(pictures.encode_all(network, pixels)[0])
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(16), atol=1e-4, rtol=0)


def test_captions_hold_the_name_the_short_name_and_keywords() -> None:
    texts = dict(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0)))
    assert len(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0))) == words.ENGLISH_COLUMNS
    assert {"cat face", "cat", "a cat", "pet"} <= set(texts)
    assert max(texts, key=lambda text: texts[text]) == "cat face"


def test_a_keyword_of_many_concepts_is_rare_as_a_caption() -> None:
    texts = dict(words.captions(APPLE, Counter({"fruit": 20, "red": 2}), np.random.default_rng(0)))
    assert texts["fruit"] < texts["red"] < texts["red apple"]


def test_a_name_in_another_language_is_in_its_column_and_what_has_none_is_never_drawn() -> None:
    table = words.caption_table([APPLE, CAT], FOREIGN, counted, np.random.default_rng(0))
    german = words.ENGLISH_COLUMNS + words.COLUMNS * words.LANGUAGES.index("de")
    torch.testing.assert_close(table.names("de")[:1], counted(["roter apfel"]))
    assert table.shares[0, german] > 0
    assert table.shares[1, german : german + words.COLUMNS].sum() == 0
    assert table.shares.sum(1) == pytest.approx(1)


def test_a_head_is_applied_to_every_caption() -> None:
    table = words.caption_table([APPLE, CAT], FOREIGN, counted, np.random.default_rng(0))
    torch.testing.assert_close(table.through(torch.neg).names("zh"), -table.names("zh"))


def test_names_are_written_as_people_write() -> None:
    assert words.plain_name("Woman: One O\u2019Clock") == "woman, one o'clock"


def test_a_concept_has_the_same_captions_in_every_style_and_they_come_back_from_disk(tmp_path: Path) -> None:
    other = Drawing(APPLE.concept, "3d", *list(vars(APPLE).values())[2:])
    table = words.caption_table([APPLE, other, CAT], FOREIGN, counted, np.random.default_rng(0))
    assert np.array_equal(table.rows[0], table.rows[1])
    table.save(tmp_path / "captions.safetensors")
    loaded = words.CaptionTable.load(tmp_path / "captions.safetensors")
    drawn_texts = [each.draw(np.array([0, 2, 2]), np.random.default_rng(3)) for each in (table, loaded)]
    torch.testing.assert_close(*drawn_texts)
    torch.testing.assert_close(drawn_texts[0].norm(dim=1), torch.ones(3))


def test_symbols_and_clocks_get_less_of_the_capacity() -> None:
    apple, clock, symbol = words.weights([APPLE, CLOCK, SYMBOL])
    assert apple > 5 * clock
    assert apple > 5 * symbol
    assert apple + clock + symbol == pytest.approx(1)


def flow_task() -> flow.FlowTask:
    torch.manual_seed(0)
    network = FlowTransformer(("noto", "flat"), width=48, depth=1, heads=2, modulation=16, draft_width=16)
    return flow.FlowTask(
        network,
        latents=torch.randn(2, 16, 8, 8),
        deviations=torch.full((2, 16, 8, 8), 0.1),
        styles=torch.tensor([0, 1]),
        captions=words.caption_table([APPLE, CAT], FOREIGN, counted, np.random.default_rng(0)),
        rows=np.arange(2),
        shares=np.array([0.5, 0.5]),
        generator=np.random.default_rng(0),
        batch=16,
    )


def test_an_untrained_flow_scores_the_variance_of_its_target() -> None:
    loss, count = flow_task().losses()
    assert count == 16
    assert loss.item() == pytest.approx(2.0, rel=0.1)  # unit data minus unit noise


def test_the_flows_score_is_the_same_each_time_and_touches_no_generator() -> None:
    task = flow_task()
    state = torch.random.get_rng_state()
    first = flow.score(task.network, task, np.arange(2))
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(5)
    assert flow.score(task.network, task, np.arange(2)) == first


def test_an_untrained_draft_is_about_as_wrong_as_none() -> None:
    task = flow_task()
    nn.init.zeros_(task.network.draft.final.weight)
    nn.init.zeros_(task.network.draft.final.bias)
    loss, count = task.draft_losses()
    assert count == 16
    assert loss.item() == pytest.approx(1.0, rel=0.1)
    assert flow.draft_score(task.network.draft, task, np.arange(2)) == pytest.approx(1.0, rel=0.1)


def test_times_lie_between_noise_and_data() -> None:
    times = flow.draw_times(1_000)
    assert times.min() > 0
    assert times.max() < 1
    assert times.median().item() == pytest.approx(0.5, abs=0.05)


class Straight(FlowTransformer):
    """A flow that knows the one picture that there is: the velocity towards it is exact."""

    def forward(self, latents: Tensor, times: Tensor, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        return (torch.full_like(latents, 0.5) - latents) / (1 - times)[:, None, None, None]


def test_euler_steps_along_an_exact_velocity_arrive_at_the_data() -> None:
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    latents = flow.sample(Straight(width=48, depth=1, heads=2), text, style, steps=7)
    torch.testing.assert_close(latents, torch.full((2, 16, 8, 8), 0.5), atol=1e-4, rtol=0)


def test_a_samples_noise_depends_on_its_seed_alone() -> None:
    network = FlowTransformer(width=48, depth=1, heads=2)  # untrained: the noise comes back
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    second = flow.sample(network, text, style, steps=1, seed=4)[1:]
    torch.testing.assert_close(second, flow.sample(network, text[:1], style[:1], steps=1, seed=5))


def plain(count: int) -> np.ndarray:
    """Pictures that nobody confuses: a bar of its own place and colour in each, uint8 [count, 64, 64, 3]."""
    pixels = np.full((count, 64, 64, 3), 255, np.uint8)
    for index, picture in enumerate(pixels):
        picture[:, 16 * index : 16 * index + 16, index % 3] = 0
    return pixels


def small_gan() -> GanGenerator:
    torch.manual_seed(0)
    return GanGenerator(("noto", "flat"), width=16, wide=16, deep=16, blocks=(1, 1), modulation=8)


def gan_task(objective: gan.Objective) -> gan.GanTask:
    return gan.GanTask(
        gan.Gan(small_gan()),
        objective,
        drawn(2),
        torch.tensor([0, 1]),
        words.caption_table([APPLE, CAT], FOREIGN, counted, np.random.default_rng(0)),
        np.arange(2),
        np.array([0.5, 0.5]),
        np.random.default_rng(0),
        8,
    )


@pytest.mark.parametrize("objective", ["least-squares", "relativistic"])
def test_each_network_of_a_gan_gets_the_gradients_of_its_own_loss_alone(objective: gan.Objective) -> None:
    task = gan_task(objective)
    network = task.network
    real, fake = (
        torch.rand(8, 3, 64, 64),
        network.generator(torch.randn(8, NOISE_WIDTH), torch.randn(8, 384), torch.zeros(8, dtype=torch.int64)),
    )
    text, style = torch.randn(8, 384), torch.zeros(8, dtype=torch.int64)
    task._draw(real, fake, text, style).backward()
    assert all(parameter.grad is None for parameter in network.discriminator.parameters())
    assert network.generator.last.weight.grad is not None
    network.zero_grad()
    task._judge(real, fake.detach(), text, style).backward()
    assert all(parameter.grad is None for parameter in network.generator.parameters())
    assert network.discriminator.real.weight.grad is not None


@pytest.mark.parametrize("objective", ["least-squares", "relativistic"])
def test_a_discriminator_that_sees_the_text_loses_less_on_matching_pairs(objective: gan.Objective) -> None:
    task = gan_task(objective)
    optimizer = torch.optim.Adam(task.network.discriminator.parameters(), 3e-4)
    pixels, text = pictures.to_tensor(plain(2)), counted(["a", "b"])
    for _ in range(100):
        loss = task._judge(pixels, torch.rand(2, 3, 64, 64), text, torch.tensor([0, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    discriminator = task.network.discriminator.eval()
    right = discriminator.judge(discriminator.look(pixels), text, torch.tensor([0, 0]))
    wrong = discriminator.judge(discriminator.look(pixels), text.roll(1, 0), torch.tensor([0, 0]))
    assert (right > wrong).all()


def test_a_gan_starts_from_what_the_draft_and_the_decoder_draw() -> None:
    autoencoder, draft = small_autoencoder(), Draft(styles=4, width=16)
    autoencoder.latent_mean.normal_()
    autoencoder.latent_std.uniform_(0.5, 2)
    network = gan.initial_generator(draft, autoencoder)
    text, style = counted(["a", "b"]), torch.tensor([1, 4])
    latents = draft(text, style, torch.zeros(2, dtype=torch.bool)).view(2, 16, 8, 8)
    drawn_before = autoencoder.decode(autoencoder.denormalise(latents))
    torch.testing.assert_close(network(torch.zeros(2, NOISE_WIDTH), text, style), drawn_before, atol=1e-4, rtol=1e-4)


def test_two_towers_learn_from_distinct_concepts_which_caption_belongs_to_which_picture() -> None:
    torch.manual_seed(0)
    other = Drawing(APPLE.concept, "3d", *list(vars(APPLE).values())[2:])
    drawings = [APPLE, other, CAT, SYMBOL]
    table = words.caption_table(drawings, FOREIGN, counted, np.random.default_rng(0))
    network = tower.TwoTowers()
    concepts = np.array([0, 0, 1, 2])
    task = tower.TowerTask(
        network, plain(4), torch.tensor([0, 3, 2, 2]), concepts, table, np.arange(4), np.random.default_rng(0), 3
    )
    for _ in range(10):
        chosen = task._distinct()
        assert len(chosen) == len(set(concepts[chosen])) == 3
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses: list[float] = []
    for _ in range(50):
        loss, _ = task.losses()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_distorted_pictures_stay_on_white_paper() -> None:
    torch.manual_seed(0)
    paper = torch.ones(4, 3, 64, 64)
    torch.testing.assert_close(augment.tint(augment.move(paper, 0.3, 0.2, 0.2), 0.5), paper)
    moved = augment.move(pictures.to_tensor(drawn(4)), 0.1, 0.1, 0.1)
    assert moved.shape == (4, 3, 64, 64)
    assert not torch.equal(moved, pictures.to_tensor(drawn(4)))


def test_a_rank_counts_the_names_that_are_nearer() -> None:
    names = torch.eye(4)
    queries = torch.tensor([[1.0, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4]])
    assert metrics.ranks(queries, names, torch.tensor([0, 0])).tolist() == [0, 3]


def test_the_frechet_distance_is_that_of_two_gaussians() -> None:
    torch.manual_seed(0)
    sample = torch.randn(4000, 3)
    assert metrics.frechet(sample, sample) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet(sample, 2 * sample + 3) == pytest.approx(9 * 3 + 3, rel=0.1)


def test_diversity_is_nothing_for_equal_pictures_and_one_for_any_two() -> None:
    torch.manual_seed(0)
    features = torch.randn(500, 8)
    assert metrics.diversity(features, features) == 0
    assert metrics.diversity(features, torch.randn(500, 8)) == pytest.approx(1, abs=0.05)


def test_the_upscalers_task_gives_crops_that_fit_each_other() -> None:
    large = drawn(4, 256)
    small = np.rint(large.reshape(4, 64, 4, 64, 4, 3).mean((2, 4))).astype(np.uint8)
    task = enlargement.UpscalerTask(
        Upscaler(channels=8, convolutions=1), small, small, large, np.arange(4), np.random.default_rng(0), 4
    )
    loss, count = task.losses()
    assert count == 4
    assert loss.item() < 0.2  # bilinear enlargement of squares is nearly right; a wrong crop is not
    ours, bicubic = enlargement.score(task.network, small, large)
    assert 15 < ours < bicubic + 3


def test_export_copies_every_network_to_its_models_folder_or_says_what_is_missing(tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "target"
    networks = {
        "autoencoder": small_autoencoder(),
        "flow": flow_task().network,
        "upscaler": Upscaler(8, 1),
        "head": TextHead(hidden=16),
        "tower": ImageTower(widths=(16, 16, 16)),
        "gan": small_gan(),
    }
    for name, network in networks.items():
        with pytest.raises(WeightsError, match="no weights"):
            stages.export(cache, target)
        save_module(network, cache / f"{name}.safetensors", network.config)
    with pytest.raises(WeightsError, match="no weights"):
        stages.export(cache, target)
    save_names(["red apple"], torch.eye(1, 384), cache)
    assert {name.split("/")[1] for name in stages.export(cache, target)} == set(networks)
    assert {file.stem for file in target.glob("limner-*/*.safetensors")} == {*networks, "names"}
