"""Errors by their stable codes: those of jobs, as the ledger stored them, and those that a server answered."""

from __future__ import annotations

from limner_shared.errors import GenerationFailed, LimnerError


def class_of(code: str) -> type[LimnerError] | None:
    """The class of a stable code; None for a code that is not known."""
    kinds: list[type[LimnerError]] = [LimnerError]
    for kind in kinds:  # the list grows while it is read
        if kind.code == code:
            return kind
        kinds += kind.__subclasses__()
    return None


def stored_error(code: str, message: str) -> LimnerError:
    """The error that was stored as a code and a message; GenerationFailed for a code that is not known."""
    return (class_of(code) or GenerationFailed)(message)
