"""What is wrong with a request, or why the service cannot accept it now."""

from __future__ import annotations

from limner_shared.errors.base import LimnerError


class InvalidRequest(LimnerError):
    """A value in the request is not valid."""

    code, title, status = "invalid_request", "Invalid request", 422


class NegativePromptUnsupported(InvalidRequest):
    """This model cannot leave out what a negative prompt names: leave `negative_prompt` empty."""

    code, title = "negative_prompt_unsupported", "Negative prompt unsupported"


class ModerationBlocked(LimnerError):
    """The request is not allowed here: its text or a picture of it was refused. Ask for something else."""

    code, title, status = "moderation_blocked", "Blocked by moderation", 400
    excused = True


class MalformedBody(LimnerError):
    """The body could not be read."""

    code, title, status = "malformed_body", "Malformed body", 400


class BadBulk(LimnerError):
    """The bulk has lines that are not valid; no job was queued."""

    code, title, status = "invalid_bulk", "Invalid bulk", 422


class NotFound(LimnerError):
    """No resource has this id."""

    code, title, status = "not_found", "Not found", 404


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


class TooManyRequests(LimnerError):
    """A limit of this tenant is reached: try again after the seconds in `Retry-After`."""

    code, title, status, retryable = "limit_reached", "Limit reached", 429, True


class LimitTooLow(InvalidRequest):
    """A limit of this tenant will never allow this: ask for less at once, or have the limit raised."""

    code, title = "limit_too_low", "Limit too low"


class Overloaded(LimnerError):
    """The service is at capacity: try again shortly."""

    code, title, status, retryable = "overloaded", "Overloaded", 503, True


class InterpreterUnavailable(LimnerError):
    """No worker interprets descriptions now: start one, or send a prompt instead of a description."""

    code, title, status, retryable = "interpreter_unavailable", "Interpreter unavailable", 503, True


class WebhookUnreachable(LimnerError):
    """The webhook endpoint gave no answer: check its URL."""

    code, title, status = "webhook_unreachable", "Webhook unreachable", 422


class WebhookNotSent(LimnerError):
    """No dispatcher has sent the event yet."""

    # Not a 503: clients repeat that by themselves, and each repeat would send one more event.
    code, title, status = "webhook_not_sent", "Webhook not sent", 422
