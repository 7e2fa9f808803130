"""The whole service as started by `limner up`, with the real model, until it stops."""

from __future__ import annotations

import io
from pathlib import Path

import psutil
import pytest
from PIL import Image

from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from tests.e2e.running import draw, limner_up


def test_the_same_request_gives_the_same_bytes(service: int):
    first = draw(service, "rocket", seed=3, steps=4)
    assert first == draw(service, "rocket", seed=3, steps=4)
    assert Image.open(io.BytesIO(first)).size == (256, 256)


@pytest.mark.long
def test_results_survive_a_restart_and_no_process_remains(tmp_path: Path):
    port = free_port()
    with limner_up(tmp_path / "data", port) as process:
        draw(port, "ghost", steps=2)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
    assert process.returncode == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    with limner_up(tmp_path / "data", port), Client(f"http://127.0.0.1:{port}") as client:
        [job] = client.jobs().items
        assert (job.prompt, job.status) == ("ghost", "succeeded")
        assert client.download(job.images[0])
