"""The one tree of errors: each class owns its stable code, its HTTP status and whether a retry can help."""

from __future__ import annotations

from typing import Any, ClassVar


class LimnerError(Exception):
    """Something went wrong; the message tells the user what to change.

    `code` never changes once released; `status` is the HTTP status; `retryable` says whether the same request
    may succeed later without being changed. `details` is JSON that a program may want (field names, line numbers).
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or self.title).strip().splitlines()[0]
        self.details = details
        super().__init__(self.message)


class InvalidRequest(LimnerError):
    """The request has a value that cannot be accepted."""

    code, title, status = "invalid_request", "Invalid request", 422


class MalformedBody(LimnerError):
    """The body could not be read."""

    code, title, status = "malformed_body", "Malformed body", 400


class BadBulk(LimnerError):
    """The bulk has lines that cannot be accepted; nothing was queued."""

    code, title, status = "invalid_bulk", "Invalid bulk", 422


class Unauthorized(LimnerError):
    """A valid API key is needed: send it as `Authorization: Bearer KEY`."""

    code, title, status = "unauthorized", "Unauthorized", 401


class Forbidden(LimnerError):
    """This may not be asked in this way."""

    code, title, status = "forbidden", "Forbidden", 403


class NotFound(LimnerError):
    """There is nothing with this id."""

    code, title, status = "not_found", "Not found", 404


class Gone(LimnerError):
    """What this request has made before was deleted since: to make it again, send it with a new Idempotency-Key."""

    code, title, status = "gone", "Gone", 410


class InvalidState(LimnerError):
    """The job's state does not allow this."""

    code, title, status = "invalid_state", "Invalid state", 409


class IdempotencyConflict(LimnerError):
    """This Idempotency-Key was used for another request: repeat that one unchanged, or choose a new key."""

    code, title, status = "idempotency_conflict", "Idempotency conflict", 409


class BulkLoading(LimnerError):
    """The same bulk is being read already: ask again in a few seconds."""

    code, title, status, retryable = "bulk_loading", "Bulk loading", 409, True


class NotAcceptable(LimnerError):
    """None of the accepted media types can be produced."""

    code, title, status = "not_acceptable", "Not acceptable", 406


class BodyTooLarge(LimnerError):
    """The body is larger than this service accepts."""

    code, title, status = "body_too_large", "Body too large", 413


class RequestTimeout(LimnerError):
    """The body came too slowly: send it again, without pauses."""

    code, title, status, retryable = "request_timeout", "Request timeout", 408, True


class UnsupportedMediaType(LimnerError):
    """The content type of the body is not one that this endpoint reads."""

    code, title, status = "unsupported_media_type", "Unsupported media type", 415


class ServiceUnavailable(LimnerError):
    """The service cannot take this now; try again shortly."""

    code, title, status, retryable = "service_unavailable", "Service unavailable", 503, True


class TooManyRequests(LimnerError):
    """A limit of this tenant is reached; `Retry-After` says when to try again."""

    code, title, status, retryable = "limit_reached", "Limit reached", 429, True


class Overloaded(LimnerError):
    """The service has as much in hand as it can hold; try again shortly."""

    code, title, status, retryable = "overloaded", "Overloaded", 503, True


class StorageFull(LimnerError):
    """The disk or bucket that keeps the pictures is full: free some space and submit the job again."""

    code, title, status = "storage_full", "Storage full", 507


class StorageFailed(LimnerError):
    """The picture store cannot be reached or written."""

    code, title, status, retryable = "storage_failed", "Storage failed", 503, True


class ModelUnavailable(LimnerError):
    """This worker does not serve the job's model."""

    code, title, status, retryable = "model_unavailable", "Model unavailable", 503, True


class UnreadableJob(LimnerError):
    """The stored request cannot be read by this version: submit it again."""

    code, title, status = "unreadable_job", "Unreadable job", 500


class DamagedInput(LimnerError):
    """The stored picture that this job starts from is damaged: send it again."""

    code, title, status = "damaged_input", "Damaged input", 500


class GenerationFailed(LimnerError):
    """The model could not make this picture; the service's log has the reason."""

    code, title, status = "generation_failed", "Generation failed", 500


class OutOfMemory(LimnerError):
    """The picture does not fit into the device's memory: ask for a smaller size."""

    code, title, status = "out_of_memory", "Out of memory", 500


class WorkerLost(LimnerError):
    """Every worker that tried this job stopped before it was finished: the job is a dead letter."""

    code, title, status, retryable = "worker_lost", "Worker lost", 500, True


class DeadlineExceeded(LimnerError):
    """The job's `expires_in` passed before it was finished."""

    code, title, status, retryable = "deadline_exceeded", "Deadline exceeded", 504, True


class CardError(LimnerError):
    """A model card cannot be used."""

    code, title, status = "bad_model_card", "Bad model card", 500


class ConfigurationError(LimnerError):
    """The configuration cannot be used."""

    code, title, status = "bad_configuration", "Bad configuration", 500


class LeaseLost(LimnerError):
    """The job was canceled or belongs to another attempt: this result is discarded."""

    code, title, status = "lease_lost", "Lease lost", 409
