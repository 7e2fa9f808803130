"""The same bytes again: at any load for who asked for it, and for everybody by a replay."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from tests.e2e.test_up import limner_up

from limner_client.cli.dead_letters import replay
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.views import JobView


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running service."""
    port = free_port()
    with limner_up(tmp_path_factory.mktemp("up") / "data", port):
        yield port


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{port}") as client:
        yield client


def ended(client: Client, job: JobView) -> JobView:
    *_, last = client.wait(job.id)
    assert last.status == "succeeded", last
    return last


@pytest.fixture(scope="module")
def load(client: Client) -> tuple[list[JobView], list[JobView]]:
    """Random jobs, and among them the same request again and again, asked for as reproducible."""
    choose = random.Random(11)
    noise: list[JobView] = []
    same: list[JobView] = [ended(client, client.submit(SAME))]  # alone
    for number in range(30):
        steps, guidance = choose.randint(1, 20), choose.uniform(1, 9)
        request = {"prompt": f"picture {number}", "steps": steps, "guidance": guidance, "n": choose.randint(1, 3)}
        noise.append(client.submit(request | {"width": choose.choice([64, 256]), "seed": number}))
        if choose.random() < 0.3:
            same.append(client.submit(SAME))
    return [ended(client, job) for job in same], [ended(client, job) for job in noise]


SAME = {"prompt": "a red apple", "negative_prompt": "blue", "seed": 3, "steps": 12, "reproducible": True}


def test_a_reproducible_request_gives_the_same_bytes_at_any_load(client, load):
    same, _ = load
    assert len(same) > 4
    assert len({job.images[0].sha256 for job in same}) == 1
    assert len({str(client.receipts(job.id)[0].receipt) for job in same}) == 1


def test_a_replay_makes_the_bytes_of_pictures_that_were_made_among_others(client, port, load):
    _, noise = load
    sizes = {job.id: {size for size, _ in client.receipts(job.id)[0].receipt["buckets"]} for job in noise}
    mixed = max(noise, key=lambda job: len(sizes[job.id]))
    assert len(sizes[mixed.id]) > 1, "no job's batches changed their size"
    said = CliRunner().invoke(replay, [mixed.id, "--server", f"http://127.0.0.1:{port}"])
    assert said.exit_code == 0, said.output
    assert said.output.count("the same bytes") == mixed.n
    assert mixed.images[0].sha256 in said.output
