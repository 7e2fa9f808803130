"""What a tenant is told when a picture fails: a stable code and a plain sentence. The details are the log's."""

from __future__ import annotations

from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import GenerationFailed, LimnerError, OutOfMemory
from limner_worker.generators import device_faults


def failure_of(error: Exception, spec: JobSpec) -> LimnerError:
    """The error of a job whose picture alone made the model raise this."""
    if isinstance(error, LimnerError):
        return error
    if device_faults.is_out_of_memory(error):
        how = "at the fixed batch size that `reproducible` means" if spec.reproducible else "even alone"
        instead = " or without `reproducible`" if spec.reproducible else ""
        return OutOfMemory(
            f"A picture of {spec.width}×{spec.height} does not fit into the device's memory {how}: "
            f"ask for a smaller size{instead}."
        )
    if isinstance(error, FloatingPointError):
        return GenerationFailed(
            "The model produced values that are not finite: try another seed, or other steps or guidance."
        )
    return GenerationFailed()
