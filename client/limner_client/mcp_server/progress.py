"""Progress notifications: how far a job is, for agents that asked for them with their call."""

from __future__ import annotations

from anyio import from_thread
from mcp.server.mcpserver import Context

from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView


class Progress:
    """Tells one call's agent about its job, from the call's thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.is_wanted = "progress_token" in (ctx.request_context.meta or {})
        self._told: tuple[float, str] | None = None

    def tell(self, job: JobView) -> None:
        """Send the fraction that is done, if it has grown or its words have changed since the last time."""
        if not self.is_wanted:
            return
        done, words = _progress(job)
        least = 0.0 if self._told is None else self._told[0]
        now = (max(done, least), words)  # a retry begins at 0 again, but the protocol requires that progress grows
        if now != self._told:
            self._told = now
            from_thread.run(self._ctx.report_progress, now[0], 1.0, words)


def _progress(job: JobView) -> tuple[float, str]:
    if job.status.terminal:
        return 1.0, job.status
    if job.progress is not None and job.progress.total:
        return job.progress.done / job.progress.total, f"drawing, step {job.progress.done} of {job.progress.total}"
    if job.status is JobState.RUNNING:
        return 0.0, "drawing"
    return 0.0, "queued" if job.position is None else f"queued, jobs ahead: {job.position}"
