"""Costs of jobs: larger pictures cost more where a model computes more for them."""

from __future__ import annotations

from typing import Any

from tests.unit.shared.test_cards import image_card

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest


def test_the_cost_of_a_job_follows_the_size_that_it_asks_for():
    def cost(size: str, **more: Any) -> int:
        return card.cost(card.resolve(JobRequest.model_validate({"prompt": "a", "size": size} | more)))

    card = image_card(sizes=[(64, 64), (128, 128), (128, 64)])
    assert [cost(size) for size in ("64x64", "128x64", "128x128")] == [4, 8, 16]
    assert cost("128x128", n=2, steps=10) == 2 * 10 * 4


def test_the_limit_of_small_jobs_follows_the_default_size():
    small, large = image_card(), image_card(sizes=[(128, 128), (64, 64)])
    assert large.default_cost == 4 * small.default_cost
    assert large.small_cost == large.cost(large.resolve(JobRequest(prompt="a", n=4)))


def test_a_built_in_model_draws_every_size_on_one_canvas_at_one_cost(catalogue: Catalogue):
    card = catalogue.get("limner-flow")
    assert len({card.cost(card.resolve(JobRequest(prompt="a", width=w, height=h))) for w, h in card.sizes}) == 1
    assert len(card.sizes) > 1
