"""The autoscaler of `limner up` with real workers of the null model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner_client.client import Client
from limner_client.local.autoscaler import Autoscaler
from limner_client.local.embedded_valkey import free_port
from limner_client.local.stack import Stack
from limner_client.local.worker_scaling import ScalingRules
from limner_shared.domain.jobs import JobState
from limner_shared.settings import Settings
from tests.processes import eventually

NULL_CARD = Path(__file__).parents[1] / "models" / "null.toml"
RULES = ScalingRules(least=0, most=3, target_seconds=20, cooldown_seconds=3)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A service without workers."""
    port = free_port()
    settings = Settings(data_dir=tmp_path, port=port, models=(NULL_CARD,), default_model="null", interpreter="off")
    made = Stack(settings, workers=0, log_dir=tmp_path / "logs", tell=lambda _name, _line: None)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.long
def test_workers_start_with_the_work_and_stop_after_it_and_no_job_is_lost(stack: Stack) -> None:
    with closing(Autoscaler(stack, RULES)) as autoscaler, Client(stack.url) as client:
        most = 0

        def tended(check: Callable[[], bool]) -> Callable[[], bool]:
            def tend() -> bool:
                nonlocal most
                stack.restart_dead()
                autoscaler.adjust()
                most = max(most, stack.worker_count)
                return check()

            return tend

        def ended(ids: list[str]) -> bool:
            return all(client.job(job_id).status is JobState.SUCCEEDED for job_id in ids)

        def gone() -> bool:
            return stack.worker_count == 0 and not stack._leaving

        assert stack.worker_count == 0
        # 5 s a job until some have ended: 150 s of work, which is more than three workers have in their target.
        ids = [client.submit({"prompt": "a red apple", "steps": 100}).id for _ in range(30)]
        eventually(tended(lambda: ended(ids)), 90, every=0.1)
        assert most == RULES.most
        eventually(tended(gone), 60, every=0.1)
        again = client.submit({"prompt": "a red apple", "steps": 2})
        eventually(tended(lambda: ended([again.id])), 60, every=0.1)
        assert most == RULES.most
        eventually(tended(gone), 60, every=0.1)


@pytest.mark.long
def test_a_paused_model_starts_no_worker(stack: Stack) -> None:
    with closing(Autoscaler(stack, RULES)) as autoscaler, Client(stack.url) as client:
        client._json("POST", "/api/v1/pauses", json={"model": "null", "reason": "new weights"})
        client.submit({"prompt": "a red apple", "steps": 2})
        autoscaler.adjust()
        assert stack.worker_count == 0
