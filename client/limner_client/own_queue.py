"""The client's pause of its tenant's own queue, and its cancellation of what waits there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from limner_shared.domain.account_views import CanceledView, CancellationList, CancellationView, OwnPauseView
from limner_shared.domain.cancellations import CancellationState
from limner_shared.domain.jobs import Priority

PAUSE: Final = "/api/v1/pause"
CANCEL: Final = "/api/v1/jobs/cancel"
CANCELLATIONS: Final = "/api/v1/cancellations"
POLL_SECONDS: Final = 1.0


class OwnQueue:
    """The queue of one server's tenant. Raises what `Client` raises."""

    def __init__(self, call: Callable[..., Any]) -> None:
        """`call` sends a method, a path and httpx's options, and returns the answer's JSON."""
        self._call = call

    def state(self) -> OwnPauseView:
        """Return whether your queue is paused, and by whom."""
        return OwnPauseView.model_validate(self._call("GET", PAUSE))

    def pause(self, reason: str | None = None, until: datetime | None = None) -> OwnPauseView:
        """Pause your queue until a time, or until you resume it. Jobs are accepted and wait; running ones finish."""
        body = {"reason": reason, "until": None if until is None else until.isoformat()}
        given = {name: value for name, value in body.items() if value is not None}
        return OwnPauseView.model_validate(self._call("PUT", PAUSE, json=given))

    def resume(self) -> OwnPauseView:
        """End your own pause of your queue; the operator's remains."""
        return OwnPauseView.model_validate(self._call("DELETE", PAUSE))

    def cancel(self, model: str | None = None, priority: Priority | None = None) -> int:
        """Cancel your jobs that wait, of one model and priority class or of all; running ones go on. Returns how many
        were canceled, once none is left or the cancellation is stopped.
        """
        answer = self.begin_cancel(model, priority)
        if answer.cancellation is None:
            return answer.canceled
        while (view := self.cancellation(answer.cancellation)).status is CancellationState.RUNNING:
            time.sleep(POLL_SECONDS)
        return view.canceled

    def begin_cancel(self, model: str | None = None, priority: Priority | None = None) -> CanceledView:
        """Cancel your oldest jobs that wait, as `cancel` does, and let the service cancel the others: it goes on
        without this client. The answer has the id of the cancellation, or None if nothing waited.
        """
        which = {name: value for name, value in (("model", model), ("priority", priority)) if value is not None}
        return CanceledView.model_validate(self._call("POST", CANCEL, json=which | {"in_background": True}))

    def cancellations(self) -> list[CancellationView]:
        """Return your cancellations that run, the oldest first."""
        return CancellationList.model_validate(self._call("GET", CANCELLATIONS)).items

    def cancellation(self, cancellation_id: str) -> CancellationView:
        """Return a cancellation, with the number of jobs that it has canceled so far."""
        return CancellationView.model_validate(self._call("GET", f"{CANCELLATIONS}/{cancellation_id}"))

    def stop_cancellation(self, cancellation_id: str) -> CancellationView:
        """Stop a cancellation: what it has not canceled yet stays in the queue."""
        return CancellationView.model_validate(self._call("POST", f"{CANCELLATIONS}/{cancellation_id}/stop"))
