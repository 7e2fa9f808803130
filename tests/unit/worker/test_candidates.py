"""Quality best: what is drawn, what is kept, what it costs, and how the kept picture is made again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import MAX_SEED, JobRequest, JobSpec, Lane
from limner_shared.domain.replay import replay_spec
from limner_shared.domain.safety import TenantPolicy
from limner_shared.domain.scenes import Scene, SceneObject
from limner_shared.errors import CardError, InvalidRequest
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture
from limner_worker.generators.weight_files import locate
from limner_worker.stages.choosing import CandidateChoice, Likeness
from limner_worker.stages.deduplication import deduplication_keys
from limner_worker.stages.interpretation.presenting.presenter import recognizers_of
from limner_worker.stages.picture_files import receipt_of

SHARING = TenantPolicy()


def spec_of(catalogue: Catalogue, **request: Any) -> JobSpec:
    return catalogue.resolve(JobRequest.model_validate({"prompt": "a cat", "seed": 5} | request))[1]


def drawn(spec: JobSpec, *shades: int) -> JobRun:
    run = JobRun(Claim("job_1", "tenant_1", None, 1, 2, Lane.NORMAL, spec, tenant=SHARING), lambda: None)
    for row, shade in zip(run.rows, shades, strict=True):
        row.picture = np.full((64, 64, 3), shade, np.uint8)
    return run


class Lightest:
    """An evaluator to which the lighter of two pictures is better, from a shade of 100 also recognised."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def likeness(self, picture: Picture, name: str, *, recoloured: bool) -> Likeness:
        self.asked.append((name, recoloured))
        return Likeness(bool(picture.mean() >= 100), float(picture.mean()))


def kept(run: JobRun, ranker: Lightest | None = None) -> list[int]:
    CandidateChoice({"limner-flow": ranker or Lightest()}).settle(run)
    return [int(row.picture.mean()) for row in run.rows if row.picture is not None]


def test_quality_best_costs_as_many_times_more_as_there_are_candidates(catalogue: Catalogue):
    card = catalogue.get("limner-flow")
    plain, best = spec_of(catalogue, n=3), spec_of(catalogue, n=3, quality="best")
    assert (plain.candidates, best.candidates, best.n) == (1, 4, 3)
    assert card.cost(best) == 4 * card.cost(plain)
    assert "candidates" not in plain.stored()


def test_a_model_without_an_evaluator_refuses_quality_best_by_name(catalogue: Catalogue):
    card = catalogue.get("limner-flow").model_copy(update={"name": "other", "candidates": 1})
    with pytest.raises(InvalidRequest, match=r"quality: best with other, which has no evaluator") as refused:
        card.resolve(JobRequest(prompt="a cat", quality="best"))
    assert refused.value.details == {"field": "quality", "allowed": ["standard"]}
    with pytest.raises(ValidationError, match="only the built-in families have an evaluator"):
        ModelCard.model_validate(card.model_dump() | {"candidates": 4, "text_encoder": None})


def test_a_worker_does_not_serve_candidates_that_nothing_could_choose_among(catalogue: Catalogue):
    card = catalogue.get("limner-flow")
    blind = card.model_copy(update={"text_encoder": card.codec})
    assert card.codec is not None
    assert locate(card.codec).is_dir()
    with pytest.raises(CardError, match="limner-flow: candidates: no evaluator"):
        recognizers_of({blind.name: blind})
    assert recognizers_of({blind.name: blind.model_copy(update={"candidates": 1})}) == {}


@pytest.mark.parametrize("seed", [5, MAX_SEED - 2000, MAX_SEED])
def test_the_candidates_of_an_image_have_its_style_and_do_not_depend_on_the_others(catalogue: Catalogue, seed: int):
    four = spec_of(catalogue, n=4, quality="best", seed=seed)
    seeds = [[four.candidate_seed(index, number) for number in range(4)] for index in range(4)]
    assert [each[0] for each in seeds] == [four.image_seed(index) for index in range(4)]
    assert len({one for each in seeds for one in each}) == 16
    if seed + 20_000 < MAX_SEED:  # beyond the last seed the styles begin again
        assert all(len({four.style_for(one) for one in each}) == 1 for each in seeds)
    alone = spec_of(catalogue, quality="best", seed=four.image_seed(2))
    assert [alone.candidate_seed(0, number) for number in range(4)] == seeds[2]


def test_the_best_candidate_of_each_image_is_kept(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, n=2, quality="best"), 10, 40, 30, 20, 7, 7, 7, 6)
    seeds = [row.task.seed for row in run.rows]
    assert kept(run) == [40, 7]
    assert [row.task.seed for row in run.rows] == [seeds[1], seeds[4]], "of equal ones the first"
    assert receipt_of(run.rows[0])["candidates"] == 4
    plain = drawn(spec_of(catalogue, n=2), 10, 40)
    assert kept(plain) == [10, 40]
    assert "candidates" not in receipt_of(plain.rows[0])


def test_a_scene_is_ranked_by_its_things(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, quality="best", prompt="a blue cat and a dog"), 250, 200, 150, 100)
    scene = Scene(objects=(SceneObject(said="cat", name="cat", colour="blue"), SceneObject(said="dog", name="dog")))
    for row, shades in zip(run.rows, [(255, 90), (101, 102), (120, 110), (99, 255)], strict=True):
        row.task.scene = scene
        row.task.things = [np.full((64, 64, 3), shade, np.uint8) for shade in shades]
    ranker = Lightest()
    assert kept(run, ranker) == [150]  # both things are recognised, and they are lighter than those of the second
    assert set(ranker.asked) == {("cat", True), ("dog", False)}


def test_a_plain_scene_is_ranked_by_its_picture_as_its_only_thing(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, quality="best", prompt="a happy face in clouds smiling"), 10, 40, 30, 20)
    for row in run.rows:
        row.task.scene = Scene(objects=(SceneObject(said="face", name="face in clouds"),))
    ranker = Lightest()
    assert kept(run, ranker) == [40]
    assert set(ranker.asked) == {("face in clouds", False)}


def test_if_the_evaluator_fails_the_first_candidate_is_kept(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, quality="best"), 10, 40, 30, 20)
    CandidateChoice({}).settle(run)
    assert [row.index for row in run.rows] == [0]


def test_candidates_that_were_chosen_once_are_not_chosen_among_again(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, n=2, quality="best"), 1, 2, 3, 4, 8, 7, 6, 5)
    assert kept(run) == kept(run) == [4, 8]


def test_workers_that_know_no_candidates_leave_the_job_to_others(catalogue: Catalogue):
    assert spec_of(catalogue).version == 1
    assert spec_of(catalogue, quality="best").stored()["version"] == 2


def test_a_replay_draws_the_winners_alone(catalogue: Catalogue):
    run = drawn(spec_of(catalogue, n=2, quality="best"), 1, 2, 3, 4, 8, 7, 6, 5)
    kept(run)
    receipts = [receipt_of(row) for row in run.rows]
    again = replay_spec(run.claim.spec, receipts)
    assert (again.n, again.candidates) == (2, 1)
    replayed = JobRun(Claim("job_2", "tenant_1", None, 1, 2, Lane.NORMAL, again, tenant=SHARING), lambda: None)
    assert [row.task.seed for row in replayed.rows] == [receipt["seed"] for receipt in receipts]
    assert [row.task.style for row in replayed.rows] == [row.task.style for row in run.rows]
    assert JobSpec.read(again.stored()) == again


def test_only_jobs_with_as_many_candidates_share_their_pictures(catalogue: Catalogue):
    def keys(**request: Any) -> tuple[str, ...]:
        spec = spec_of(catalogue, **request)
        claim = Claim("job_1", "tenant_1", None, 1, 2, Lane.NORMAL, spec, tenant=SHARING, shares=True)
        return deduplication_keys(claim, {})

    assert keys() != keys(quality="best")
    assert keys(quality="best", n=2)[1] == keys(quality="best", seed=6)[0]
