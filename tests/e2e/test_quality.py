"""Quality best with the real models: the evaluator's choice is kept, charged, and can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from click.testing import CliRunner

from limner_client.cli.dead_letters import replay
from limner_client.client import Client
from limner_shared.domain.views import JobView

pytestmark = pytest.mark.long

STEPS: Final = 2


@pytest.fixture(scope="module")
def client(door: str) -> Iterator[Client]:
    with Client(door) as client:
        yield client


def draw(client: Client, **request: Any) -> JobView:
    fixed = {"model": "limner-flow", "seed": 5, "steps": STEPS, "reproducible": True}
    *_, job = client.wait(client.submit(fixed | request).id)
    assert job.status == "succeeded", job
    return job


@pytest.mark.parametrize("prompt", ["a cat", "a blue cat next to a dog"])
def test_the_kept_pictures_are_charged_named_by_their_seed_and_made_again(client: Client, door: str, prompt: str):
    best = draw(client, prompt=prompt, n=2, quality="best")
    receipts = [view.receipt for view in client.receipts(best.id)]
    assert (len(best.images), best.candidates, best.cost) == (2, 4, STEPS * 16 * 2 * 4)
    assert [receipt["candidates"] for receipt in receipts] == [4, 4]
    assert [receipt["seed"] for receipt in receipts] == [image.seed for image in best.images]
    alone = draw(client, prompt=prompt, seed=best.images[1].seed)
    assert (alone.images[0].sha256, alone.candidates) == (best.images[1].sha256, 1)
    shown = CliRunner().invoke(replay, [best.id, "--server", door])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("the same bytes") == best.n


def test_a_described_job_keeps_the_best_of_each_of_its_pictures(client: Client):
    job = draw(client, description="three pictures of a cat wearing a crown", quality="best", model="limner-flow")
    assert (job.n, len(job.images), job.cost) == (3, 3, STEPS * 16 * 3 * 4)
    assert job.presentation
