"""The client's pause of its tenant's own queue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from limner_shared.domain.account_views import OwnPauseView

PAUSE: Final = "/api/v1/pause"


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
