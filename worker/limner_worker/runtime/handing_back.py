"""Returns attempts that a worker gives up to the queue."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import AttemptKey
from limner_shared.messaging.hints import Hints
from limner_shared.telemetry import get_logger, job_ids
from limner_worker.engine.job_run import JobRun

log = get_logger(__name__)


def hand_back(database: Database, hints: Hints, jobs: Sequence[JobRun], suspects: Collection[AttemptKey]) -> None:
    """Return attempts to the queue without a loss. The leases of `suspects` end now; each counts as one loss.

    Never raises: without the database, the leases run out.
    """
    if not jobs:
        return
    others = [job.key for job in jobs if job.key not in suspects]
    try:
        with database.write() as session:
            changes = ledger.hand_back(session, others)
            if suspects:
                ledger.forfeit(session, suspects)
        hints.changed(changes)
        log.info(
            "handed back",
            jobs=job_ids(each.id for each in changes),
            suspects=sorted(key.job_id for key in suspects),
        )
    except Exception:
        log.exception("could not hand back; the leases will run out", jobs=job_ids(job.id for job in jobs))
