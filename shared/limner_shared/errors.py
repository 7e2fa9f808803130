"""The tree of errors. Each class defines its stable code, its HTTP status and whether a retry can help."""

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

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or self.title).strip().splitlines()[0]
        self.details = details
        super().__init__(self.message)


class InvalidRequest(LimnerError):
    """A value in the request is not valid."""

    code, title, status = "invalid_request", "Invalid request", 422


class NegativePromptUnsupported(InvalidRequest):
    """This model cannot leave out what a negative prompt names: leave `negative_prompt` empty."""

    code, title = "negative_prompt_unsupported", "Negative prompt unsupported"


class ModerationBlocked(LimnerError):
    """The request is not allowed here: its text or a picture of it was refused. Ask for something else."""

    code, title, status = "moderation_blocked", "Blocked by moderation", 400


class SafetyUnavailable(LimnerError):
    """The picture could not be judged, and this service stores none that was not: try again later."""

    code, title, status, retryable = "safety_unavailable", "Safety unavailable", 503, True


class SigningFailed(LimnerError):
    """The picture could not be signed, and its owner wants signed pictures only: try again later."""

    code, title, status, retryable = "signing_failed", "Signing failed", 503, True


class MalformedBody(LimnerError):
    """The body could not be read."""

    code, title, status = "malformed_body", "Malformed body", 400


class BadBulk(LimnerError):
    """The bulk has lines that are not valid; no job was queued."""

    code, title, status = "invalid_bulk", "Invalid bulk", 422


class Unauthorized(LimnerError):
    """A valid API key is required: send it as `Authorization: Bearer KEY`."""

    code, title, status = "unauthorized", "Unauthorized", 401


class Forbidden(LimnerError):
    """The request is not allowed."""

    code, title, status = "forbidden", "Forbidden", 403


class SubmitScopeRequired(LimnerError):
    """This request needs a key with the scope `submit`."""

    code, title, status = "submit_scope_required", "Scope submit required", 403


class ReadScopeRequired(LimnerError):
    """This request needs a key with the scope `read`."""

    code, title, status = "read_scope_required", "Scope read required", 403


class AdminScopeRequired(LimnerError):
    """This request needs a key with the scope `admin`."""

    code, title, status = "admin_scope_required", "Scope admin required", 403


class OperatorRequired(LimnerError):
    """Only the operator may do this: use an admin key of the tenant `local`, or the `limner` command."""

    code, title, status = "operator_required", "Operator required", 403


class NotFound(LimnerError):
    """No resource has this id."""

    code, title, status = "not_found", "Not found", 404


class InvalidLink(LimnerError):
    """This link was not made by this service, or its signing key has changed: request a new one."""

    code, title, status = "invalid_link", "Invalid link", 403


class LinkExpired(LimnerError):
    """This link has expired: request a new one."""

    code, title, status = "link_expired", "Link expired", 410


class ModelNotFound(NotFound):
    """There is no model of this name: `GET /v1/models` lists the names."""

    code, title = "model_not_found", "Model not found"


class Gone(LimnerError):
    """The resource that this request created has been deleted: to create it again, use a new Idempotency-Key."""

    code, title, status = "gone", "Gone", 410


class InvalidState(LimnerError):
    """The job's state does not allow this."""

    code, title, status = "invalid_state", "Invalid state", 409


class IdempotencyConflict(LimnerError):
    """This Idempotency-Key was used for a different request: repeat that request unchanged, or use a new key."""

    code, title, status = "idempotency_conflict", "Idempotency conflict", 409


class BulkLoading(LimnerError):
    """The same bulk is still being read: try again in a few seconds."""

    code, title, status, retryable = "bulk_loading", "Bulk loading", 409, True


class UniqueKeyLoading(LimnerError):
    """A job of a bulk that is still being read holds this unique key: try again in a few seconds."""

    code, title, status, retryable = "unique_key_loading", "Unique key loading", 409, True


class NotAcceptable(LimnerError):
    """None of the accepted media types can be produced."""

    code, title, status = "not_acceptable", "Not acceptable", 406


class BodyTooLarge(LimnerError):
    """The body is larger than this service accepts."""

    code, title, status = "body_too_large", "Body too large", 413


class RequestTimeout(LimnerError):
    """The body arrived too slowly: send it again, without pauses."""

    code, title, status, retryable = "request_timeout", "Request timeout", 408, True


class UnsupportedMediaType(LimnerError):
    """This endpoint does not accept the body's content type."""

    code, title, status = "unsupported_media_type", "Unsupported media type", 415


class ServiceUnavailable(LimnerError):
    """The service cannot accept the request now: try again shortly."""

    code, title, status, retryable = "service_unavailable", "Service unavailable", 503, True


class DatabaseFull(LimnerError):
    """The disk of the database is full, so nothing new can be stored: try again once the operator has freed space."""

    code, title, status, retryable = "database_full", "Database full", 507, True


class TooManyRequests(LimnerError):
    """A limit of this tenant is reached: try again after the seconds in `Retry-After`."""

    code, title, status, retryable = "limit_reached", "Limit reached", 429, True


class Overloaded(LimnerError):
    """The service is at capacity: try again shortly."""

    code, title, status, retryable = "overloaded", "Overloaded", 503, True


class InterpreterUnavailable(LimnerError):
    """No worker interprets descriptions now: start one, or send a prompt instead of a description."""

    code, title, status, retryable = "interpreter_unavailable", "Interpreter unavailable", 503, True


class StorageFull(LimnerError):
    """The disk or bucket that stores the pictures is full: free some space and submit the job again."""

    code, title, status = "storage_full", "Storage full", 507


class StorageFailed(LimnerError):
    """The picture store cannot be reached or written to."""

    code, title, status, retryable = "storage_failed", "Storage failed", 503, True


class ModelUnavailable(LimnerError):
    """This worker does not serve the job's model."""

    code, title, status, retryable = "model_unavailable", "Model unavailable", 503, True


class UnreadableJob(LimnerError):
    """This version cannot read the stored request: submit it again."""

    code, title, status = "unreadable_job", "Unreadable job", 500


class DamagedInput(LimnerError):
    """The stored input picture of this job is damaged: send it again."""

    code, title, status = "damaged_input", "Damaged input", 500


class GenerationFailed(LimnerError):
    """The model could not generate this picture; the service's log has the reason."""

    code, title, status = "generation_failed", "Generation failed", 500


class OutOfMemory(LimnerError):
    """The picture does not fit into the device's memory: request a smaller size."""

    code, title, status, retryable = "out_of_memory", "Out of memory", 500, True
    # Other programs may have filled the device, and another worker's may be larger; but most often it is the size.
    most_retries = 2


class ResourceUnreadable(LimnerError):
    """A file that the model needs could not be read: try again later."""

    code, title, status, retryable = "resource_unreadable", "Resource unreadable", 503, True


class WorkerLost(LimnerError):
    """Every worker that ran this job was lost before it finished: the job is a dead letter."""

    code, title, status, retryable = "worker_lost", "Worker lost", 500, True


class DeadlineExceeded(LimnerError):
    """The job's `expires_in` passed before it finished."""

    code, title, status, retryable = "deadline_exceeded", "Deadline exceeded", 504, True


class WebhookUnreachable(LimnerError):
    """The webhook endpoint gave no answer: check its URL."""

    code, title, status = "webhook_unreachable", "Webhook unreachable", 422


class WebhookNotSent(LimnerError):
    """No dispatcher has sent the event yet."""

    # Not a 503: clients repeat that by themselves, and each repeat would send one more event.
    code, title, status = "webhook_not_sent", "Webhook not sent", 422


class CardError(LimnerError):
    """The model card is not valid."""

    code, title, status = "bad_model_card", "Bad model card", 500


class ConfigurationError(LimnerError):
    """The configuration is not valid."""

    code, title, status = "bad_configuration", "Bad configuration", 500


class LeaseLost(LimnerError):
    """The job was canceled or is owned by another attempt: this result is discarded."""

    code, title, status = "lease_lost", "Lease lost", 409
