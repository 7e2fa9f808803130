"""A real worker refuses what its rules do not allow, however the job came into its queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from limner_shared.db.accounts import tenants
from limner_shared.domain.jobs import JobState
from tests.processes import Service


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
