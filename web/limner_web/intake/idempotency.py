"""Idempotency: the same request sent again returns what it made the first time, and makes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.ledger import EarlierResult, Submission
from limner_shared.errors import Gone, NotFound
from limner_web.intake.headers import JobHeaders
from limner_web.services import Services

T = TypeVar("T")

RETRY_SECONDS: Final = 120.0
"""How long a request without a key is recognized as a retry of an equal earlier request; if that request waits for its
job, the time also begins when the job ends."""
OVERTAKEN_SECONDS: Final = 5.0
"""How much later than its own retry a first try may arrive. Later than this, it counts as a new, equal request."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """How a repeated request is recognized: by its idempotency key, or because its client numbers its tries."""

    key: str | None
    """The idempotency key, if the client sent one."""
    retry_count: int | None
    """The number of this try, 0 for the first; None if the client does not count."""
    digest: str
    """SHA-256 in hex of the request. Equal requests have equal digests."""
    waits: bool = False
    """Whether the request waits for the job's end, so that a retry may come long after its first try."""

    @classmethod
    def of(cls, header: JobHeaders, digest: str, *, waits: bool = False) -> Repeat:
        """How a request with these headers and this digest is recognized."""
        return cls(header.idempotency_key, header.x_stainless_retry_count, digest, waits)

    @property
    def stored_key(self) -> str | None:
        """The key under which the job is stored; None if the request cannot be recognized again.

        The key of a counted try starts with a control character, which no client can send in a header.
        """
        if self.key is not None:
            return self.key
        return None if self.retry_count is None else f"\x01retry {self.digest}"

    @property
    def overtaken_key(self) -> str:
        """The second key of a retry: its first try, which has not arrived yet, finds the job under it."""
        return f"\x01early {self.digest}"


def repeat_of(header: JobHeaders, request: str) -> Repeat:
    """How a request with these headers is recognized; `request` is its operation with everything that it says."""
    return Repeat.of(header, hashlib.sha256(request.encode()).hexdigest())


def submit_once(
    services: Services, tenant_id: str, repeat: Repeat, submit: Callable[[Session], Submission]
) -> Submission | str:
    """Return what `submit` returns, or the id of the job that the same request has made before; see `create_once`."""
    return create_once(services, tenant_id, repeat, ResourceKind(submit, lambda made: made.job_id, queries.job))


def job_made_before(services: Services, tenant_id: str, repeat: Repeat) -> str | None:
    """The id of the job that the same request has made before, or None. Raises IdempotencyConflict or Gone."""
    with services.database.write() as session:
        known = find_result(session, tenant_id, repeat)
        if known is None:
            return None
        _require(session, tenant_id, known.resource_id, queries.job)
        return known.resource_id


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[T]):
    """How a resource of some kind is made and found."""

    create: Callable[[Session], T]
    id_of: Callable[[T], str]
    find: Callable[[Session, str, str], object]
    """Called with the tenant and the id; raises NotFound."""


def create_once(services: Services, tenant_id: str, repeat: Repeat, kind: ResourceKind[T]) -> T | str:
    """Return what `kind.create` returns, or the id of the resource that the same request has made before.

    Equal requests wait for each other on a lock, so concurrent ones see the job of the first. Raises
    IdempotencyConflict if the key was used for another request, Gone if the earlier resource was deleted, and what
    `kind.create` raises.
    """

    def attempt(session: Session) -> T | str:
        known = find_result(session, tenant_id, repeat)
        if known is not None:
            _require(session, tenant_id, known.resource_id, kind.find)
            return known.resource_id
        made = kind.create(session)
        store_result(session, tenant_id, repeat, EarlierResult(kind.id_of(made)))
        return made

    return _try_twice(services, attempt)


def answer_once(
    services: Services, tenant_id: str, repeat: Repeat, act: Callable[[Session], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return the answer of `act`, or the one that the same request got before: for what makes or changes many things.

    Raises IdempotencyConflict, and what `act` raises.
    """

    def attempt(session: Session) -> Mapping[str, Any]:
        known = find_result(session, tenant_id, repeat)
        if known is not None and known.answer is not None:
            return known.answer
        answer = act(session)
        store_result(session, tenant_id, repeat, EarlierResult("", answer))
        return answer

    return _try_twice(services, attempt)


def _try_twice(services: Services, attempt: Callable[[Session], T]) -> T:
    try:
        return _in_transaction(services, attempt)
    except IntegrityError:
        # Either something that the job refers to was deleted meanwhile, or a process of an earlier release, which takes
        # no lock, has stored the same key. A second attempt sees either.
        return _in_transaction(services, attempt)


def _in_transaction(services: Services, attempt: Callable[[Session], T]) -> T:
    with services.database.write() as session:
        return attempt(session)


def find_result(session: Session, tenant_id: str, repeat: Repeat) -> EarlierResult | None:
    """What the same request has made before, or None. Others that look for it wait until this transaction ends.

    Raises IdempotencyConflict.
    """
    if repeat.stored_key is None:
        return None
    ledger.lock_key(session, tenant_id, repeat.stored_key)
    if repeat.key is not None:
        return ledger.find_idempotency_key(session, tenant_id, repeat.key, repeat.digest)
    if repeat.retry_count:
        key = repeat.stored_key or ""
        known = ledger.find_idempotency_key(session, tenant_id, key, repeat.digest, RETRY_SECONDS)
        if known is not None or not repeat.waits:
            return known
        earlier = ledger.find_idempotency_key(session, tenant_id, key, repeat.digest)
        if earlier is None or not queries.ended_after(session, earlier.resource_id, RETRY_SECONDS):
            return None
        return earlier
    # A first try is a new request, unless its own retry has overtaken it.
    known = ledger.find_idempotency_key(session, tenant_id, repeat.overtaken_key, repeat.digest, OVERTAKEN_SECONDS)
    if known is not None:
        ledger.delete_idempotency_key(session, tenant_id, repeat.overtaken_key)
    return known


def store_result(session: Session, tenant_id: str, repeat: Repeat, result: EarlierResult) -> None:
    """Store what this request has made, for the same request later."""
    if repeat.stored_key is None:
        return
    counted = repeat.key is None
    ledger.store_idempotency_key(session, tenant_id, repeat.stored_key, repeat.digest, result, replace=counted)
    if counted and repeat.retry_count:
        ledger.store_idempotency_key(session, tenant_id, repeat.overtaken_key, repeat.digest, result, replace=True)


def _require(session: Session, tenant_id: str, resource_id: str, find: Callable[[Session, str, str], object]) -> None:
    try:
        find(session, tenant_id, resource_id)
    except NotFound as error:
        raise Gone from error
