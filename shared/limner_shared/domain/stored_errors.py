"""Errors of jobs, read back from what the ledger stored of them."""

from __future__ import annotations

from limner_shared.errors import GenerationFailed, LimnerError


def stored_error(code: str, message: str) -> LimnerError:
    """The error that was stored as a code and a message; GenerationFailed for a code that is not known."""
    kinds: list[type[LimnerError]] = [LimnerError]
    for kind in kinds:  # the list grows while it is read
        if kind.code == code:
            return kind(message)
        kinds += kind.__subclasses__()
    return GenerationFailed(message)
