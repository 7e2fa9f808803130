"""The error that a tenant sees when a picture fails: a stable code and a plain sentence. Details go to the log only."""

from __future__ import annotations

from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import GenerationFailed, LimnerError, OutOfMemory, ResourceUnreadable
from limner_worker.generators import device_faults


def failure_reason(error: Exception, spec: JobSpec) -> LimnerError:
    """Return the job's error for an exception that the model raised for this job's row alone.

    Its class decides whether the job is retried. After an exception of unknown cause it is not: most often
    the request causes it.
    """
    if isinstance(error, LimnerError):
        return error
    if device_faults.is_out_of_memory(error):
        how = "at the fixed batch size that `reproducible` requires" if spec.reproducible else "even alone"
        instead = " or omit `reproducible`" if spec.reproducible else ""
        return OutOfMemory(
            f"A picture of {spec.width}×{spec.height} does not fit into the device's memory {how}: "
            f"request a smaller size{instead}."
        )
    if isinstance(error, OSError):  # a file system or a service that is away, rather than the request
        return ResourceUnreadable()
    if isinstance(error, FloatingPointError):
        return GenerationFailed(
            "The model produced values that are not finite: try another seed, or other steps or guidance."
        )
    return GenerationFailed()
