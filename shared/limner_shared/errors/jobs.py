"""Why a job fails, or has to wait."""

from __future__ import annotations

from limner_shared.errors.base import LimnerError


class SafetyUnavailable(LimnerError):
    """The picture could not be judged, and this service stores none that was not: try again later."""

    code, title, status, retryable = "safety_unavailable", "Safety unavailable", 503, True


class ClassifierUnavailable(SafetyUnavailable):
    """No picture can be judged now, and this one must be: it is tried again."""

    is_awaited = True


class SigningFailed(LimnerError):
    """The picture could not be signed, and its owner wants signed pictures only: try again later."""

    code, title, status, retryable = "signing_failed", "Signing failed", 503, True


class SigningUnavailable(SigningFailed):
    """No picture can be signed now, and this one's owner wants signed pictures only: it is tried again."""

    is_awaited = True


class ModelUnavailable(LimnerError):
    """This worker does not serve the job's model."""

    code, title, status, retryable = "model_unavailable", "Model unavailable", 503, True
    excused = True


class UnreadableJob(LimnerError):
    """This version cannot read the stored request: submit it again."""

    code, title, status = "unreadable_job", "Unreadable job", 500


class DamagedInput(LimnerError):
    """The stored input picture of this job is damaged: send it again."""

    code, title, status = "damaged_input", "Damaged input", 500


class GenerationFailed(LimnerError):
    """The model could not generate this picture; the service's log has the reason."""

    code, title, status = "generation_failed", "Generation failed", 500


class RequestUnsupported(LimnerError):
    """The model's pipeline cannot draw what this request asks for: change the field that the message names."""

    code, title, status = "request_unsupported", "Request unsupported", 422
    excused = True


class OutOfMemory(LimnerError):
    """The picture does not fit into the device's memory: request a smaller size."""

    code, title, status, retryable = "out_of_memory", "Out of memory", 500, True
    # Other programs may have filled the device, and another worker's may be larger; but most often it is the size.
    most_retries = 2
    excused = True


class ResourceUnreadable(LimnerError):
    """A file that the model needs could not be read: try again later."""

    code, title, status, retryable = "resource_unreadable", "Resource unreadable", 503, True


class WorkerLost(LimnerError):
    """Every worker that ran this job was lost before it finished: the job is a dead letter."""

    code, title, status, retryable = "worker_lost", "Worker lost", 500, True


class DeadlineExceeded(LimnerError):
    """The job's `expires_in` passed before it finished."""

    code, title, status, retryable = "deadline_exceeded", "Deadline exceeded", 504, True
    excused = True  # a service that is slow misses its objective for starts


class LeaseLost(LimnerError):
    """The job was canceled or is owned by another attempt: this result is discarded."""

    code, title, status = "lease_lost", "Lease lost", 409
