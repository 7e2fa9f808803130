"""The form in which the client sends values in a query."""

from __future__ import annotations

from datetime import datetime


def parameter(value: object) -> str:
    """Return a value as the API reads it in a query: booleans as JSON writes them, times as RFC 3339 does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
