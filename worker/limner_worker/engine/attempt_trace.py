"""The trace of one attempt: a span from its claim to its end, and below it one for each stage. Imports no torch.

Work is done for many jobs together, so a stage's span has the times of the shared call, once in the trace of each job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from limner_shared import tracing
from limner_shared.db.ledger import Claim
from limner_shared.tracing import Attributes, Span

GROUP_SECONDS: Final = 10.0
"""Steps that follow one another share a span that is at least this long, unless the job is decoded before."""
BATCH_ROWS: Final = "limner.batch.rows"


@dataclass(slots=True)
class Steps:
    """Steps that share a span."""

    started: int
    count: int = 0
    seconds: float = 0.0
    """In the model; the rest of the span is what other batches took."""
    fewest: int = 0
    most: int = 0

    def add(self, seconds: float, batch_rows: int) -> None:
        """Add a step that has just ended."""
        self.count += 1
        self.seconds += seconds
        self.fewest = min(self.fewest or batch_rows, batch_rows)
        self.most = max(self.most, batch_rows)


class AttemptTrace:
    """Records one attempt. Its steps are recorded by the engine's thread, all else by any."""

    def __init__(self, claim: Claim, span: Span) -> None:
        self._job_id = claim.id
        self._span = span
        self._steps: Steps | None = None
        self._first = 1
        self._publishing: Span | None = None
        tracing.hold(claim.id, span.trace_id)

    @classmethod
    def of(cls, claim: Claim, started: int) -> AttemptTrace | None:
        """Begin the trace of an attempt whose claim began at `started` and has just ended; None if the job is not
        traced.
        """
        if claim.traceparent is None or not tracing.enabled():
            return None
        name = f"generate_content {claim.spec.model}"  # the operation of GenAI's conventions that makes media
        span = tracing.start(name, claim.traceparent, _attributes(claim), started=started)
        if span is None:
            return None
        tracing.record("claim", span, started)
        return cls(claim, span)

    def stage(self, name: str, started: int, attributes: Attributes | None = None) -> None:
        """Record a stage that began at `started` and has just ended."""
        tracing.record(name, self._publishing or self._span, started, attributes)

    def stepped(self, seconds: float, batch_rows: int) -> None:
        """Record a step that has just ended; its batch had `batch_rows` rows."""
        steps = self._steps
        if steps is None:
            steps = self._steps = Steps(tracing.ago(seconds))
        steps.add(seconds, batch_rows)
        if tracing.clock() - steps.started > GROUP_SECONDS * 1e9:
            self._end_steps()

    def decoded(self, seconds: float, batch_rows: int) -> None:
        """Record a decode that has just ended."""
        self._end_steps(at=tracing.ago(seconds))
        self.stage("decode", tracing.ago(seconds), {BATCH_ROWS: batch_rows})

    def publishing(self) -> None:
        """The pictures are complete: later stages belong to the span `publish`."""
        self._publishing = tracing.start("publish", self._span)

    def ended(self, outcome: str, error: str | None = None) -> None:
        """End the attempt: `outcome` is the job's state after it, or what became of it; `error` is an error's code.
        Later calls do nothing.
        """
        self._end_steps()
        if self._publishing is not None:
            self._publishing.end(error)
        self._span.annotate({"limner.attempt.outcome": outcome})
        self._span.end(error)
        tracing.release(self._job_id)

    def _end_steps(self, at: int | None = None) -> None:
        steps, self._steps = self._steps, None
        if steps is None:
            return
        attributes: Attributes = {
            "limner.steps.first": self._first,
            "limner.steps.count": steps.count,
            "limner.steps.seconds": round(steps.seconds, 6),
            "limner.batch.rows.min": steps.fewest,
            "limner.batch.rows.max": steps.most,
        }
        self._first += steps.count
        tracing.record("steps", self._span, steps.started, attributes, ended=at)


def stage_of(
    traces: Iterable[AttemptTrace | None], name: str, started: int, attributes: Attributes | None = None
) -> None:
    """Record a stage in each of these traces."""
    for trace in traces:
        if trace is not None:
            trace.stage(name, started, attributes)


def _attributes(claim: Claim) -> Attributes:
    spec = claim.spec
    return {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "limner",
        "gen_ai.output.type": "image",
        tracing.MODEL: spec.model,
        "gen_ai.request.seed": spec.seed,
        "gen_ai.request.choice.count": spec.n,
        "limner.request.width": spec.width,
        "limner.request.height": spec.height,
        "limner.request.steps": spec.steps,
        "limner.tenant.id": claim.tenant_id,
        tracing.BULK_ID: claim.bulk_id,
        tracing.JOB_ID: claim.id,
        tracing.LANE: claim.lane.name.lower(),
        "limner.attempt.number": claim.attempt,
    }
