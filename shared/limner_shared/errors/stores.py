"""The database and the picture store."""

from __future__ import annotations

from limner_shared.errors.base import LimnerError
from limner_shared.errors.requests import NotFound


class DatabaseFull(LimnerError):
    """The disk of the database is full, so nothing new can be stored: try again once the operator has freed space."""

    code, title, status, retryable = "database_full", "Database full", 507, True


class StorageFull(LimnerError):
    """The disk or bucket that stores the pictures is full: free some space and submit the job again."""

    code, title, status = "storage_full", "Storage full", 507


class StorageFailed(LimnerError):
    """The picture store cannot be reached or written to."""

    code, title, status, retryable = "storage_failed", "Storage failed", 503, True


class ObjectLost(NotFound):
    """The stored bytes are missing, or are not those that were stored."""


class ObjectUnreadable(LimnerError):
    """A stored object cannot be read, while others can."""

    code, title, status, retryable = "object_unreadable", "Object unreadable", 503, True
