"""Reproducible output: requests with `reproducible` give the same bytes at any load, and so does any replay."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from limner_client.cli.dead_letters import replay
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.views import JobView
from tests.e2e.running import limner_up


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


def wait_for_success(client: Client, job: JobView) -> JobView:
    *_, last = client.wait(job.id)
    assert last.status == "succeeded", last
    return last


@pytest.fixture(scope="module")
def jobs(client: Client) -> tuple[list[JobView], list[JobView]]:
    """Run random jobs and, among them, the same reproducible request several times; returns (same, random jobs)."""
    choose = random.Random(11)
    noise: list[JobView] = []
    same: list[JobView] = [wait_for_success(client, client.submit(SAME))]  # alone
    for number in range(30):
        steps, guidance = choose.randint(1, 20), choose.uniform(1, 9)
        request = {"prompt": f"picture {number}", "steps": steps, "guidance": guidance, "n": choose.randint(1, 3)}
        noise.append(client.submit(request | {"width": choose.choice([64, 256]), "seed": number}))
        if choose.random() < 0.3:
            same.append(client.submit(SAME))
    return [wait_for_success(client, job) for job in same], [wait_for_success(client, job) for job in noise]


SAME = {"prompt": "a red apple", "seed": 3, "steps": 12, "reproducible": True}


@pytest.mark.long
def test_a_reproducible_request_gives_the_same_bytes_at_any_load(
    client: Client, jobs: tuple[list[JobView], list[JobView]]
):
    same, _ = jobs
    assert len(same) > 4
    assert len({job.images[0].sha256 for job in same}) == 1
    assert len({str(client.receipts(job.id)[0].receipt) for job in same}) == 1


@pytest.mark.long
def test_a_replay_gives_the_bytes_of_pictures_from_mixed_batches(
    client: Client, port: int, jobs: tuple[list[JobView], list[JobView]]
):
    _, noise = jobs
    sizes = {job.id: {size for size, _ in client.receipts(job.id)[0].receipt["buckets"]} for job in noise}
    mixed = max(noise, key=lambda job: len(sizes[job.id]))
    assert len(sizes[mixed.id]) > 1, "no job ran in batches of different sizes"
    result = CliRunner().invoke(replay, [mixed.id, "--server", f"http://127.0.0.1:{port}"])
    assert result.exit_code == 0, result.output
    assert result.output.count("the same bytes") == mixed.n
    assert mixed.images[0].sha256 in result.output
