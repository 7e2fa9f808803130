"""The base of all errors."""

from __future__ import annotations

from typing import Any, ClassVar


class LimnerError(Exception):
    """The base of all errors; the message tells the user what to change.

    `code` never changes once released. `status` is the HTTP status. `retryable` is true if the same request may succeed
    later without changes: then a failed job is tried again. `details` is JSON for programs (field names, line numbers).
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    most_retries: ClassVar[int | None] = None
    """How often a job is retried after this error at most, if that is less than its `max_retries`."""
    is_awaited: ClassVar[bool] = False
    """Whether something that the service depends on is away: the job waits for it, and no retry is counted."""
    excused: ClassVar[bool] = False
    """Whether a job that fails with it does not count against the service's objective (`deploy/monitoring/rules.yml`):
    what it asks for is the cause."""

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or self.title).strip().splitlines()[0]
        self.details = details
        super().__init__(self.message)
