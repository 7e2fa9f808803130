"""The keys by which equal pictures are found: what is stored by earlier releases must be found by later ones."""

from __future__ import annotations

from limner_shared.db.ledger import Claim
from limner_shared.domain.jobs import JobSpec, Lane
from limner_worker.stages.deduplication import deduplication_keys

SPEC = JobSpec(
    model="limner-flow", prompt="a red apple", style="flat", width=256, height=256, steps=8, guidance=3.0, seed=7, n=1
)


def key_of(spec: JobSpec) -> str:
    claim = Claim("job_1", "tenant_local", None, 1, 1, Lane.NORMAL, spec, shares=True)
    [key] = deduplication_keys(claim, {"model": "ab"})
    return key


def test_a_spec_has_the_key_that_earlier_releases_stored() -> None:
    assert key_of(SPEC) == "b73d956d2290329fb07a1639a2d02b85cc8f9b946b9ec7c81700607ce262ef2a"


def test_the_languages_of_a_client_do_not_change_the_key() -> None:
    assert key_of(SPEC.model_copy(update={"languages": ("de", "en")})) == key_of(SPEC)
