"""A real worker refuses what its rules do not allow, however the job came into its queue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from limner_shared.db.accounts import tenants
from limner_shared.domain.jobs import JobState
from tests.fake_moderation import FLAGGED, fake_moderation, judged
from tests.processes import Service, eventually

MODELS = Path(__file__).parent.parent / "models"


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_draws_no_job_whose_text_the_rules_do_not_allow_any_more(service: Service) -> None:
    with service.database.write() as session:
        tenants.change_tenant(session, "local", {"blocked_terms": ["unwanted"]})
    service = replace(service, settings=service.settings.model_copy(update={"moderation_rules": ("builtin",)}))
    allowed, by_the_rules, by_the_tenant = (
        service.submit(1, prompt=prompt)[0] for prompt in ("a cat", "a decapitated king", "an unwanted thing")
    )
    service.start("dispatcher")
    service.start_workers()
    jobs = {job.id: job for job in service.wait([allowed, by_the_rules, by_the_tenant])}
    assert jobs[allowed].state == JobState.SUCCEEDED, service.logs()
    for refused in (jobs[by_the_rules], jobs[by_the_tenant]):
        assert (refused.state, refused.error_code, refused.attempt) == ("failed", "moderation_blocked", 1)


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_jobs_wait_for_a_moderation_service_that_is_away_and_are_judged_when_it_is_back(service: Service) -> None:
    with fake_moderation() as server:
        server.keys = {"the key"}
        moderation = {"moderation_url": server.url, "moderation_key": "the key", "moderation_model": "a-judge"}
        service.change_settings(moderation | {"models": (MODELS,), "default_model": "null", "interpreter": "rules"})
        server.answer = lambda _: (500, b"{}")
        service.start("dispatcher")
        service.start_workers(1, "--model", "null")
        allowed = service.submit(5, prompt="un gato")
        [described] = service.submit(prompt=None, description=f"dibuja {FLAGGED}")
        eventually(lambda: len(server.asked) > 2)
        assert {job.state for job in service.jobs([*allowed, described])} <= {"queued", "running"}, service.logs()
        server.answer = judged
        jobs = service.wait([*allowed, described])
        assert [job.state for job in jobs] == ["succeeded"] * 5 + ["failed"], service.logs()
        assert (jobs[-1].error_code, jobs[-1].losses, jobs[-1].retries) == ("moderation_blocked", 0, 0)
    assert FLAGGED not in service.logs()
    assert "the key" not in service.logs()
