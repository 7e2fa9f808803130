"""When a device's memory is full: how that is known, and how what nobody uses is given back."""

from __future__ import annotations

import gc
import sys

SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators say it where they raise a plain RuntimeError."""


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
