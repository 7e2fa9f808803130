"""Why a call of the picture store failed: a word for operators, and the errors that say it."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from limner_shared.errors import StorageFailed, StorageFull


class StorageReason(StrEnum):
    """Why a call of the picture store failed, as metrics, log lines and problem documents name it."""

    FULL = "full"
    DENIED = "denied"
    CLOCK = "clock"
    NO_BUCKET = "no_bucket"
    BUSY = "busy"
    SERVER = "server"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CUT = "cut"
    OTHER = "other"


SENTENCES: Final = {
    StorageReason.DENIED: "it refuses the credentials or the rights of this service",
    StorageReason.CLOCK: "its clock and the clock of this service differ by too much",
    StorageReason.NO_BUCKET: "its bucket does not exist",
    StorageReason.BUSY: "it is busy",
    StorageReason.SERVER: "it has an internal error",
    StorageReason.TIMEOUT: "it does not respond in time",
    StorageReason.UNREACHABLE: "it cannot be reached",
    StorageReason.CUT: "the connection was cut",
}
ADVICE: Final[dict[str, str]] = {
    StorageReason.FULL: "Free some space, raise the quota, or shorten the retention.",
    StorageReason.DENIED: "Check the bucket's keys and this machine's clock, or the folder's owner and mode.",
    StorageReason.CLOCK: "Set the clock of this machine (NTP).",
    StorageReason.NO_BUCKET: "Check LIMNER_BLOB_URL, or create the bucket again.",
    StorageReason.BUSY: "Raise the limits of the bucket, or run fewer workers.",
    StorageReason.SERVER: "Look at the status and the log of the store.",
    StorageReason.TIMEOUT: "Look at the load of the store and the network to it.",
    StorageReason.UNREACHABLE: "Check that the store runs, the network to it, and AWS_ENDPOINT or the like.",
    StorageReason.CUT: "Look at the network and the proxies before the store.",
}
"""What an operator can do."""

FULL_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED_ERRORS: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
HINTS: Final[dict[StorageReason, tuple[str, ...]]] = {
    # Ceph and MinIO name their quotas so; obstore keeps only the text of the operating system's errors.
    StorageReason.FULL: (
        "No space left",
        "StorageFull",
        "QuotaExceeded",
        "Disk quota",
        "os error 28",
        "os error 27",
        "FileTooLarge",
        "disk is full",
        "status code: 507",
    ),
    StorageReason.CLOCK: ("RequestTimeTooSkewed", "RequestTimeSkewed", "reasonable timeframe"),
    StorageReason.NO_BUCKET: ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist"),
    StorageReason.BUSY: ("status code: 503", "status code: 429", "SlowDown", "ServerBusy"),
    StorageReason.DENIED: ("status code: 403", "status code: 401", "Permission denied", "os error 13", "os error 30"),
    StorageReason.SERVER: ("status code: 5", "os error 5)"),
    StorageReason.TIMEOUT: ("kind: Timeout",),
    StorageReason.UNREACHABLE: ("kind: Connect",),
    StorageReason.CUT: ("kind: Interrupted", "kind: Request", "error sending request", "body error"),
}
"""Parts of the texts of errors, the most telling first. The texts are those of obstore and of the stores' answers."""


def reason_of(error: BaseException) -> StorageReason:
    """The reason of an error of obstore, the operating system, or this service."""
    if isinstance(error, StorageFull):
        return StorageReason.FULL
    if isinstance(error, StorageFailed):
        return StorageReason(error.details.get("reason", StorageReason.OTHER))
    number, text = getattr(error, "errno", None), str(error)
    if number in FULL_ERRORS:
        return StorageReason.FULL
    if number in DENIED_ERRORS:
        return StorageReason.DENIED
    return next((reason for reason, hints in HINTS.items() if any(hint in text for hint in hints)), StorageReason.OTHER)


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk, the store, a quota or the database's disk is full."""
    return reason_of(error) is StorageReason.FULL


def failure(reason: StorageReason, what: str = "", then: str = "") -> StorageFull | StorageFailed:
    """The error to raise. `what` says what happened where the reason does not; `then`, what is done about it."""
    if reason is StorageReason.FULL:
        return StorageFull(reason=reason.value)
    sentence = f"The picture store cannot be used now: {SENTENCES.get(reason, what)}{then}."
    return StorageFailed(sentence, reason=reason.value)


@contextmanager
def counted(failures: Counter[str]) -> Iterator[None]:
    """Count a failed call by its reason instead of raising the error: one object must not hold up the others."""
    try:
        yield
    except (StorageFailed, StorageFull) as error:
        failures[reason_of(error)] += 1
