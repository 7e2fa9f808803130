"""The conditional GAN's batches, its three objectives, and the texts that it contrasts drawings with."""

from __future__ import annotations

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

from limner_training import autoencoder as pictures
from limner_training import captions as words
from limner_training import gan
from limner_worker.networks.flow_transformer import Draft
from limner_worker.networks.gan import NOISE_WIDTH


def gan_task(objective: gan.Objective) -> gan.GanTask:
    return gan.GanTask(
        gan.Gan(small_gan()),
        objective,
        distinct_pictures(2),
        torch.tensor([0, 1]),
        np.arange(2),
        words.caption_table([APPLE, CAT], {}, one_hot_embeddings, np.random.default_rng(0)),
        np.arange(2),
        np.array([0.5, 0.5]),
        np.random.default_rng(0),
        8,
    )


@pytest.mark.parametrize("objective", ["least-squares", "log", "relativistic"])
def test_each_network_of_a_gan_gets_only_the_gradients_of_its_own_loss(objective: gan.Objective) -> None:
    task = gan_task(objective)
    network = task.network
    real, fake = (
        torch.rand(8, 3, 64, 64),
        network.generator(torch.randn(8, NOISE_WIDTH), torch.randn(8, 384), torch.zeros(8, dtype=torch.int64)),
    )
    text, style = torch.randn(8, 384), torch.zeros(8, dtype=torch.int64)
    cast("Any", task.generator_loss(real, fake, text, style)).backward()
    assert all(parameter.grad is None for parameter in network.discriminator.parameters())
    assert network.generator.last.weight.grad is not None
    network.zero_grad()
    others = gan.mismatched(np.arange(8))
    cast("Any", task.discriminator_loss(real, fake.detach(), text, style, others)).backward()
    assert all(parameter.grad is None for parameter in network.generator.parameters())
    assert network.discriminator.real.weight.grad is not None


@pytest.mark.long
@pytest.mark.parametrize("objective", ["least-squares", "relativistic"])
@pytest.mark.timeout(600)  # half a minute on a quiet machine
def test_a_trained_discriminator_scores_matching_texts_higher(objective: gan.Objective) -> None:
    task = gan_task(objective)
    optimizer = torch.optim.Adam(task.network.discriminator.parameters(), 3e-4)
    pixels, text = pictures.to_tensor(distinct_pictures(2)), one_hot_embeddings(["a", "b"])
    for _ in range(100):
        loss = task.discriminator_loss(
            pixels, torch.rand(2, 3, 64, 64), text, torch.tensor([0, 0]), gan.mismatched(np.arange(2))
        )
        optimizer.zero_grad()
        cast("Any", loss).backward()
        cast("Any", optimizer).step()
    discriminator = task.network.discriminator.eval()
    right = discriminator.judge(discriminator.look(pixels), text, torch.tensor([0, 0]))
    wrong = discriminator.judge(discriminator.look(pixels), text.roll(1, 0), torch.tensor([0, 0]))
    assert (right > wrong).all()


def test_the_logarithmic_objective_is_that_of_the_article(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "PENALTY", 0.0)
    task = gan_task("log")
    real, fake, text = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64), torch.randn(4, 384)
    style, others = torch.zeros(4, dtype=torch.int64), gan.mismatched(np.array([0, 1, 2, 3]))
    right, wrong = (task.score(real, each, style).sigmoid() for each in (text, text[others.rows]))
    made = task.score(fake, text, style).sigmoid()
    gained = right.log() + ((1 - wrong).log() + (1 - made).log()) / 2  # what the discriminator maximises
    assert torch.allclose(task.discriminator_loss(real, fake, text, style, others), -gained.mean(), atol=1e-4)
    assert torch.allclose(task.generator_loss(real, fake, text, style), -made.log().mean(), atol=1e-4)


@pytest.mark.parametrize("concepts", [[0, 1], [3, 3, 1, 2], [5, 1, 5, 1, 5, 2], [0, 0, 1, 1], [2, 1, 0, 2, 1, 2, 0, 2]])
def test_a_text_is_never_contrasted_with_one_of_the_same_concept(concepts: list[int]) -> None:
    numbers = np.array(concepts)
    others = gan.mismatched(numbers)
    assert (numbers[others.rows.numpy()] != numbers).all()
    assert sorted(cast("Any", others.rows).tolist()) == list(range(len(concepts)))
    assert others.differs.all()


def test_rows_of_a_concept_that_has_most_of_a_batch_are_left_out_of_the_matching_term() -> None:
    numbers = np.array([7, 7, 7, 1])
    others = gan.mismatched(numbers)
    assert (others.differs.numpy() == (numbers[others.rows.numpy()] != numbers)).all()
    assert int(others.differs.sum()) == 2


def test_a_gan_is_initialised_to_the_output_of_draft_and_decoder() -> None:
    autoencoder, draft = small_autoencoder(), Draft(styles=4, width=16)
    autoencoder.latent_mean.normal_()
    autoencoder.latent_std.uniform_(0.5, 2)
    network = gan.initial_generator(draft, autoencoder)
    text, style = one_hot_embeddings(["a", "b"]), torch.tensor([1, 4])
    latents = draft(text, style, torch.zeros(2, dtype=torch.bool)).view(2, 16, 8, 8)
    drawn_before = autoencoder.decode(autoencoder.denormalise(latents))
    torch.testing.assert_close(network(torch.zeros(2, NOISE_WIDTH), text, style), drawn_before, atol=1e-4, rtol=1e-4)
