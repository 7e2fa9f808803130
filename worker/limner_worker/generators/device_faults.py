"""Faults of a device: memory that is full, which passes, and a context that is broken, which ends the process."""

from __future__ import annotations

import gc
import sys
from typing import Final

SIGNS: Final = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators say it where they raise a plain RuntimeError."""


BROKEN: Final = (
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
"""How torch tells that a device's context cannot be used any more. After such an error every later call fails too, and
only a new process gets a new context (CUDA runtime API, "Error Handling": sticky errors)."""


def is_device_broken(error: BaseException) -> bool:
    """Whether no later call in this process can succeed on the device."""
    if is_out_of_memory(error):
        return False
    return type(error).__name__ == "AcceleratorError" or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in BROKEN)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the same work may succeed on fewer rows."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS))
    )


def release() -> None:
    """Give back what is cached; without torch, and without loading it, that is Python's own garbage."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
