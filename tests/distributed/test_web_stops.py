"""A web process that stops still serves the calls that wait for their pictures, and lets go of streams."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from sqlalchemy import func, select

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState
from tests.processes import Service, eventually

pytestmark = pytest.mark.long

NULL = Path(__file__).parents[1] / "models" / "null.toml"
STEPS = 400
"""Of 20 ms each: longer than the five seconds that gunicorn was given before."""


def test_a_waiting_call_ends_well_while_its_web_process_stops(service: Service) -> None:
    changes = {"models": (NULL,), "default_model": "null", "port": free_port(), "web_workers": 1, "metrics": False}
    service.change_settings(changes | {"step_timeout_seconds": 30.0})
    service.start("dispatcher")
    service.start_workers()
    web = service.start_web()
    address = f"http://127.0.0.1:{service.settings.port}"

    def running() -> bool:
        with service.database.read() as session:
            return session.scalar(select(func.count()).where(Job.state == JobState.RUNNING)) == 1

    def lines(stream: httpx.Response) -> Iterator[str]:
        yield from stream.iter_lines()

    with (
        OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as openai,
        httpx.stream("GET", f"{address}/api/v1/events", trust_env=False, timeout=60) as stream,
        ThreadPoolExecutor() as threads,
    ):
        call = threads.submit(
            openai.images.generate, model="null", prompt="an apple", size="auto", extra_body={"steps": STEPS}
        )
        eventually(running)
        web.send_signal(signal.SIGTERM)
        assert list(lines(stream))  # ends, while the call still waits
        assert not call.done()
        pictures = call.result(60).data
        assert pictures
        assert pictures[0].b64_json
    assert web.wait(30) == 0
