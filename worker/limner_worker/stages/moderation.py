"""The stage before a job is drawn that has its texts judged by a moderation service, if one is configured.

All ways into the service lead through here, and a million lines of a bulk are judged when they are drawn, many in one
call. A negative prompt is not judged, because it names what is to be left out.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Final

from limner_shared import metrics, tracing
from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.db.ledger import Claim
from limner_shared.domain.safety import texts_of
from limner_shared.errors import GenerationFailed, LimnerError, ModerationBlocked, SafetyUnavailable
from limner_shared.recent_entries import keep_newest
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import stage_of
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.moderation_client import (
    Categories,
    ModerationClient,
    ModerationError,
    ServiceAway,
    TextsRefused,
)
from limner_worker.stages.waiting_items import take_waiting

log = get_logger(__name__)

UNIT_SECONDS: Final = 600.0
"""The time after which a call counts as stalled; the client has its own time limit."""
MAX_JOBS: Final = 32
"""Jobs that are judged together."""
MAX_PIECES: Final = 32
"""Texts of one call."""
PIECE_CHARS: Final = 4000
"""Longer texts are judged in pieces: models that moderate read some thousand tokens."""
KEPT: Final = 8192
"""Answers that are kept, by the digests of their texts: lines of a bulk, and turns of a conversation, repeat."""
KEPT_SECONDS: Final = 600.0
FAILURES: Final = 3
"""The failures in a row after which the service is not asked for a while, where texts pass without it."""
PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 60.0
HARMLESS: Final = "a cat"
"""A text that no service refuses or fails at: one that does judges nothing now."""
MAX_NAMES: Final = 16
"""Categories of one text that are kept where the operator names none: they stand in the job's error."""
NOT_JUDGED: Final = "The moderation service could not judge the text of this job: make it shorter, or change it."

Verdicts = dict[str, Categories | None]
"""The categories of each text that block it; None if the service cannot judge it. A text without a verdict could not be
asked about.
"""


class ModerationStage:
    """One thread that judges the texts of the jobs that wait, together. Without a service, jobs pass at once."""

    def __init__(
        self,
        settings: Settings,
        breaker: Breaker,
        supervisor: Supervisor,
        ready: Callable[[Sequence[JobRun]], None],
        returned: Callable[[Sequence[JobRun]], None],
        refused: Callable[[JobRun, LimnerError], None],
    ) -> None:
        """`ready` receives the jobs that may be drawn, `returned` those that must be judged while the service is away,
        `refused` the others. While `breaker` is open this worker takes no jobs, so it is used only if none may be drawn
        without the service.
        """
        url, key, seconds = settings.moderation_url, settings.moderation_key, settings.moderation_timeout_seconds
        self._client = ModerationClient(url, settings.moderation_model, key, seconds) if url else None
        self._blocking = frozenset(settings.moderation_categories)
        self._closed = settings.moderation_failure == "closed"
        self._breaker = breaker if self._closed else Breaker(FAILURES, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._supervisor = supervisor
        self._ready = ready
        self._returned = returned
        self._refused = refused
        self._kept: dict[bytes, tuple[float, Categories | None]] = {}
        self._suspects: dict[bytes, None] = {}
        """Texts after which the service, which had just answered, was gone."""
        self._queue: SimpleQueue[JobRun | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if there is a service."""
        if self._client is not None:
            self._thread = self._supervisor.start("moderation", self._run, limit_seconds=UNIT_SECONDS)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Queue jobs whose conditions are known, or pass them on. Safe from any thread."""
        if self._client is None:
            self._ready(jobs)
            return
        for job in jobs:
            self._queue.put(job)

    def stop(self) -> None:
        """Stop after the jobs in progress; the owner of the queued jobs hands them back."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        if self._client is not None:
            self._client.close()

    def _run(self) -> None:
        while jobs := self._next():
            self._supervisor.working()
            if some := [job for job in jobs if not job.closed]:
                self._moderate(some)
            self._supervisor.idle()

    def _next(self) -> list[JobRun]:
        """Wait for jobs and return at most MAX_JOBS; an empty list to stop."""
        taken = take_waiting(self._queue, MAX_JOBS)
        return [] if self._stopping.is_set() else [job for job in taken if job is not None]

    def _moderate(self, jobs: Sequence[JobRun]) -> None:
        """Judge jobs, and pass each on."""
        started = tracing.clock()
        try:
            pieces = [list(dict.fromkeys(pieces_of(job.claim))) for job in jobs]
            verdicts = self._verdicts([piece for of_job in pieces for piece in of_job], jobs)
        except Exception:
            if len(jobs) > 1:  # only the job whose text causes it may suffer
                for job in jobs:
                    self._moderate([job])
                return
            log.exception("could not moderate a job", job=jobs[0].id)
            self._refused(jobs[0], GenerationFailed())
            return
        stage_of([job.trace for job in jobs], "moderate", started, {"limner.batch.jobs": len(jobs)})
        self._ready([job for job, mine in zip(jobs, pieces, strict=True) if self._allows(job, mine, verdicts)])

    def _allows(self, job: JobRun, pieces: Sequence[str], verdicts: Verdicts) -> bool:
        """Whether a job may be drawn. Blocks what is flagged; what was not judged waits, fails or passes."""
        names = sorted({category for piece in pieces for category in verdicts.get(piece) or ()})[:MAX_NAMES]
        is_judged = all(verdicts.get(piece) is not None for piece in pieces)
        if names:
            metrics.MODERATED.inc(what="text", result="blocked")
            log.warning("text blocked", job=job.id, tenant=job.claim.tenant_id, categories=names)
            message = f"The text of this job is not allowed here ({', '.join(names)}): change it."
            self._refused(job, ModerationBlocked(message))
        elif not is_judged and self._stopping.is_set():
            return False  # the owner hands it back
        elif is_judged or not self._closed:
            metrics.MODERATED.inc(what="text", result="passed" if is_judged else "unjudged")
            return True
        elif all(piece in verdicts for piece in pieces):
            self._refused(job, SafetyUnavailable(NOT_JUDGED))
        else:
            self._returned([job])
        return False

    def _verdicts(self, pieces: Sequence[str], jobs: Sequence[JobRun]) -> Verdicts:
        """The verdicts on all pieces, until the service is away: then it is not asked about the others."""
        verdicts: Verdicts = {}
        answered = False
        try:
            if answered := self._breaker.state is BreakerState.TRIAL:
                self._judge([HARMLESS])  # not a text of the job: it may be what the service fails at
            verdicts = self._known(pieces)
            asked = [piece for piece in dict.fromkeys(pieces) if piece not in verdicts]
            for start in range(0, len(asked), MAX_PIECES):
                if self._breaker.state is not BreakerState.OPEN:
                    verdicts |= self._ask(asked[start : start + MAX_PIECES])
        except ModerationError as error:
            verdicts = self._known(pieces)  # with those that were answered before
            is_alone = len(jobs) == 1 and not isinstance(error, ServiceAway)
            if answered and is_alone and self._breaker.state is BreakerState.CLOSED:
                verdicts |= self._suspected([piece for piece in pieces if piece not in verdicts])
            self._breaker.failed(str(error))
            ids = job_ids(job.id for job in jobs)
            log.warning("the moderation service failed", error=str(error), closed=self._closed, jobs=ids)
        return verdicts

    def _ask(self, pieces: Sequence[str]) -> Verdicts:
        """Ask about pieces together; if that fails and the service is not away, about each alone. One that it fails at
        alone is at fault if it judges a harmless text. Raises ModerationError.
        """
        if self._stopping.is_set():
            return {}
        self._supervisor.working()
        try:
            return self._judge(pieces)
        except ServiceAway:
            raise
        except ModerationError as error:
            if len(pieces) == 1 or not isinstance(error, TextsRefused):
                self._check_service()
            if len(pieces) > 1:
                return {piece: verdict for each in pieces for piece, verdict in self._ask([each]).items()}
            log.warning("the moderation service failed at a text", error=str(error))
            return {pieces[0]: None}

    def _check_service(self) -> None:
        """Raise ModerationError if the service does not judge a harmless text either."""
        try:
            self._judge([HARMLESS])
        except ServiceAway as error:  # which had a text before
            raise ModerationError(str(error)) from error

    def _judge(self, pieces: Sequence[str]) -> Verdicts:
        """Call the service, and keep its answers. Raises ModerationError."""
        if self._client is None:  # the stage then has no thread
            return {}
        found = [self._blocking_of(each) for each in self._client.judge(pieces)]
        self._breaker.succeeded()
        for piece, categories in zip(pieces, found, strict=True):
            self._keep(piece, categories)
        return dict(zip(pieces, found, strict=True))

    def _blocking_of(self, found: Categories) -> Categories:
        """Those of the categories that block."""
        return found & self._blocking if self._blocking else frozenset(sorted(found)[:MAX_NAMES])

    def _suspected(self, pieces: Sequence[str]) -> Verdicts:
        """Note texts after which the service was gone, though it had just answered, and return those that were noted
        before: they would end it again and again, and with it the jobs of all.
        """
        known = [piece for piece in pieces if _digest(piece) in self._suspects]
        for piece in pieces:
            keep_newest(self._suspects, _digest(piece), None, KEPT)
        for piece in known:
            self._keep(piece, None)
        return dict.fromkeys(known)

    def _keep(self, piece: str, verdict: Categories | None) -> None:
        keep_newest(self._kept, _digest(piece), (time.monotonic() + KEPT_SECONDS, verdict), KEPT)

    def _known(self, pieces: Iterable[str]) -> Verdicts:
        """What was answered lately."""
        kept = {piece: self._kept.get(_digest(piece)) for piece in pieces}
        return {piece: found[1] for piece, found in kept.items() if found is not None and time.monotonic() < found[0]}


def pieces_of(claim: Claim) -> Iterator[str]:
    """The texts of a job, each in pieces that end between words where there are some."""
    for text in texts_of(claim.spec):
        rest = text.strip()
        while len(rest) > PIECE_CHARS:
            cut = rest.rfind(" ", 1, PIECE_CHARS + 1)
            end = cut if cut > 0 else PIECE_CHARS
            yield rest[:end]
            rest = rest[end:].lstrip()
        if rest:
            yield rest


def _digest(piece: str) -> bytes:
    return hashlib.sha256(piece.encode()).digest()
