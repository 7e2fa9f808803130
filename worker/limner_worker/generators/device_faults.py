"""Device faults: full memory, which is temporary, and a broken context, which ends the process."""

from __future__ import annotations

import sys
from typing import Final

from limner_shared.python_gc import collect_and_freeze

OUT_OF_MEMORY_MESSAGES: Final = ("out of memory", "can't allocate memory", "not enough memory")
"""Messages with which torch's allocators report full memory where they raise a plain RuntimeError."""


BROKEN_CONTEXT_MESSAGES: Final = (
    "CUDA error",
    "HIP error",
    "CUBLAS_STATUS_",
    "CUDNN_STATUS_",
    "cuDNN error",
    "NCCL error",
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "uncorrectable ECC error",
    "Engine reset",
)
"""Messages with which torch reports that a device's context is unusable. After such an error every later call fails
too, and only a new process gets a new context (CUDA runtime API, "Error Handling": sticky errors)."""


def is_device_broken(error: BaseException) -> bool:
    """Return whether every later call on the device must fail in this process."""
    if is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in BROKEN_CONTEXT_MESSAGES)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the same work may succeed with fewer rows."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES))
    )


def reraise(error: Exception) -> None:
    """Raise an error again that is the device's, so that no one takes it for that of a model's files."""
    if is_device_broken(error) or is_out_of_memory(error):
        raise error


def release_cached_memory() -> None:
    """Collect garbage, and empty torch's CUDA cache if torch is loaded; does not import torch."""
    collect_and_freeze()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
