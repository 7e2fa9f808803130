"""Checks of a job before its model sees it."""

from __future__ import annotations

from collections.abc import Callable

from limner_shared.db.ledger import Claim
from limner_shared.errors import GenerationFailed, LimnerError
from limner_shared.telemetry import get_logger

log = get_logger(__name__)


def first_refusal(claim: Claim, *checks: Callable[[Claim], LimnerError | None]) -> LimnerError | None:
    """The first error that a check of a job returns, or None. A check that raises, for what is stored of the job or its
    tenant, refuses this job alone.
    """
    for check in checks:
        try:
            error = check(claim)
        except Exception:
            log.exception("could not check a job", job=claim.id)
            return GenerationFailed()
        if error is not None:
            return error
    return None
