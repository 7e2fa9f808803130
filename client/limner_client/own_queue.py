"""The client's pause of its tenant's own queue, and its cancellation of what waits there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from limner_shared.domain.account_views import CanceledView, OwnPauseView
from limner_shared.domain.jobs import Priority

PAUSE: Final = "/api/v1/pause"
CANCEL: Final = "/api/v1/jobs/cancel"


class OwnQueue:
    """The queue of one server's tenant. Raises what `Client` raises."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """`call` sends a method, a path and httpx's options, and returns the answer's JSON."""
        self._call = call

    def state(self) -> OwnPauseView:
        """Return whether your queue is paused, and by whom."""
        return OwnPauseView.model_validate(self._call("GET", PAUSE))

    def pause(self, reason: str | None = None, until: datetime | None = None) -> OwnPauseView:
        """Pause your queue until a time, or until you resume it: jobs are accepted and wait; running jobs end."""
        body = {"reason": reason, "until": None if until is None else until.isoformat()}
        given = {name: value for name, value in body.items() if value is not None}
        return OwnPauseView.model_validate(self._call("PUT", PAUSE, json=given))

    def resume(self) -> OwnPauseView:
        """End your own pause of your queue; the operator's remains."""
        return OwnPauseView.model_validate(self._call("DELETE", PAUSE))

    def cancel(self, model: str | None = None, priority: Priority | None = None) -> int:
        """Cancel your jobs that wait, of one model and priority class or of all; running ones go on. Returns how many
        were canceled.
        """
        body = {name: value for name, value in (("model", model), ("priority", priority)) if value is not None}
        canceled, is_left = 0, True
        while is_left:
            answer = CanceledView.model_validate(self._call("POST", CANCEL, json=body))
            canceled += answer.canceled
            is_left = answer.more and answer.canceled > 0  # those that others hold now begin or end by themselves
        return canceled
